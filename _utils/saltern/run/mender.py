"""The master's part of remediation: take hosts from the queue, ask each again, and do what the rules allow."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from saltern.cloud.model import Cloud
from saltern.containers import faults
from saltern.containers.faults import Fault
from saltern.errors import SalternError
from saltern.host import look
from saltern.paths import root
from saltern.run import (
    fleet,
    inventory,
    lock,
    maintenance,
    remediation,
    rules,
    schedule,
    upgrades,
)
from saltern.run import history as kept
from saltern.run.incidents import Incident, Journal
from saltern.run.progress import Phase
from saltern.run.remediation import Decision, Situation
from saltern.tls import store as certs

# Seconds: between two looks at the queue, until what waits is asked again, and until a silent host is.
_LOOK, _WAIT, _SILENT = 0.25, 5.0, 60.0
# How often all hosts are asked, whatever they say, and how long each has to answer.
_ROUND, _ANSWER = 600.0, 30.0
# Seconds that a container may take to become healthy, and that a deployment waits for another run.
_START, _TURN = 120, 300
_SOON_DAYS = 14
# The pillar may allow fewer.
_MOST_HOSTS = 50
_ASK = "remediation.faults"
# What a host says of its containers, and of itself.
_CONTAINERS = (
    *(faults.STOPPED, faults.UNHEALTHY, faults.MISSING, faults.CHANGED, faults.CONFIGURATION),
    *(faults.IMAGE, faults.BY_HAND, look.DOCKER, rules.MEMBER, rules.DATABASE),
)
_HOST = (rules.CLOCK, rules.DISK, rules.UNWATCHED, rules.SILENT)

_log = logging.getLogger(__name__)


class Mender:
    """The loop.

    :param opts: ``__opts__`` of the master's engine.
    :param orchestrate: Runs an orchestration: its name, its pillar.
    :param journal: Queue and journal.
    """

    def __init__(
        self,
        opts: Mapping[str, Any],
        orchestrate: Callable[[str, dict[str, Any]], None],
        journal: Journal,
    ) -> None:
        self._opts, self._orchestrate, self._journal = opts, orchestrate, journal
        self._turn = lock.Shared(opts, "remediation (salt-run saltern.incidents)")
        self._one_run = threading.Lock()
        self._at_work: dict[str, Future[None]] = {}
        self._next_round = 0.0
        self._records: Future[None] | None = None
        self._complaint = ""
        self._known: tuple[float, Cloud] | None = None

    def run(self, ended: Callable[[], bool]) -> None:
        """Work until ``ended`` says so. Nothing that goes wrong ends it."""
        with ThreadPoolExecutor(_MOST_HOSTS) as pool:
            while not ended():
                try:
                    self._look(pool)
                except Exception as error:
                    # Once: what does not go away would fill the log.
                    if str(error) != self._complaint:
                        self._complaint = str(error)
                        _log.exception("remediation goes on after an error")
                    time.sleep(_WAIT)
                time.sleep(_LOOK)

    def _look(self, pool: ThreadPoolExecutor) -> None:
        now = time.time()
        for host in [host for host, one in self._at_work.items() if one.done()]:
            del self._at_work[host]
        if now >= self._next_round:
            self._next_round = now + _ROUND
            self._begin_round(pool)
        for host, seen in self._journal.due(now):
            if host in self._at_work:
                continue
            cloud = self._cloud()
            if len(self._at_work) >= min(cloud.settings["remediation"]["hosts"], _MOST_HOSTS):
                break
            if host not in cloud.hosts:
                self._journal.finish(host, seen, None)
                continue
            self._at_work[host] = pool.submit(self._treat, cloud, host, seen)

    def _begin_round(self, pool: ThreadPoolExecutor) -> None:
        """Ask every host, as after a start of the master: what came meanwhile is lost."""
        cloud = inventory.checked(self._opts)
        self._journal.without(list(cloud.hosts))
        self._journal.trim(cloud.settings["remediation"]["incidents"])
        stored = certs.read(inventory.certificates_folder(self._opts))
        soon = [one for one in certs.expiries(stored, certs.now()) if one.days < _SOON_DAYS]
        found = [
            Fault(rules.CERTIFICATE, "", one.name, f"expires in {one.days} days") for one in soon
        ]
        self._observe(cloud, "", found, (rules.CERTIFICATE,))
        self._journal.wake(cloud.hosts)
        if not self._records or self._records.done():
            self._records = pool.submit(self._ask_records, cloud)

    def _ask_records(self, cloud: Cloud) -> None:
        """Observe what Nova, Neutron and Cinder hold for down."""
        try:
            where = next(iter(cloud.placement.get(cloud.provider("client"), ())), "")
            if not where:
                return
            call = {where: {"services": [], "records": cloud.services}}
            answers, _ = fleet.connect(self._opts).answers(_phase(), "saltern.status", call, 90)
            # Who cannot be asked is seen by its containers.
            said = answers.get(where, {}).get("records")
            for host in cloud.hosts if said and not said["errors"] else ():
                down = [one for one in said["down"] if one["host"].partition("@")[0] == host]
                found = [
                    Fault(
                        rules.SERVICE, one["service"], one["what"], f"silent since {one['since']}"
                    )
                    for one in down
                ]
                self._observe(cloud, host, found, (rules.SERVICE,))
        except Exception:
            _log.exception("what services hold for down was not asked")

    def _cloud(self) -> Cloud:
        """Return the cloud of the pillar, at most some seconds old: it takes longer to compile than all else here."""
        if not self._known or time.monotonic() - self._known[0] > _WAIT:
            self._known = (time.monotonic(), inventory.checked(self._opts))
        return self._known[1]

    def _treat(self, cloud: Cloud, host: str, seen: int) -> None:
        try:
            due = self._mended(cloud, host)
        except Exception:
            _log.exception("remediation of %s goes on later after an error", host)
            due = time.time() + _SILENT
        self._journal.finish(host, seen, due)

    def _mended(self, cloud: Cloud, host: str) -> float | None:
        """See to one host; return when it is seen to again, in seconds since 1970; None is when it speaks."""
        people = fleet.connect(self._opts)
        answer = self._ask(people, cloud, host)
        if answer is None:
            return time.time() + _SILENT
        if answer["busy"]:
            return time.time() + _WAIT
        found = self._take(cloud, host, answer)
        decided = [(one, remediation.decide(one, self._situation(cloud))) for one in found]
        for one, decision in decided:
            self._journal.decided(one["id"], decision.why)
        work = [(one, decision) for one, decision in decided if decision.action]
        if work and self._act(people, cloud, host, work):
            again = self._ask(people, cloud, host)
            if again and not again["busy"]:
                found = self._take(cloud, host, again)
                decided = [(one, remediation.decide(one, self._situation(cloud))) for one in found]
        later = [max(one["next"], time.time() + _WAIT) for one, what in decided if what.later]
        later += [time.time() + _WAIT for _, what in decided if what.action]
        if any(one["rule"] in _HOST for one in self._journal.open(host)):
            later.append(time.time() + _SILENT)
        return min(later, default=None)

    def _ask(self, people: fleet.Fleet, cloud: Cloud, host: str) -> dict[str, Any] | None:
        """Return what a host says; None if it is silent or does not know the question."""
        sent = time.time()
        answers, silent = people.answers(_phase(), _ASK, {host: {}}, _ANSWER)
        if host not in answers:
            reason = silent[0].reason if silent else "no answer"
            self._observe(cloud, host, [Fault(rules.SILENT, "", "minion", reason)], (rules.SILENT,))
            return None
        own = remediation.of_host(answers[host], (sent, time.time()), cloud.settings)
        self._observe(cloud, host, own, _HOST)
        return answers[host]

    def _take(self, cloud: Cloud, host: str, answer: Mapping[str, Any]) -> list[Incident]:
        """Bring the journal up to date with what a host says of its containers; return its incidents."""
        said = [Fault(**one) for one in answer["faults"]]
        named = remediation.of_clusters(host, said, self._situation(cloud))
        settings = cloud.settings["remediation"]
        known = [one for one in named if rules.of(settings, one.rule) != rules.OFF]
        return self._journal.seen(host, known, _CONTAINERS)

    def _observe(
        self, cloud: Cloud, host: str, found: Sequence[Fault], looked_at: Sequence[str]
    ) -> None:
        settings = cloud.settings["remediation"]
        wanted = [one for one in found if rules.of(settings, one.rule) != rules.OFF]
        for one in self._journal.seen(host, wanted, looked_at):
            self._journal.decided(one["id"], "observed")

    def _situation(self, cloud: Cloud) -> Situation:
        return Situation(
            cloud,
            self._journal.open(),
            time.time(),
            maintenance.read(maintenance.folder(self._opts)),
            list(upgrades.read(upgrades.file(root("var", self._opts)))),
            schedule.graph(cloud),
        )

    def _act(
        self,
        people: fleet.Fleet,
        cloud: Cloud,
        host: str,
        work: Sequence[tuple[Incident, Decision]],
    ) -> bool:
        """Do what was decided; return whether anything could be done: another run may hold the cloud."""
        done = False
        for action in (rules.START, rules.RESTART):
            those = [one for one, decision in work if decision.action == action]
            done |= bool(those) and self._start(people, host, those, action == rules.RESTART)
        those = [one for one, decision in work if decision.action == rules.APPLY]
        if those:
            pillar: dict[str, Any] = {
                "services": sorted({one["service"] for one in those}),
                "hosts": [host],
            }
            done |= self._orchestrated("deploy", pillar, those)
        for one in [one for one, decision in work if decision.action == rules.RECOVER]:
            name = schedule.clustered(cloud)[one["service"]].recovery[one["name"]]
            done |= self._orchestrated(name, {}, [one])
        return done

    def _start(
        self, people: fleet.Fleet, host: str, those: Sequence[Incident], restart: bool
    ) -> bool:
        call = {"names": [one["name"] for one in those], "restart": restart, "deadline": _START}
        try:
            with self._turn.taken():
                deadline = _START * len(those) + _ANSWER
                said = people.call(_phase(), "remediation.start", {host: call}, deadline)[host]
        except lock.HeldError as error:
            self._wait(those, error)
            return False
        except SalternError as error:
            said = dict.fromkeys(call["names"], str(error))
        verb = "restarted" if restart else "started"
        for one in those:
            # The first line: below it may be what the container has written, secrets included.
            reason = said[one["name"]].partition("\n")[0]
            self._did(one, f"not {verb}: {reason}" if reason else verb)
        return True

    def _orchestrated(self, name: str, pillar: dict[str, Any], those: Sequence[Incident]) -> bool:
        """Run an orchestration; one at a time, as each wants the lock of the cloud for itself."""
        with self._one_run, kept.acting(lock.REMEDIATION):
            try:
                with self._turn.taken():
                    pass
                self._orchestrate(name, {**pillar, "wait": _TURN})
                said = f"orch.{name}"
            except lock.HeldError as error:
                self._wait(those, error)
                return False
            except SalternError as error:
                said = f"orch.{name} failed or refused: {error}"
        for one in those:
            self._did(one, said)
        return True

    def _did(self, one: Incident, said: str) -> None:
        self._journal.acted(
            one["id"], said, time.time() + remediation.pause_after(one["tries"] + 1)
        )

    def _wait(self, those: Sequence[Incident], error: SalternError) -> None:
        for one in those:
            self._journal.decided(one["id"], f"waits: {error}")


def _phase() -> Phase:
    """Return a phase that speaks to nobody."""
    return Phase(
        "0", "remediation", "Remediation", lambda data, tag: None, lambda line: None, time.monotonic
    )
