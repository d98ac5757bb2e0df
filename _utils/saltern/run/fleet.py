"""The hosts of a run: asked, called and changed through Salt, with progress and exact failures."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import salt.client
import salt.fileserver

from saltern import space
from saltern.cloud.model import Cloud
from saltern.errors import Failure, SalternError
from saltern.run import code, maintenance, plan, progress, served
from saltern.run import schedule as rollout
from saltern.run.command import Command
from saltern.run.formation import RefusedError
from saltern.run.jobs import Answer, Jobs, StateDone, interruptible
from saltern.run.lock import Lock
from saltern.run.maintenance import Maintenance
from saltern.run.master import Master
from saltern.run.progress import Phase
from saltern.run.upgrades import Upgrades

# A state that took less than this and changed nothing is no news.
_NEWS_SECONDS = 1.0
# Seconds after a start of the master within which minions sign in again.
_SIGN_IN_SECONDS = 60
# Most hosts whose states are shown one by one while a service is applied to them together.
_FOLLOWED = 10


class RolloutError(SalternError):
    """A phase failed; :attr:`failures` says where and why, :attr:`left` which services stayed as they were where."""

    def __init__(
        self, failures: Sequence[Failure], left: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self.failures = list(failures)
        self.left = dict(left or {})
        places = [": ".join(filter(None, (one.host, one.reason))) for one in self.failures]
        super().__init__("\n".join(places))


def failures_of(error: BaseException) -> list[Failure]:
    """Return why a phase ended as failures."""
    if isinstance(error, SystemExit):
        return [Failure("interrupted")]
    if isinstance(error, RolloutError):
        return error.failures
    return [Failure(str(error), remedy=error.remedy if isinstance(error, RefusedError) else "")]


def stop_for(failures: Sequence[Failure], left: Mapping[str, Sequence[str]] | None = None) -> None:
    """Stop the phase if something failed.

    :param left: Service to the hosts on which it stayed as it was.
    :raises RolloutError: With all failures.
    """
    if failures:
        raise RolloutError(failures, left)


@dataclass(frozen=True)
class StepJob:
    """What hosts do in the steps of a schedule.

    :ivar fun: Execution function.
    :ivar kwargs: Its arguments, by step.
    :ivar done: How much its answer says was done, for people: so many of ``noun``, ``verb``.
    :ivar remedy: What to do when it fails, by host and service.
    """

    fun: str
    kwargs: Callable[[rollout.Step], dict[str, Any]]
    done: Callable[[Any], int]
    noun: str
    verb: str
    remedy: Callable[[str, str], str] = lambda host, service: ""


_STATES = StepJob(
    "state.sls",
    # concurrent: services that do not depend on each other change at the same time.
    # Of many hosts nobody follows the single states: each is a message to the master.
    lambda step: {
        "mods": [step.service],
        "concurrent": True,
        "state_events": len(step.hosts) <= _FOLLOWED,
    },
    lambda states: sum(1 for one in states.values() if one.get("changes")),
    "state",
    "changed",
    progress.states_of,
)


class Fleet:
    """Speaks to hosts through Salt.

    :param client: ``salt.client.LocalClient`` that listens.
    :param code: Returns the digest of the extension code that hosts must run, see
        :mod:`saltern.run.code`.
    :param refresh: Makes the master see new files of its file roots at once.
    :param served: Returns for the names of services a digest of what the master serves, if that, the
        pillar and its host alone decide their states; else nothing. See :mod:`saltern.run.served`.
    :param silence: Seconds, see :class:`saltern.run.jobs.Jobs`.
    :param master: The master's process.
    :ivar clocks: Host to its clock when asked last: sent, its time, received, all in seconds since
        the epoch.
    """

    def __init__(
        self,
        client: Any,
        code: Callable[[], str],
        refresh: Callable[[], Any],
        silence: float = 15,
        served: Callable[[Iterable[str]], str] = lambda services: "",
        master: Master | None = None,
    ) -> None:
        self._client = client
        self._code = code
        self._refresh = refresh
        self._silence = silence
        self._master = master
        self.served = served
        self.clocks: dict[str, tuple[float, float, float]] = {}
        self._met: set[str] = set()

    def ask(
        self, phase: Phase, fun: str, calls: Mapping[str, Mapping[str, Any]], deadline: float
    ) -> dict[str, dict[str, Any]]:
        """Return the hosts' answers, given with the master's code and with no state run under way.

        A host that has other code gets the master's and is asked again; one that still works on a
        job of an earlier, killed run is asked again when that job is over.

        :param fun: A function of the module ``saltern`` whose answers hold ``code`` and ``busy``.
        :param calls: Host to keyword arguments.
        :param deadline: Seconds for each job.
        :raises RolloutError: A host is silent, fails, keeps other code, or has too little room on a disk.
        """
        answers: dict[str, dict[str, Any]] = {}
        synced = ""
        while len(answers) < len(calls):
            open_ = {host: call for host, call in calls.items() if host not in answers}
            failed: dict[str, Failure] = {}
            found = self._run(phase, fun, open_, deadline, failed)
            wanted = self._code()
            old = [host for host, value in found.items() if value["code"] != wanted]
            old += self._old_of_failed(phase, failed, wanted, deadline)
            busy = {host: one["busy"] for host, one in found.items() if host not in old}
            busy = {host: job for host, job in busy.items() if job}
            answers |= {host: found[host] for host in found if host not in (*old, *busy)}
            if old and synced == wanted:
                raise RolloutError([failed.get(host, other_code(host)) for host in old])
            if old:
                # The checkout may change meanwhile: then once more.
                synced = wanted
                self._sync(phase, old, deadline)
            if busy:
                self._wait(phase, busy, deadline)
        stop_for([Failure(one, host) for host in answers for one in answers[host]["short"]])
        return answers

    def _old_of_failed(
        self, phase: Phase, failed: Mapping[str, Failure], wanted: str, deadline: float
    ) -> list[str]:
        """Return the hosts that may have failed because of their old code.

        :raises RolloutError: A host has failed with the master's code.
        """
        unknown: dict[str, Failure] = {}
        calls: dict[str, dict[str, Any]] = {host: {} for host in failed}
        facts = self._run(phase, "saltern.facts", calls, deadline, unknown) if failed else {}
        current = [host for host, value in facts.items() if value["code"] == wanted]
        if current:
            raise RolloutError([failed[host] for host in current])
        return list(failed)

    def _sync(self, phase: Phase, hosts: Sequence[str], deadline: float) -> None:
        # Files that are newer than the master's list of files are invisible for up to 20 s.
        self._refresh()
        self._run(phase, "saltutil.sync_all", {host: {} for host in hosts}, deadline)
        for host in hosts:
            phase.host(host, "got this checkout's code", True, 0, 0)

    def _wait(self, phase: Phase, busy: Mapping[str, Mapping[str, str]], deadline: float) -> None:
        jobs = self._jobs()
        for host, job in busy.items():
            text = f"waits for {job['fun']} (job {job['jid']}) of an earlier run"
            phase.host(host, text, True, 0, 0)
            jobs.join(job["jid"], job["fun"], [host], deadline)
        for event in jobs.events():
            if isinstance(event, Answer) and event.reason.startswith("not finished"):
                raise RolloutError([Failure(event.reason, event.host)])

    def _jobs(self) -> Jobs:
        check = self._master.check if self._master else lambda: None
        return Jobs(self._client, self._silence, check=check)

    def _settle(self, phase: Phase, hosts: Iterable[str]) -> None:
        """Wait for minions to find a master that has just started: their first silence proves nothing."""
        left = _SIGN_IN_SECONDS - self._master.age if self._master else 0
        new = [host for host in hosts if host not in self._met]
        self._met |= set(new)
        if left <= 0 or not (silent := self.wait(new, 0)):
            return
        for host in silent:
            phase.host(
                host, "may not have found the master yet, which has just started", True, 0, 0
            )
        self.wait(silent, left)

    def wait(self, hosts: Sequence[str], patience: float) -> list[str]:
        """Wait until minions answer that may only just have found their master.

        :param patience: Seconds.
        :returns: The hosts that do not answer.
        """
        end = time.monotonic() + patience
        silent = list(hosts)
        while silent:
            with interruptible():
                said = self._client.cmd(silent, "test.ping", tgt_type="list", timeout=2) or {}
            silent = [host for host in silent if said.get(host) is not True]
            if time.monotonic() > end:
                break
            time.sleep(0.5 if silent else 0)
        return silent

    def call(
        self,
        phase: Phase,
        fun: str,
        calls: Mapping[str, Mapping[str, Any]],
        deadline: float,
        serial: int = 0,
    ) -> dict[str, Any]:
        """Run a function on hosts; stop after a group in which it failed.

        :param calls: Host to keyword arguments.
        :param serial: Hosts in a group; 0 is all.
        :raises RolloutError: It failed on a host or a host is silent.
        """
        answers: dict[str, Any] = {}
        for group in rollout.batches(list(calls), serial):
            answers |= self._run(phase, fun, {host: calls[host] for host in group}, deadline)
        return answers

    def answers(
        self,
        phase: Phase,
        fun: str,
        calls: Mapping[str, Mapping[str, Any]],
        deadline: float,
        failed: dict[str, Failure] | None = None,
    ) -> tuple[dict[str, Any], list[Failure]]:
        """Return what hosts say, and why others say nothing: for who can go on without these.

        :param calls: Host to keyword arguments.
        :param failed: Takes the failures of hosts that have answered, which else are returned.
        """
        self._settle(phase, calls)
        jobs = self._jobs()
        values: dict[str, Any] = {}
        failures: list[Failure] = []
        sent = time.time()
        for kwargs, hosts in _same(calls):
            jobs.start(fun, hosts, kwargs=kwargs, deadline=deadline)
        for event in jobs.events():
            if isinstance(event, StateDone):
                continue
            if event.ok:
                values[event.host] = event.value
                if isinstance(event.value, Mapping) and "time" in event.value:
                    self.clocks[event.host] = (sent, event.value["time"], time.time())
                continue
            failure = _failure(event)
            if failed is not None and not event.reason:
                failed[event.host] = failure
                continue
            failures.append(failure)
            percent = 100 * (len(values) + len(failures)) // len(calls)
            phase.host(event.host, failure.reason, False, event.seconds, percent)
        return {host: values[host] for host in calls if host in values}, failures

    def apply(
        self,
        phase: Phase,
        schedule: rollout.Schedule,
        deadline: float,
        job: StepJob | None = None,
        told: Callable[[str, str, Any, bool], None] = lambda service, host, states, ok: None,
    ) -> dict[str, dict[str, int]]:
        """Have hosts do a job for each service, in the order of the schedule.

        :param deadline: Seconds that one service may take on one host.
        :param job: What they do; the service's states, if not said.
        :param told: Is told of each host that has finished: service, host, its states, whether all is well.
        :returns: Service to host to how much was done: the number of states that changed something.
        :raises RolloutError: A host failed or is silent; what had started was waited for.
        """
        job = job or _STATES
        jobs = self._jobs()
        changed: dict[str, dict[str, int]] = {}
        failures: list[Failure] = []
        done = 0

        def start() -> None:
            for step in schedule.ready():
                jobs.start(
                    job.fun,
                    step.hosts,
                    kwargs=job.kwargs(step),
                    deadline=deadline,
                    label=step.service,
                )

        start()
        for event in jobs.events():
            if isinstance(event, StateDone):
                _tell_state(phase, event)
                continue
            service, host = event.job.label, event.host
            wrong = _step_failures(event, job)
            failures += wrong
            told(service, host, event.value, not wrong)
            done += 1
            percent = 100 * done // schedule.total
            if not wrong:
                number = job.done(event.value)
                changed.setdefault(service, {})[host] = number
            text = wrong[0].reason if wrong else f"{progress.count(number, job.noun)} {job.verb}"
            phase.host(host, f"{service}: {text}", not wrong, event.seconds, percent)
            schedule.finished(service, host, ok=not wrong)
            start()
        stop_for(failures, schedule.left)
        return changed

    def _run(
        self,
        phase: Phase,
        fun: str,
        calls: Mapping[str, Mapping[str, Any]],
        deadline: float,
        failed: dict[str, Failure] | None = None,
    ) -> dict[str, Any]:
        """Return each host's value.

        :param failed: Takes the failures of hosts that have answered, which else are raised.
        """
        values, failures = self.answers(phase, fun, calls, deadline, failed)
        stop_for(failures)
        return values


@dataclass
class Run:
    """What the phases of one orchestration share.

    :ivar services: Those of this run, on the hosts of this run.
    :ivar cloud: The whole cloud.
    :ivar command: What the operator has typed.
    :ivar plans: Host to what would change.
    :ivar saved: The saved plan that it does, if the command names one.
    :ivar stopped: Hosts whose member of a cluster this run has stopped, in order to start it otherwise.
    :ivar left_out: What of the run's hosts and services is in maintenance and left as it is.
    :ivar upgrades: The services that an upgrade changes, and no others; None in other runs.
    :ivar rotations: The secrets that a rotation changes, see :class:`saltern.run.rotation.Rotation`.
    """

    fleet: Fleet
    services: rollout.Graph
    hosts: list[str]
    cloud: Cloud
    command: Command = field(default_factory=Command)
    lock: Lock | None = None
    plans: dict[str, plan.Plan] = field(default_factory=dict)
    saved: Mapping[str, Any] | None = None
    stopped: list[str] = field(default_factory=list)
    leftovers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    left_out: Sequence[Maintenance] = ()
    upgrades: Upgrades | None = None
    rotations: list[Any] = field(default_factory=list)

    def heed(
        self,
        resting: Sequence[Maintenance],
        services: Sequence[str],
        hosts: Sequence[str],
        refuse: bool,
    ) -> None:
        """Leave out what is in maintenance.

        :param services: Those that the operator has named; ``hosts`` alike, which are worked on all the same.
        :param refuse: Stop instead, also where the operator has named the host.
        :raises SalternError: See :func:`saltern.run.maintenance.left_out`; ``refuse`` and there is something.
        """
        named = () if refuse else hosts
        left = maintenance.left_out(resting, self.services, self.hosts, services, named)
        if refuse and left[2]:
            raise RefusedError("; ".join(map(str, left[2])), maintenance.how_to_end(left[2][0]))
        self.services, self.hosts, self.left_out = left

    def hosts_of(self, what: str) -> tuple[str, ...]:
        """Return the hosts of this run whose service provides something, such as ``client``."""
        service = self.services.get(self.cloud.provider(what))
        return service.hosts if service else ()

    def calls(self, **kwargs: Any) -> dict[str, dict[str, Any]]:
        """Return the arguments of a job for each host: its services of this run, and ``kwargs``."""
        return {host: call for host, call in self.every_call(**kwargs).items() if call["services"]}

    def every_call(self, **kwargs: Any) -> dict[str, dict[str, Any]]:
        """Return what :meth:`calls` does, also for hosts without a service: they may have had one.

        Of a run that is limited to services, those hosts are left out.
        """
        whole = set(self.services) == set(self.cloud.services)
        named = {
            host: [name for name, one in self.services.items() if host in one.hosts]
            for host in self.hosts
        }
        return {
            host: {"services": names, **kwargs} for host, names in named.items() if names or whole
        }

    def plan_calls(self) -> dict[str, dict[str, Any]]:
        """Return the arguments of ``saltern.plan`` for each host."""
        calls = self.every_call()
        served_for = functools.cache(self.fleet.served)
        with_database = {
            one.hosts[0] for one in self.services.values() if one.database and one.hosts
        }
        for host, call in calls.items():
            if host not in with_database:
                call["served"] = served_for(tuple(call["services"]))
        return calls

    def ask_plans(self, phase: Phase, deadline: float) -> None:
        """Learn what would change, host to its plan, and what services that are gone have left there.

        :param deadline: Seconds a host has for its answer.
        :raises RolloutError: A host is silent or fails.
        """
        answers = self.fleet.ask(phase, "saltern.plan", self.plan_calls(), deadline)
        self.plans = {host: answer["services"] for host, answer in answers.items()}
        left = {host: answer["leftovers"] for host, answer in answers.items()}
        self.leftovers = {host: found for host, found in left.items() if found}

    def work(self, only: str | None = None) -> tuple[dict[str, list[str]], dict[str, str]]:
        """Return service to hosts of what this run changes, and what it leaves out with the reason.

        :param only: ``configuration`` leaves out services whose images change or that do not run yet.
        """
        work = plan.work(self.plans, self.services)
        left = plan.beyond_configuration(self.plans) if only == "configuration" else {}
        chosen = work if self.upgrades is None else self.upgrades
        return {
            service: hosts
            for service, hosts in work.items()
            if service not in left and service in chosen
        }, left


def begin(
    opts: Mapping[str, Any],
    cloud: Cloud,
    services: Iterable[str],
    hosts: Iterable[str],
    command: Command | None = None,
    anywhere: bool = False,
    heeds: str = "",
) -> Run:
    """Return a run that is limited to some services and hosts.

    :param opts: ``__opts__`` of a runner or of a state in an orchestration.
    :param services: Names given by the operator; none means all. ``hosts`` alike.
    :param command: What the operator has typed.
    :param anywhere: See :func:`saltern.run.schedule.narrow`.
    :param heeds: How maintenance is heeded: ``skip`` or ``refuse``; empty is not at all.
    :raises SalternError: See :func:`saltern.run.schedule.narrow`, or a host in maintenance is refused.
    """
    known, services, hosts = rollout.graph(cloud), list(services), list(hosts)
    chosen, where = rollout.narrow(known, list(cloud.hosts), services, hosts, anywhere)
    run = Run(connect(opts), chosen, where, cloud, command or Command())
    if heeds:
        resting = maintenance.read(maintenance.folder(opts))
        run.heed(resting, services, hosts, heeds == maintenance.REFUSE)
    return run


def connect(opts: Mapping[str, Any]) -> Fleet:
    """Return the fleet of a master.

    :param opts: ``__opts__`` of a runner or of a state in an orchestration.
    """
    client = salt.client.get_local_client(opts["conf_file"], listen=True)

    def wanted() -> str:
        return code.digest(code.served(opts["file_roots"]["base"]))

    def known(services: Iterable[str]) -> str:
        roots = opts["file_roots"]["base"]
        plain = all(served.plain(roots, name) for name in services)
        return served.digest(opts) if plain else ""

    def refresh() -> None:
        salt.fileserver.Fileserver(opts).clear_file_list_cache({"saltenv": None})

    silence = opts.get("saltern", {}).get("silence", 15)
    return Fleet(client, wanted, refresh, silence, known, Master(opts))


def _same(calls: Mapping[str, Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], list[str]]]:
    """Return hosts grouped by equal arguments: one job each."""
    groups: list[tuple[Mapping[str, Any], list[str]]] = []
    for host, kwargs in calls.items():
        for known, hosts in groups:
            if known == kwargs:
                hosts.append(host)
                break
        else:
            groups.append((kwargs, [host]))
    return groups


def _tell_state(phase: Phase, event: StateDone) -> None:
    state = event.state
    if not state.get("__state_ran__", True):
        return
    seconds = float(state.get("duration", 0)) / 1000
    ok = state.get("result") is not False
    if not ok or state.get("changes") or seconds >= _NEWS_SECONDS:
        phase.state(event.host, str(state.get("__id__", "")), ok, seconds)


def _failure(event: Answer) -> Failure:
    if event.reason:
        remedy = _silent(event.host)
        return Failure(event.reason, event.host, event.job.label, "", remedy, event.silent)
    reason = event.value if isinstance(event.value, str) else repr(event.value)
    reason = space.of_text(reason) or reason
    return Failure(reason.removeprefix("ERROR: "), event.host, event.job.label)


def _step_failures(event: Answer, job: StepJob) -> list[Failure]:
    if event.ok and isinstance(event.value, Mapping):
        return []
    if event.reason:
        return [_failure(event)]
    remedy = job.remedy(event.host, event.job.label)
    found = progress.state_failures(event.value, event.host, event.job.label)
    return [
        Failure(one.reason, one.host, one.service, one.state, remedy)
        for one in found
        or [Failure("failed, but reported no failed state", event.host, event.job.label)]
    ]


def _silent(host: str) -> str:
    return (
        f"salt {host} test.ping; on the host: systemctl status saltern-minion (minion of this machine, "
        "without systemd: make setup), and the minion's log"
    )


def other_code(host: str) -> Failure:
    """Return the failure of a host that does not have the master's extension code."""
    return Failure(
        "has other extension code than the master",
        host,
        remedy=f"salt {host} saltutil.sync_all; if that does not help, read the minion's log",
    )
