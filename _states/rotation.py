"""Phases of ``orch.rotate``: secrets get another value, and nobody is refused meanwhile.

The old value stays valid beside the new one until every service has the new one; where it cannot, that is confirmed
first. What is under way is in the secrets file, so that the same command goes on after whatever has ended it; see
:mod:`saltern.cloud.secrets`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from saltern.cloud import secrets
from saltern.paths import root
from saltern.run import fleet, inventory, maintenance, rings, rotation, schedule, upgrades
from saltern.run.fleet import Run
from saltern.run.formation import RefusedError
from saltern.run.orchestration import Orchestration

here = Orchestration(globals())


def due(name: str, deadline: float = 600) -> dict[str, Any]:
    """Decide which secrets are rotated, and refuse what cannot be done; nothing has been changed yet.

    From here on the run has the services that hold one of them, on all their hosts. All must be as the pillar says.

    :param deadline: Seconds a host has for its answer.
    """
    with here.phase(name) as (phase, ret):
        run, stored = here.run, secrets.read(_file())
        named = run.command.get("services", [])
        run.rotations = rotation.chosen(run.cloud, run.command.get("what", []), named)
        unfinished = upgrades.read(upgrades.file(root("var", __opts__)))
        holders = dict.fromkeys(holder for one in run.rotations for holder in one.holders)
        if between := [one for one in holders if one in unfinished]:
            raise RefusedError(
                f"the upgrade of {', '.join(between)} is not finished",
                "salt-run state.orchestrate orch.upgrade goes on with it",
            )
        run.services, run.hosts = _of(run, holders)
        run.heed(maintenance.read(maintenance.folder(__opts__)), (), (), refuse=True)
        begun = [
            holder
            for one in run.rotations
            if secrets.under_way(stored, one.service, one.name)
            for holder in one.holders
        ]
        run.ask_plans(phase, deadline)
        again = "salt-run state.orchestrate orch.deploy, then again"
        fleet.stop_for(rotation.in_the_way(run.plans, begun, again))
        if gaps := [f"{one}: {one.gap}" for one in run.rotations if one.gap]:
            here.confirm(phase, "somebody is refused meanwhile", gaps)
        ret["comment"] = rotation.text(run.rotations, stored)
        if __opts__["test"]:
            ret["result"] = None
    return ret


def made(name: str) -> dict[str, Any]:
    """Make a new value for each secret that is no ring, beside the old one, which stays valid if it can."""

    def renewed(stored: secrets.Secrets, one: rotation.Rotation) -> secrets.Secrets:
        return secrets.renew(stored, one.service, one.name, one.declaration)

    with here.phase(name) as (_, ret):
        _change(ret, "make new values of", "There are new values of", renewed)
    return ret


def retired(name: str, deadline: float = 600) -> dict[str, Any]:
    """Take the old values for invalid, once all services have the new ones.

    :param deadline: Seconds a host has for its answer.
    """
    with here.phase(name) as (phase, ret):
        run = here.run
        if _deployed(run) and not __opts__["test"]:
            run.ask_plans(phase, deadline)
            again = f"the old values stay valid; go on with {run.command.text()}"
            fleet.stop_for(rotation.in_the_way(run.plans, (), again))
        _change(
            ret,
            "end the old values of",
            "All services have the new values of",
            lambda stored, one: secrets.retire(stored, one.service, one.name),
        )
    return ret


def ended(name: str) -> dict[str, Any]:
    """Forget the old values, which no provider accepts any more."""
    with here.phase(name) as (_, ret):
        _change(
            ret,
            "forget the old values of",
            "Nobody accepts the old values any more of",
            lambda stored, one: secrets.end(stored, one.service, one.name),
        )
    return ret


def turned(name: str, deadline: float = 600) -> dict[str, Any]:
    """Rotate rings of keys and bring them to every host of their service; nothing restarts.

    :param deadline: Seconds a host has.
    """
    with here.phase(name) as (phase, ret):
        run = here.run
        turning = [one for one in run.rotations if one.by == "ring"]
        names = ", ".join(map(str, turning))
        if not turning:
            ret["comment"] = "No ring of keys is rotated."
        elif __opts__["test"]:
            ret.update(result=None, comment=f"Would rotate {names}.")
        else:
            for one in turning:
                hosts = list(run.cloud.placement[one.service])
                keys = rings.rotate(run, phase, _file(), one, deadline)
                ret["changes"][str(one)] = {"keys": keys, "hosts": hosts}
            ret["comment"] = f"Rotated {names}."
    return ret


def _change(
    ret: dict[str, Any],
    would: str,
    did: str,
    change: Callable[[secrets.Secrets, rotation.Rotation], secrets.Secrets],
) -> None:
    """Change what the secrets file holds of the secrets that are deployed, and say so in the return of a state."""
    chosen = _deployed(here.run)
    names = ", ".join(map(str, chosen))
    if not chosen:
        ret["comment"] = "Rings of keys alone are rotated."
    elif __opts__["test"]:
        ret.update(result=None, comment=f"Would {would} {names}.")
    else:
        stored = before = secrets.read(_file())
        for one in chosen:
            stored = change(stored, one)
        if stored != before:
            secrets.write(_file(), stored)
        ret.update(changes={"secrets": list(map(str, chosen))}, comment=f"{did} {names}.")


def _deployed(run: Run) -> list[rotation.Rotation]:
    """Return the secrets that a deployment brings to the services."""
    return [one for one in run.rotations if one.by != "ring"]


def _of(run: Run, services: Any) -> tuple[schedule.Graph, list[str]]:
    """Return some services with all their hosts, and these hosts."""
    known = schedule.graph(run.cloud)
    chosen = {name: one for name, one in known.items() if name in services}
    hosts = {host for one in chosen.values() for host in one.hosts}
    return chosen, [host for host in run.cloud.hosts if host in hosts]


def _file() -> str:
    return inventory.secrets_file(__opts__)
