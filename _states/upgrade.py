"""Phases of ``orch.upgrade`` and ``orch.rollback``: from one release to the next, and back.

Until a service's schema is contracted, what runs can go back to the revision it came from. What has begun is kept
on the master until it is finished or undone, so that the same command goes on after whatever has ended it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from saltern.errors import Failure, SalternError
from saltern.host import checks
from saltern.images import releases
from saltern.paths import root
from saltern.run import fleet, inventory, plan, rollbacks, schedule, upgrades
from saltern.run.fleet import Run, StepJob
from saltern.run.formation import RefusedError
from saltern.run.orchestration import Orchestration
from saltern.run.progress import Phase, count

here = Orchestration(globals())

# Checks of a service's own that run at the same time: each is a process that loads the service.
_CHECKS_AT_ONCE = 4


def due(name: str, deadline: float = 300) -> dict[str, Any]:
    """Decide which services are upgraded, and refuse what cannot be done; nothing has been changed yet.

    Those are due whose containers get another image, and those whose upgrade an earlier run has begun.

    :param deadline: Seconds a host has for its answer.
    """
    with here.phase(name) as (phase, ret):
        run, release = here.run, here.run.cloud.settings["release"]
        unfinished = upgrades.read(_file())
        changing = plan.images_change(run.plans)
        asked: dict[str, dict[str, Any]] = {host: {} for host in changing}
        there = run.fleet.call(phase, "container.list", asked, deadline) if asked else {}
        # A run that is limited to hosts leaves services alone that are on none of them.
        placed = {name for name, one in run.services.items() if one.hosts}
        chosen = [one for one in run.services if one in placed or not run.cloud.placement[one]]
        catalog = {name: run.cloud.catalog[name] for name in chosen}
        run.upgrades = upgrades.due(run.plans, there, catalog, unfinished, release)
        known = releases.read(Path(inventory.settings(__opts__)["images"], releases.FILE))
        for old in {old for one in run.upgrades.values() for old in one.old}:
            releases.upgrade_path(old, release, known)
        fleet.stop_for(upgrades.in_the_way(run.plans, run.upgrades, unfinished))
        fleet.stop_for(upgrades.without_first(run.upgrades, run.cloud.placement, run.hosts))
        others = upgrades.others(run.plans, run.upgrades)
        left = f" Left to orch.deploy: {', '.join(others)}." if others else ""
        if not run.upgrades:
            ret["comment"] = f"Everything runs {release}, nothing is to be upgraded.{left}"
            return ret
        ret["comment"] = upgrades.summary(run.upgrades) + left
        if __opts__["test"]:
            ret["result"] = None
    return ret


def checked(name: str, deadline: float = 1200) -> dict[str, Any]:
    """Ask each service's own check whether it can be upgraded, in the new image; one that says no stops the run.

    :param deadline: Seconds a host has.
    """
    with here.phase(name) as (phase, ret):
        run = here.run
        work = _where(run, "upgrade_check")
        if not work:
            ret["comment"] = "No service has a check of its own."
            return ret
        found: dict[str, dict[str, list[checks.Check]]] = {service: {} for service in work}

        def told(service: str, host: str, answer: Any, ok: bool) -> None:
            if ok:
                found[service][host] = answer.get(service, [])

        job = StepJob(
            "phase.checked",
            lambda step: {"phase": "upgrade_check", "services": [step.service]},
            lambda answer: sum(map(len, answer.values())),
            "check",
            "done",
        )
        together = schedule.Schedule(schedule.side_by_side(work, _CHECKS_AT_ONCE), work)
        run.fleet.apply(phase, together, deadline, job, told)
        # In the order of the run, whichever was done first.
        answers = [answer for service in work for answer in found[service].items()]
        fleet.stop_for([one for answer in answers for one in checks.failures(dict([answer]))])
        total = sum(len(rows) for _, rows in answers)
        ret["comment"] = f"{count(total, 'check')}, all good."
    return ret


def backed_up(name: str, deadline: float = 6 * 3600) -> dict[str, Any]:
    """Dump the databases that the upgrade may change, on the first host of the database.

    The key ``backup`` of the command leaves it out: ``pillar='{"backup": "no"}'``.

    :param deadline: Seconds that it may take.
    """
    with here.phase(name) as (phase, ret):
        run = here.run
        names = upgrades.databases(run.cloud.catalog, run.upgrades or {})
        if run.command.get("backup") in ("no", False):
            ret["comment"] = "Left out, as the command says."
        elif not names:
            ret["comment"] = "No database changes."
        elif __opts__["test"]:
            ret.update(result=None, comment=f"Would back up {', '.join(names)}.")
        else:
            host = run.cloud.placement[run.cloud.provider("database")][0]
            call = {host: {"names": names}}
            done = run.fleet.call(phase, "database.dump", call, deadline)[host]
            ret["changes"] = {host: done}
            ret["comment"] = f"{count(len(done), 'database')} in {_folder(done)} on {host}."
    return ret


def expanded(name: str, deadline: float = 6 * 3600) -> dict[str, Any]:
    """Widen the schemas, and move data, so that the old and the new release can both work with them.

    :param deadline: Seconds that one service may take.
    """
    with here.phase(name) as (phase, ret):
        run = here.run
        if run.upgrades and not __opts__["test"]:
            _begin(run, phase)
        for part in ("expand", "migrate"):
            _tasks(run, phase, ret, part, deadline)
        if not __opts__["test"]:
            first = {name: run.cloud.placement[name][:1] for name in run.upgrades or {}}
            run.fleet.call(phase, "phase.skipped", _calls(first), 600)
        _say(ret, "No schema is to be changed.")
    return ret


def replaced(name: str, deadline: float = 1800) -> dict[str, Any]:
    """Replace the containers, service by service and host by host; if one fails, all go back to what they came from.

    :param deadline: Seconds one service may take on one host.
    """
    with here.phase(name) as (phase, ret):
        run = here.run
        work, _ = run.work()
        if not work:
            ret["comment"] = "Every container is there already."
        elif __opts__["test"]:
            ret.update(result=None, changes=work, comment="Would replace the containers of these.")
        else:
            try:
                told = here.record.applied
                done = run.fleet.apply(
                    phase, schedule.Schedule(run.services, work), deadline, told=told
                )
            except SalternError as error:
                raise _gone_back(run, phase, error, deadline) from error
            ret["changes"] = done
            hosts = {host for where in done.values() for host in where}
            ret["comment"] = f"{count(len(done), 'service')} on {count(len(hosts), 'host')}."
    return ret


def contracted(name: str, deadline: float = 6 * 3600) -> dict[str, Any]:
    """Finish: what is pinned to the old release is let go, data are moved on, schemas lose what only that needed.

    From here the way back of these services is the backup; it is said before it begins. As long as the run leaves
    out a host of one of the services, nothing of it is done: that host needs what would go.

    :param deadline: Seconds that one service may take on one host.
    """
    with here.phase(name) as (phase, ret):
        run = here.run
        due_ = run.upgrades or {}
        waiting = upgrades.left_out(due_, run.cloud.placement, run.hosts)
        if waiting:
            places = "; ".join(f"{one} on {', '.join(hosts)}" for one, hosts in waiting.items())
            ret["comment"] = f"Not yet: this run leaves out {places}."
            ret["next"] = f"{run.command.text(hosts=None)} moves these and finishes"
            return ret
        last = _where(run, "contract")
        if last and not __opts__["test"]:
            phase.table(f"  From here the way back of {', '.join(last)} is the backup.")
            for service in last:
                due_[service].contracting = True
            upgrades.write(_file(), upgrades.read(_file()) | due_)
        try:
            _tasks(run, phase, ret, "contract", deadline)
        except SalternError as error:
            raise fleet.RolloutError([*fleet.failures_of(error), rollbacks.no_way(last)]) from error
        if not __opts__["test"]:
            _end(due_)
        _say(ret, "Nothing is left to be done." if due_ else "Nothing was upgraded.")
    return ret


def rolled_back(name: str, deadline: float = 1800) -> dict[str, Any]:
    """Bring services back to the revision before the present one, or to the one before an unfinished upgrade.

    Refused where the schema does not allow it any more, or where a host does not keep that revision.

    :param deadline: Seconds one service may take on one host.
    """
    with here.phase(name) as (phase, ret):
        run, unfinished = here.run, upgrades.read(_file())
        named = run.command.get("services", [])
        if not named and not unfinished:
            raise RefusedError(
                "no service is named, and no upgrade is unfinished",
                run.command.text(services=["SERVICE"]),
            )
        chosen = [one for one in run.services if one in (named or unfinished)]
        calls = {host: {"services": chosen} for host in run.hosts}
        known = run.fleet.call(phase, "revision.list", calls, deadline)
        goals, wrong = rollbacks.goals(run.cloud.catalog, chosen, run.services, known, unfinished)
        fleet.stop_for(wrong)
        ret["comment"] = rollbacks.text(goals, known)
        if __opts__["test"]:
            ret["result"] = None
            return ret
        failures, done = _restore(run, phase, goals, known, deadline)
        ret["changes"] = done
        fleet.stop_for(failures)
        _end(chosen)
        ret["next"] = (
            "salt-run saltern.plan shows what a deployment would do again: change the pillar"
        )
    return ret


def _begin(run: Run, phase: Phase, deadline: float = 600) -> None:
    """Note what every service comes from, on its hosts and on the master; what an earlier run has noted counts.

    Before this nothing has changed: what a check or a dump has stopped is no unfinished upgrade.
    """
    new = {
        name: [host for host in run.services[name].hosts if host not in one.revisions]
        for name, one in run.upgrades.items()
    }
    calls = _calls(new)
    noted = run.fleet.call(phase, "revision.note", calls, deadline) if calls else {}
    for service, hosts in new.items():
        ran = {host: noted[host].get(service, "") for host in hosts}
        run.upgrades[service].revisions = run.upgrades[service].revisions | ran
    upgrades.write(_file(), upgrades.read(_file()) | run.upgrades)


def _end(services: Iterable[str]) -> None:
    gone = set(services)
    left = {name: one for name, one in upgrades.read(_file()).items() if name not in gone}
    upgrades.write(_file(), left)


def _gone_back(run: Run, phase: Phase, error: BaseException, deadline: float) -> fleet.RolloutError:
    """Bring every service of the upgrade back to what it came from; return what is to be said of it all."""
    phase.table("  A step failed: what has moved goes back to what it came from.")
    goals = rollbacks.ways(run.upgrades)
    first = {
        service: run.cloud.placement[service][:1]
        for service in upgrades.with_tasks(run.cloud.catalog, goals, "rollback")
    }
    causes = fleet.failures_of(error)
    try:
        known, unknown = run.fleet.answers(phase, "revision.list", _calls(first), deadline)
        failures, done = _restore(run, phase, goals, known, deadline)
    except SalternError as lost:
        return fleet.RolloutError([*causes, rollbacks.not_tried(str(lost))])
    # Hosts that an earlier run has moved and this one leaves out stay where they are.
    stuck = upgrades.left_out(goals, goals, run.hosts)
    for one in failures:
        stuck.setdefault(one.service, []).append(one.host)
    _end(name for name in goals if name not in stuck)
    last = rollbacks.ended(run.upgrades, done, stuck)
    return fleet.RolloutError([*causes, last, *unknown, *failures])


def _restore(
    run: Run,
    phase: Phase,
    goals: rollbacks.Goals,
    known: rollbacks.Known,
    deadline: float,
) -> tuple[list[Failure], dict[str, dict[str, list[str]]]]:
    """Bring services back, those first that require others; return what failed, and service to host to containers."""
    failures = _prepare(run, phase, goals, known, deadline)
    done: dict[str, dict[str, list[str]]] = {}
    for service in reversed([one for one in run.services if one in goals]):
        hosts = [host for host in run.services[service].hosts if host in goals[service]]
        serial = run.services[service].serial
        for group in schedule.batches(list(reversed(hosts)), serial):
            calls = {host: {"revision": {service: goals[service][host]}} for host in group}
            answers, silent = run.fleet.answers(phase, "revision.restore", calls, deadline)
            failures += [
                Failure(one.reason, one.host, service, remedy=one.remedy) for one in silent
            ]
            for host, changed in answers.items():
                if changed:
                    done.setdefault(service, {})[host] = changed[service]
                    phase.host(host, f"{service}: back", True, 0, 0)
    return failures, done


def _prepare(
    run: Run, phase: Phase, goals: rollbacks.Goals, known: rollbacks.Known, deadline: float
) -> list[Failure]:
    """Run the tasks without which an older release would not start, in its own image; return what failed."""
    failures: list[Failure] = []
    for service in upgrades.with_tasks(run.cloud.catalog, goals, "rollback"):
        first = run.cloud.placement[service][0]
        image = rollbacks.image(known.get(first, {}).get(service, ()), goals[service].get(first))
        if image:
            call = {first: {"phase": "rollback", "services": [service], "image": image}}
            _, wrong = run.fleet.answers(phase, "phase.run", call, deadline)
            failures += [Failure(one.reason, one.host, service, remedy=one.remedy) for one in wrong]
    return failures


def _tasks(run: Run, phase: Phase, ret: dict[str, Any], part: str, deadline: float) -> None:
    """Run the tasks of a phase where they belong, and take note in the return of the state."""
    work = _where(run, part)
    if not work:
        return
    if __opts__["test"]:
        ret["result"] = None
        ret["changes"] |= {f"{service} ({part})": hosts for service, hosts in work.items()}
        return
    job = StepJob(
        "phase.run",
        lambda step: {"phase": part, "services": [step.service]},
        lambda answer: sum(map(len, answer.values())),
        "task",
        f"of phase {part} done",
    )
    done = run.fleet.apply(phase, schedule.Schedule(run.services, work), deadline, job)
    ret["changes"] |= {f"{service} ({part})": where for service, where in done.items()}


def _calls(work: Mapping[str, Iterable[str]], **more: Any) -> dict[str, dict[str, Any]]:
    """Return host to the arguments of a job there: its services, and ``more``.

    :param work: Service to hosts.
    """
    calls: dict[str, dict[str, Any]] = {}
    for service, hosts in work.items():
        for host in hosts:
            calls.setdefault(host, {**more, "services": []})["services"].append(service)
    return calls


def _where(run: Run, part: str) -> dict[str, list[str]]:
    return upgrades.where(run.cloud.catalog, run.upgrades or {}, part, run.cloud.placement)


def _say(ret: dict[str, Any], otherwise: str) -> None:
    done = ", ".join(ret["changes"])
    ret["comment"] = f"{'Would do' if __opts__['test'] else 'Done'}: {done}." if done else otherwise


def _folder(files: Mapping[str, str]) -> str:
    return str(Path(next(iter(files.values()))).parent)


def _file() -> Path:
    return upgrades.file(root("var", __opts__))
