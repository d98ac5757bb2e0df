"""Saltern on the master: see what would change, what runs and what is said; make secrets."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import salt.pillar
import salt.utils.event
from salt.exceptions import SaltException

from saltern.cloud import demand, secrets
from saltern.cloud.model import Cloud
from saltern.errors import Failure, SalternError
from saltern.host import logs as collected
from saltern.images import workshop
from saltern.images.options import Options, folders
from saltern.paths import root
from saltern.problems import unknown
from saltern.report import facts, page
from saltern.run import (
    command,
    findings,
    fleet,
    inventory,
    lock,
    progress,
    pull,
    rings,
    rotation,
    saved_plans,
    schedule,
    screen,
    starts,
)
from saltern.run import drift as drifts
from saltern.run import history as kept
from saltern.run import incidents as mended
from saltern.run import maintenance as resting
from saltern.run import orphans as left
from saltern.run import plan as plans
from saltern.run import status as state
from saltern.run.fleet import RolloutError, Run
from saltern.run.progress import Phase
from saltern.tls import store as certs

Shown = dict[str, Any]
# Certificates that expire sooner are shown unasked.
_SOON_DAYS = 30
_FOLLOW_SECONDS = 2
_FOLLOWED_LINES = 2000
# How long a host that has started waits for a run under way.
_PATIENCE_SECONDS = 3600

# SystemExit is Ctrl-C, as Salt tells it.
_ENDED = (SalternError, SaltException, SystemExit)

_log = logging.getLogger(__name__)


def plan(
    services: list[str] | None = None,
    hosts: list[str] | None = None,
    save: bool = False,
    **other: Any,
) -> Shown:
    """Show what ``orch.deploy`` would change, as diffs with secrets hidden; nothing is changed.

    Also what it would find: states that fail, what cannot be asked, containers that are not up. Then the
    exit code is 1. What services that are gone have left would stay; it is listed with what removes it.

    :param services: Names of services; None is all.
    :param hosts: Minion ids; None is all.
    :param save: Keep it, so that ``orch.deploy`` with the id that is shown does just that, or nothing; a plan
        with states that fail is not kept.
    :returns: Host to service to the states with a finding, ``leftovers``, and the id as ``saved``;
        ``--out json`` prints it as data.

    CLI Example:

    .. code-block:: bash

        salt-run saltern.plan
        salt-run saltern.plan services='[keystone]' hosts='[control1]'
        salt-run saltern.plan save=True
    """
    more: Shown = {}
    try:
        run, phase = _run(services, hosts, other, heeds=True), _phase("plan")
        phase.warn(run.cloud.warnings)
        if save and run.cloud.settings["images"].get("registry"):
            # So that the plan is of the bytes that its run will pull.
            lacking = pull.names(pull.wanted(run, phase)[1])
            pull.digests(run, phase, Path(root("var", __opts__), "digests.json"), lacking, False)
        run.ask_plans(phase, 600)
        if save:
            limits = {"services": services or (), "hosts": hosts or ()}
            fails = plans.failures(run.plans)
            more["saved"] = None if fails else saved_plans.save(__opts__, limits, run.plans)
    except _ENDED as error:
        return _failed("See what would change", error, "salt-run saltern.plan")
    stays = findings.of_leftovers(run.leftovers)
    more |= {"leftovers": stays} if stays else {}
    if run.left_out:
        more["maintenance"] = list(map(asdict, run.left_out))
    return _shown("plan", run.plans, **more, **_retcode(plans.trusted(run.plans)))


def status(
    services: list[str] | None = None,
    hosts: list[str] | None = None,
    certificates: bool = False,
    **other: Any,
) -> Shown:
    """Show what runs and what should, and what is not well; then the exit code is 1.

    A row a container of every host, also those that are missing or left over. Nova, Neutron and Cinder
    are asked whom they hold for down, and the hosts which instances run.

    :param certificates: Also show until when every certificate is valid; otherwise those alone that
        expire within 30 days.
    :returns: Host to its containers, instances, certificates, open incidents, and findings with ``host``, ``name``,
        ``finding`` and ``remedy``; ``--out json`` prints it as data.

    CLI Example:

    .. code-block:: bash

        salt-run saltern.status
        salt-run saltern.status certificates=True
    """
    try:
        run = _run(services, hosts, other)
        calls, asked_on = run.every_call(), _who_asks(run)
        if asked_on:
            calls[asked_on]["records"] = list(run.services)
        answers, silent = run.fleet.answers(_phase("status"), "saltern.status", calls, 90)
        for host in [host for host, one in answers.items() if "containers" not in one]:
            del answers[host]
            silent.append(fleet.other_code(host))
        stored = certs.read(inventory.certificates_folder(__opts__))
        at_rest = resting.read(resting.folder(__opts__))
        drifted = drifts.read(drifts.file(__opts__))
        runs = kept.read(kept.folder(__opts__)) if drifted and drifted.hosts else []
        going_on = [
            one
            for one in mended.Journal(mended.file(__opts__)).open()
            if one["host"] in ("", *run.hosts) and one["service"] in ("", *run.services)
        ]
    except _ENDED as error:
        return _failed("See what runs", error, "salt-run saltern.status")
    expiries = certs.expiries(stored, certs.now())
    rows = {host: one["containers"] for host, one in answers.items()}
    records = answers.get(asked_on, {}).get("records") or {}
    running = {host: one["instances"] for host, one in answers.items()}
    wanted = records.get("instances")
    instances = state.instances(wanted or {}, running)
    found = [
        *findings.of_failures(silent),
        *findings.of_containers(rows, _recoveries(run.cloud)),
        *findings.of_records(records, run.cloud.hosts, asked_on, run.cloud.provider("client")),
        *findings.of_instances(instances),
        *findings.of_certificates(expiries),
    ]
    quiet = [one for one in found if resting.silenced(at_rest, run.cloud, one["host"], one["name"])]
    alarms = [one for one in found if one not in quiet]
    shown = [asdict(one) for one in expiries if certificates or one.days < _SOON_DAYS]
    parts: Shown = {} if wanted is None else {"instances": instances}
    parts |= {"certificates": shown} if shown else {}
    if at_rest:
        parts["maintenance"] = list(map(asdict, at_rest))
    if drifted and drifted.hosts:
        parts["drift"] = asdict(drifted) | {"since": kept.last_change(runs, drifted.at)}
    parts |= {"silenced": quiet} if quiet else {}
    parts |= {"incidents": going_on} if going_on else {}
    return _shown("status", rows, **parts, findings=alarms, **_retcode(not alarms))


def drift(due: bool = False) -> Shown:
    """Ask all hosts in what they differ from the pillar, and keep it for ``saltern.status``; nothing is changed.

    What fails, or cannot be asked, is no drift: ``saltern.plan`` shows it. Hosts in maintenance are left out.

    :param due: For the master's schedule: does as ``saltern:drift`` of the pillar says, ``observe``, ``act`` (deploys
        to the services that differ, on the hosts where they do) or ``ignore``; not while a run is under way.
    :returns: ``at``, ``hosts`` and ``silent``; ``--out json`` prints them as data.

    CLI Example:

    .. code-block:: bash

        salt-run saltern.drift
    """
    again = "salt-run saltern.drift"
    try:
        cloud = _cloud()
        does = cloud.settings["drift"] if due else ""
        if does == drifts.IGNORE or (due and kept.under_way(kept.folder(__opts__))):
            return _shown("drift", None)
        run, at = fleet.begin(__opts__, cloud, [], [], heeds=resting.SKIP), time.time()
        answers, silent = run.fleet.answers(_phase("plan"), "saltern.plan", run.plan_calls(), 600)
        plans_ = {host: answer["services"] for host, answer in answers.items()}
        found = drifts.of_plans(plans_, silent, at)
        if due and kept.under_way(kept.folder(__opts__)):
            return _shown("drift", None)  # what a run has begun to change is no drift
        drifts.write(drifts.file(__opts__), found)
        if does == drifts.ACT and found.hosts:
            with kept.acting("the schedule"):
                _orchestrate("deploy", {"services": found.services, "hosts": list(found.hosts)})
    except _ENDED as error:
        _log.error("hosts were not compared with the pillar: %s", error)
        return _failed("Compare the hosts with the pillar", error, again)
    return _shown("drift", asdict(found))


def logs(
    service: str | None = None,
    host: str | None = None,
    pattern: str | None = None,
    since: str | None = "1h",
    until: str | None = None,
    level: str | None = None,
    lines: int = 200,
    follow: bool = False,
) -> Shown | None:
    """Search what the containers of the cloud have written, newest last.

    A host that keeps the logs of all hosts answers; for one ``host`` that host itself, or the former
    if it is silent.

    :param service: Name of a service or of a container.
    :param host: Minion id.
    :param pattern: Regular expression, such as a request id.
    :param since: How long ago (``15m``, ``1h``, ``2d``) or a time of ISO 8601 (UTC); ``until`` alike.
    :param level: Lowest level, such as ``warning``; lines that show none are left out then.
    :param lines: Most lines to show: the newest ones.
    :param follow: Show new lines as they come, until Ctrl-C.
    :returns: ``time``, ``host``, ``container``, ``level`` and ``text`` of each; ``--out json``
        prints them as data.

    CLI Example:

    .. code-block:: bash

        salt-run saltern.logs service=nova pattern=req-3c1f since=1d
        salt-run saltern.logs host=compute1 level=error follow=True
    """
    try:
        cloud = _cloud()
        asked = {
            "containers": collected.containers(service, cloud.catalog) if service else [],
            "hosts": [host] if host else [],
            "pattern": pattern,
            "since": since and str(since),
            "until": until and str(until),
            "level": level,
            "lines": lines,
        }
        collecting, keeping = (
            cloud.placement.get(cloud.provider(what), []) for what in ("logs", "log_server")
        )
        places = collected.places(host, list(cloud.hosts), collecting, keeping)
        found = _search(places, asked)
        if not follow:
            return _shown("logs", found)
        with contextlib.suppress(KeyboardInterrupt, SystemExit):
            # Lines of other hosts may be late by some seconds.
            asked |= {"since": "1m", "lines": max(lines, _FOLLOWED_LINES)}
            known: list[dict[str, Any]] = []
            while True:
                for event in found:
                    if event not in known:
                        print(collected.line(event), flush=True)
                known = found
                time.sleep(_FOLLOW_SECONDS)
                found = _search(places, asked)
    except _ENDED as error:
        return _failed("Search the logs", error, "salt-run saltern.logs")
    return None


def orphans(
    clean: bool = False, confirm: bool | str = False, minutes: int = 10, pause: int = 60
) -> Shown:
    """List what hosts and services have left of instances, networks and volumes that are no more.

    A service that does not answer fails the command: then nothing is taken for an orphan.

    :param clean: Remove those that are still orphans when all is asked again, except those whose
        remedy says what a person does.
    :param confirm: ``yes``: nothing is removed otherwise.
    :param minutes: What is younger may be under way and is left out.
    :param pause: Seconds between the two times, in which what is being deleted ends.
    :returns: ``orphans``: fields of :class:`saltern.run.orphans.Orphan`; ``removed``: how many, if
        ``clean``.

    CLI Example:

    .. code-block:: bash

        salt-run saltern.orphans
        salt-run saltern.orphans clean=True confirm=yes
    """
    again = "salt-run saltern.orphans"
    try:
        run = _run(None, None)
        found = left.find(run, _phase("orphans"), minutes)
        # YAML, as which Salt takes arguments, makes True of yes.
        if not clean or confirm not in (True, "yes"):
            return _shown("orphans", {"orphans": [asdict(one) for one in found]})
        typed = "salt-run saltern.orphans clean=True confirm=yes"
        with _changing(typed, "Remove orphans", run.cloud) as changed:
            time.sleep(pause if found else 0)
            still = left.find(run, _phase("orphans"), minutes) if found else []
            both = left.seen_twice(found, still)
            removed = left.clean(run, _phase("clean"), both)
            changed += [f"{host}: {len(things)}" for host, things in removed.items() if things]
    except _ENDED as error:
        return _failed("Look for orphans", error, again)
    count = sum(map(len, removed.values()))
    return _shown("orphans", {"orphans": [asdict(one) for one in both], "removed": count})


def genpwd() -> Shown:
    """Make every secret that a service declares and the secrets file lacks; none is overwritten.

    :returns: The names of what was made; the values are in the file alone.

    CLI Example:

    .. code-block:: bash

        salt-run saltern.genpwd
    """
    try:
        cloud, path = _cloud(), inventory.secrets_file(__opts__)
        stored, added = secrets.fill(cloud.catalog, secrets.read(path))
        if added:
            again = "salt-run saltern.genpwd"
            with kept.recorded(__opts__, again, "Make the secrets", cloud.settings) as changed:
                secrets.write(path, stored)
                changed += added
    except SalternError as error:
        return _failed("Make the secrets", error, "salt-run saltern.genpwd")
    return _shown("genpwd", {"file": path, "made": added})


def rotate_fernet(
    service: str | None = None, secret: str = "fernet_keys", due: bool = False
) -> Shown:
    """Rotate a ring of fernet keys and deliver it to every host of its service; nothing restarts.

    Tokens stay valid: the key that becomes the primary one is on all hosts already. All hosts must
    answer, so that none misses two rotations.

    :param service: The service that declares the ring; None is the one that provides the identity.
    :param secret: Name of the ring in ``secrets`` of its ``service.yml``.
    :param due: Only if the service's option ``fernet_rotation_interval`` (seconds) has passed since
        the last rotation: for the master's schedule.
    :returns: How many keys the ring has and the hosts that have it.

    CLI Example:

    .. code-block:: bash

        salt-run saltern.rotate_fernet
    """
    again = "salt-run saltern.rotate_fernet"
    try:
        cloud = _cloud()
        service = service or cloud.provider("identity")
        declared = cloud.catalog.get(service, {}).get("secrets", {}).get(secret, {})
        if declared.get("kind") != "fernet_ring":
            raise SalternError(f"{service} has no ring of fernet keys named {secret!r}")
        marker = Path(root("var", __opts__), "rotated", f"{service}.{secret}")
        if due and not _passed(marker, cloud.options(service)["fernet_rotation_interval"]):
            return _shown("rotated", {"keys": 0, "hosts": []})
        run = _run([service], None)
        acting = kept.acting("the schedule" if due else "the master")
        hosts = list(run.services[service].hosts)
        with acting, _changing(again, f"Rotate the {secret} of {service}", cloud) as changed:
            run.fleet.ask(_phase("preflight"), "saltern.facts", {one: {} for one in hosts}, 120)
            ring = rotation.Rotation(service, secret, declared, (service,))
            path = inventory.secrets_file(__opts__)
            keys = rings.rotate(run, _phase("deliver"), path, ring, 120)
            changed += hosts
            _touch(marker)
    except _ENDED as error:
        return _failed("Rotate the keys", error, again)
    return _shown("rotated", {"keys": keys, "hosts": hosts})


def renew_certificates(days: float = _SOON_DAYS) -> Shown:
    """Renew the cloud's own certificates that expire soon, as ``orch.certificates`` does; nothing restarts.

    For the master's schedule. The operator's own and those that are missing are no reason to begin; a
    run under way is waited for. What fails is in the master's log.

    :param days: Those that expire within as many days are renewed.
    :returns: The names of what was due.

    CLI Example:

    .. code-block:: bash

        salt-run saltern.renew_certificates
    """
    try:
        cloud, folder = _cloud(), inventory.certificates_folder(__opts__)
        stored, key = certs.read(folder), certs.read_key(folder)
        reasons = certs.plan(demand.wanted(cloud), stored, key, certs.now(), days)
        due = [name for name in reasons if name in stored]
        if due:
            with kept.acting("the schedule"):
                _orchestrate("certificates", {"days": days, "wait": _PATIENCE_SECONDS})
    except _ENDED as error:
        _log.error("certificates were not renewed: %s", error)
        return _failed("Renew the certificates", error, "salt-run saltern.renew_certificates")
    return _shown("renewed", due)


def started(host: str) -> Shown:
    """Deploy to a host whose minion has started, if the pillar has ``deploy_on_start`` for it.

    For the reactor. Hosts that start together are deployed to together; a run under way is waited
    for. What fails is in the master's log, and ``saltern.watch`` shows it as any run.

    :param host: Minion id, as the master has authenticated it.
    :returns: The hosts that this call has deployed to.

    CLI Example:

    .. code-block:: bash

        salt-run saltern.started compute3
    """
    waiting = starts.Waiting(Path(root("var", __opts__), "started"))
    try:
        at_work = resting.of(resting.read(resting.folder(__opts__)), host)
        if at_work:
            _log.info("%s has started and is left alone: %s", host, at_work)
        elif _cloud().hosts.get(host, {}).get("deploy_on_start"):
            waiting.add(host)
        served = waiting.serve(_deploy_started)
    except _ENDED as error:
        _log.error("%s has started and was not deployed to: %s", host, error)
        return _failed(
            "Deploy to a host that has started", error, f"salt-run saltern.started {host}"
        )
    return _shown("started", served)


def _deploy_started(hosts: Sequence[str]) -> None:
    with kept.acting("the reactor"):
        _orchestrate("deploy", {"hosts": list(hosts), "wait": _PATIENCE_SECONDS})


def _orchestrate(name: str, pillar: dict[str, Any]) -> None:
    command.orchestrate(__salt__["state.orchestrate"], name, pillar)


def maintenance(
    host: str | None = None,
    reason: str = "",
    hours: float = 8,
    services: list[str] | None = None,
    end: bool = False,
) -> Shown:
    """Say that somebody works on a host, or on some of its services; without a host: show what is in maintenance.

    Runs leave it as it is, or refuse to begin (``saltern:maintenance`` of the pillar), and what is not well of
    it does not count in the status. It ends by itself.

    :param host: Minion id.
    :param reason: Why; for the others.
    :param hours: After how many hours it ends.
    :param services: Names of services of the host; None is the whole host.
    :param end: End it now.
    :returns: What is in maintenance now; ``--out json`` prints it as data.

    CLI Example:

    .. code-block:: bash

        salt-run saltern.maintenance
        salt-run saltern.maintenance host=compute1 reason='disk change' hours=2
        salt-run saltern.maintenance host=compute1 end=True
    """
    again = "salt-run saltern.maintenance"
    try:
        folder = resting.folder(__opts__)
        if host is not None:
            cloud, names = _cloud(), services or []
            given = {} if services is None else {"services": services}
            fleet.stop_for(progress.of_problems(command.wrong(given, ("services",), "argument")))
            resting.check(cloud, host, names)
            typed, title = (
                (f"{again} host={host} end=True", "End the maintenance")
                if end
                else (f"{again} host={host} reason={reason!r} hours={hours}", "Begin a maintenance")
            )
            with kept.recorded(__opts__, typed, title, cloud.settings) as changed:
                if end:
                    done = resting.end(folder, host, names)
                else:
                    who = kept.who(__opts__)
                    done = resting.begin(folder, host, names, reason, who, hours)
                changed += [one.name for one in done]
        now = resting.read(folder)
    except _ENDED as error:
        return _failed("Change what is in maintenance", error, again)
    return _shown("maintenance", list(map(asdict, now)))


def history(run: str | int | None = None) -> Shown:
    """Show what runs have done on this cloud, the newest last; of one run, all that is kept of it.

    Each orchestration and each runner that changes something is kept, also what failed or was killed; of
    runs alike that changed nothing, the newest stands for all. ``saltern:history`` in the pillar says how many.

    :param run: Id of a run, or ``last``.
    :returns: The runs; ``--out json`` prints them as data.

    CLI Example:

    .. code-block:: bash

        salt-run saltern.history
        salt-run saltern.history run=last
    """
    try:
        runs = kept.read(kept.folder(__opts__))
        if run is not None:
            return _shown("run", kept.one_of(runs, str(run)))
    except SalternError as error:
        return _failed("Show the history", error, "salt-run saltern.history")
    return _shown("history", runs)


def report(path: str | None = None) -> Shown:
    """Write what the status, the history and the images tell as one page of HTML, with pictures.

    The page needs no network and holds no secret; its owner alone can read it. A host that does not answer is
    shown as such. docs/report.md.

    :param path: The file, or a folder that exists; None is ``/var/lib/saltern/report.html``.
    :returns: ``path`` of the page and its ``findings``, as the status has them; if there are any, the exit code
        is 1, as that of the status. ``--out json`` prints it as data.

    CLI Example:

    .. code-block:: bash

        salt-run saltern.report
        salt-run saltern.report path=/root/cloud.html
    """
    try:
        target = page.target(path, Path(root("var", __opts__), "report.html"))
        told = status(certificates=True)["data"]
        if "failed" in told:
            return {"outputter": "saltern", "data": told}
        # The status has those alone that go on.
        told["incidents"] = mended.rows(mended.Journal(mended.file(__opts__)).read())
        cloud, runs = _cloud(), kept.read(kept.folder(__opts__))
        data = facts.gather(cloud, told, runs, _images(cloud), time.time())
        hidden = secrets.read(inventory.secrets_file(__opts__))
        page.write(target, page.render(plans.hide(data, hidden)))
    except _ENDED as error:
        return _failed("Write the report", error, "salt-run saltern.report")
    written = {"path": str(target), "findings": told["findings"]}
    return _shown("report", written, **_retcode(not told["findings"]))


def _images(cloud: Cloud) -> Shown:
    """Return the images of a cloud with their sizes on this host, or why they are unknown."""
    if not cloud.images:
        return {"unknown": "no service of this cloud has an image"}
    try:
        chosen = Options.from_pillar(inventory.pillar(__opts__), {}, folders(__opts__))
        shop = workshop.Workshop(workshop.find_root(__opts__), chosen)
        parents = shop.parents(cloud.images)
        return facts.images(cloud, parents, shop.sizes(list(parents)))
    except SalternError as error:
        return {"unknown": str(error)}


def incidents(host: str | None = None, service: str | None = None, open: bool = False) -> Shown:
    """Show what was wrong: when it was seen, what was decided and done, and how long it lasted; the newest last.

    :param host: Minion id; None is all.
    :param service: Name of a service; None is all, and what is of no service.
    :param open: Only what is not over.
    :returns: Incidents; ``--out json`` prints them as data, times in seconds since 1970 (``began`` is when the host
        has seen it, ``seen`` when the master has).

    CLI Example:

    .. code-block:: bash

        salt-run saltern.incidents
        salt-run saltern.incidents host=compute1 open=True
    """
    try:
        journal = mended.Journal(mended.file(__opts__))
        if host is not None or service is not None:
            cloud = _cloud()
            _known("host", host, cloud.hosts)
            _known("service", service, cloud.catalog)
        return _shown("incidents", journal.read(host, service, open))
    except _ENDED as error:
        return _failed("Show the incidents", error, "salt-run saltern.incidents")


def _known(kind: str, name: str | None, names: Iterable[str]) -> None:
    if name is not None and name not in names:
        raise SalternError(str(unknown(kind, name, names, kind)))


def watch() -> None:
    """Follow the phases of runs on this master until Ctrl-C.

    CLI Example:

    .. code-block:: bash

        salt-run saltern.watch
    """
    # Salt turns Ctrl-C into SystemExit.
    stopped = contextlib.suppress(KeyboardInterrupt, SystemExit)
    with stopped, salt.utils.event.get_event("master", opts=__opts__, listen=True) as bus:
        print("Waiting for a run; Ctrl-C ends this.", flush=True)
        while True:
            event = bus.get_event(
                wait=5, tag=f"{progress.PREFIX}/", match_type="startswith", full=True
            )
            if event:
                print(progress.line(event["tag"].rpartition("/")[2], event["data"]), flush=True)


def _search(places: list[str], asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the answer of the first of some hosts that gives one."""
    hosts = fleet.connect(__opts__)
    for number, place in enumerate(places, 1):
        try:
            return hosts.call(_phase("logs"), "logs.search", {place: asked}, 120)[place]
        except RolloutError:
            if number == len(places):
                raise
    return []


