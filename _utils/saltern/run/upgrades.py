"""Upgrades: which services are due, what forbids it, and which have begun and are not finished; no host is asked."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from saltern import files, space
from saltern.errors import Failure, SalternError
from saltern.run import plan
from saltern.run.plan import Kind, Plan


@dataclass
class Upgrade:
    """The upgrade of one service.

    :ivar old: Releases that it runs; none of a service that has none, such as a database.
    :ivar new: The one that it gets.
    :ivar revisions: Host to the revision that it came from: its way back.
    :ivar contracting: What only the old release needs has begun to go: the way back is the backup.
    """

    old: list[str]
    new: str
    revisions: dict[str, str] = field(default_factory=dict)
    contracting: bool = False

    def text(self) -> str:
        """Return ``2026.1 -> 2026.2``, or nothing for a service without a release."""
        old = [one for one in self.old if one != self.new]
        return f"{', '.join(old)} -> {self.new}" if old else ""


Upgrades = dict[str, Upgrade]


def file(var: str) -> Path:
    """Return where a master keeps the upgrades that are not finished.

    :param var: Its folder for what it keeps.
    """
    return Path(var, "upgrade.json")


def read(path: Path) -> Upgrades:
    """Return the upgrades that have begun and are not finished, by service.

    :raises SalternError: The file is spoilt.
    """
    try:
        return {name: Upgrade(**one) for name, one in json.loads(path.read_text()).items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError):
        raise SalternError(
            f"{path} is spoilt: it says which services are between two releases. Compare "
            "`salt '*' revision.list` with the pillar, then remove it"
        ) from None


def write(path: Path, upgrades: Upgrades) -> None:
    """Keep the upgrades that are not finished; without any, nothing is left of the file."""
    if not upgrades:
        path.unlink(missing_ok=True)
        return
    with space.needed(path.parent):
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    files.write(path, json.dumps({name: asdict(one) for name, one in upgrades.items()}, indent=1))


def due(
    plans: Mapping[str, Plan],
    containers: Mapping[str, Mapping[str, Mapping[str, Any]]],
    catalog: Mapping[str, Mapping[str, Any]],
    unfinished: Upgrades,
    release: str,
) -> Upgrades:
    """Return the services that an upgrade concerns, in the order of ``catalog``.

    Those are due whose containers, or tasks if they have none, get another image, and those whose upgrade has begun.

    :param plans: Host to what would change there.
    :param containers: Host to what ``container.list`` says.
    :param catalog: Services of the run, each after what it requires.
    :param release: The release of the pillar.
    """
    hosts: dict[str, list[str]] = {}
    for host, changing in plan.images_change(plans).items():
        for service in changing:
            hosts.setdefault(service, []).append(host)
    # What does not run yet is new, and has nothing to be upgraded from.
    running = {
        service: sorted(
            {
                one["release"]
                for host in where
                for one in containers.get(host, {}).values()
                if one["service"] == service and one["release"]
            }
        )
        for service, where in hosts.items()
        if any(
            one["service"] == service for host in where for one in containers.get(host, {}).values()
        )
    }
    found = {}
    for service, formula in catalog.items():
        if service in unfinished:
            begun = unfinished[service]
            old = sorted({*begun.old, *running.get(service, [])} - {release})
            found[service] = replace(begun, old=old, new=release)
        elif service in running:
            found[service] = Upgrade(running[service], release)
        elif service in hosts and not formula.get("containers"):
            found[service] = Upgrade([], release)
    return found


def in_the_way(plans: Mapping[str, Plan], due: Upgrades, unfinished: Upgrades) -> list[Failure]:
    """Return what must be mended first: an upgrade moves a cloud that works.

    What an interrupted upgrade has left is no reason: the same command goes on with it.
    """
    return [
        Failure(
            f"{change['state']}: {change['comment']}".partition("\n")[0],
            host,
            service,
            remedy="salt-run saltern.status; an upgrade begins when all that runs is well",
        )
        for host, services in plans.items()
        for service, changes in services.items()
        if service not in unfinished
        for change in changes
        if plan.kind(change) in (Kind.NOT_UP, Kind.FAILS)
        or plan.starts(change)
        or (plan.kind(change) is Kind.UNKNOWN and service in due)
    ]


def others(plans: Mapping[str, Plan], due: Upgrades) -> list[str]:
    """Return the services that would change and are not upgraded: they are left to a deployment."""
    found = (
        service
        for services in plans.values()
        for service, changes in services.items()
        if service not in due and any(plan.kind(one) is Kind.CHANGES for one in changes)
    )
    return list(dict.fromkeys(found))


def summary(upgrades: Upgrades) -> str:
    """Return in a sentence what is upgraded to what."""
    groups: dict[str, list[str]] = {}
    for service, one in upgrades.items():
        groups.setdefault(one.text() or "new image, same release", []).append(service)
    return " ".join(f"{what}: {', '.join(names)}." for what, names in groups.items())


def with_tasks(
    catalog: Mapping[str, Mapping[str, Any]], due: Iterable[str], phase: str
) -> list[str]:
    """Return the services of an upgrade that have something to do in a phase."""
    return [
        service
        for service in due
        if any(one["phase"] == phase for one in catalog[service].get("tasks", {}).values())
    ]


def where(
    catalog: Mapping[str, Mapping[str, Any]],
    services: Iterable[str],
    phase: str,
    hosts: Mapping[str, Sequence[str]],
) -> dict[str, list[str]]:
    """Return service to the hosts that run its tasks of a phase: the first one, or each.

    :param hosts: Service to all its hosts.
    """
    found = {}
    for service in with_tasks(catalog, services, phase):
        tasks = catalog[service]["tasks"].values()
        each = any(one["phase"] == phase and one["where"] == "each" for one in tasks)
        found[service] = list(hosts[service] if each else hosts[service][:1])
    return found


def databases(catalog: Mapping[str, Mapping[str, Any]], due: Iterable[str]) -> list[str]:
    """Return the databases of services that an upgrade may change."""
    declared = [catalog[name]["database"] for name in due if "database" in catalog[name]]
    return [name for one in declared for name in (one["name"], *one.get("also", []))]


def left_out(
    services: Iterable[str], placed: Mapping[str, Iterable[str]], hosts: Collection[str]
) -> dict[str, list[str]]:
    """Return the services of which a run leaves out hosts, with these.

    :param placed: Service to its hosts.
    :param hosts: Those of the run.
    """
    found = {
        name: [host for host in placed.get(name, ()) if host not in hosts] for name in services
    }
    return {name: left for name, left in found.items() if left}


def without_first(
    services: Iterable[str], placed: Mapping[str, Sequence[str]], hosts: Collection[str]
) -> list[Failure]:
    """Return which services a run cannot upgrade as it leaves out the first host, where what is done once is done.

    Arguments as of :func:`left_out`.
    """
    return [
        Failure(
            f"its upgrade begins on {placed[name][0]}, which pillar:hosts leaves out",
            service=name,
            remedy=f"name {placed[name][0]}, too, or pillar:services without {name}",
        )
        for name, left in left_out(services, placed, hosts).items()
        if placed[name][0] in left
    ]