def _passed(marker: Path, seconds: float) -> bool:
    """Return whether a file is older than that; a missing one is made, so that time starts now."""
    if not marker.exists():
        _touch(marker)
    return time.time() - marker.stat().st_mtime >= seconds


def _touch(marker: Path) -> None:
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()


def _cloud() -> Cloud:
    """Return the cloud of the pillar.

    :raises RolloutError: The pillar is wrong.
    """
    opts = {**__opts__, "ext_pillar": []}
    pillar = salt.pillar.Pillar(opts, {}, __opts__["id"], "base").compile_pillar()
    if "_errors" in pillar:
        raise RolloutError([Failure(str(error)) for error in pillar["_errors"]])
    cloud = inventory.cloud(pillar, __opts__)
    fleet.stop_for(progress.of_problems(cloud.problems))
    return cloud


@contextlib.contextmanager
def _changing(command: str, title: str, cloud: Cloud) -> Iterator[list[str]]:
    """Hold the cloud for what a runner changes, and keep it in the history; yield the names of that."""
    held = contextlib.closing(lock.take(__opts__, command, who=kept.who(__opts__)))
    with held, kept.recorded(__opts__, command, title, cloud.settings) as changed:
        yield changed


def _who_asks(run: Run) -> str:
    """Return the host whose client asks services for what they hold for down; nothing if the run has none."""
    return next(iter(run.hosts_of("client")), "")


def _recoveries(cloud: Cloud) -> dict[str, Mapping[str, str]]:
    return {name: one.recovery for name, one in schedule.clustered(cloud).items()}


def _run(
    services: list[str] | None,
    hosts: list[str] | None,
    other: Mapping[str, Any] | None = None,
    heeds: bool = False,
) -> Run:
    """Return a run that is limited to some services and hosts.

    :param other: Further arguments, of which Salt's own alone are good: it would end with 0 without them.
    :param heeds: Leave out, or refuse, what is in maintenance.
    """
    given = {"services": services, "hosts": hosts, **(other or {})}
    limits = {key: one for key, one in given.items() if one is not None and key[:2] != "__"}
    wrong = command.wrong(limits, ("services", "hosts"), "argument")
    fleet.stop_for(progress.of_problems(wrong))
    cloud = _cloud()
    heeded = cloud.settings["maintenance"] if heeds else ""
    return fleet.begin(__opts__, cloud, services or [], hosts or [], heeds=heeded)


def _phase(kind: str) -> Phase:
    """Return a phase that only speaks to this screen: what changes nothing is no event."""
    say = screen.speaker(__opts__)
    return Phase("0", kind, kind, lambda data, tag: None, say, time.monotonic)


def _shown(kind: str, data: Any, **more: Any) -> Shown:
    screen.end_quietly()
    return {"outputter": "saltern", "data": {kind: data, **more}}


def _retcode(well: bool) -> Shown:
    """Return the part of the data by which salt-run exits with 1; beside it `--out` would show Salt's own."""
    return {} if well else {"retcode": 1}


def _failed(what: str, error: BaseException, again: str) -> Shown:
    screen.end_quietly()
    failures = fleet.failures_of(error)
    text = progress.failure_block(what, failures, again)
    return {"outputter": "saltern", "data": {"failed": text, **_retcode(False)}}
