"""Hosts and services in maintenance: runs leave them as they are, and what is not well of them is no alarm."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from saltern import files
from saltern.cloud.model import Cloud
from saltern.errors import SalternError
from saltern.paths import root
from saltern.problems import unknown
from saltern.run.schedule import Graph

# What `saltern:maintenance` of the pillar can say of runs.
SKIP, REFUSE = "skip", "refuse"
_RUNNER = "salt-run saltern.maintenance"


@dataclass(frozen=True)
class Maintenance:
    """A host, or one of its services, that somebody works on.

    :ivar service: Name of the service; empty is the whole host.
    :ivar since: When it began and (``until``) ends, seconds since 1970.
    """

    host: str
    service: str
    reason: str
    who: str
    since: float
    until: float

    @property
    def name(self) -> str:
        """Return what is in maintenance, as people write it."""
        return f"{self.service} on {self.host}" if self.service else self.host

    def __str__(self) -> str:
        end = time.strftime("%Y-%m-%d %H:%M", time.gmtime(self.until))
        return f"{self.name} is in maintenance until {end} UTC: {self.reason} ({self.who})"


def folder(opts: Mapping[str, Any]) -> Path:
    """Return where the master keeps them, a file each, so that two operators do not overwrite each other."""
    return Path(root("var", opts), "maintenance")


def read(folder: Path, now: float | None = None) -> list[Maintenance]:
    """Return what is in maintenance; what has ended is left out.

    :param now: Seconds since 1970; None is now.
    :raises SalternError: A file is not what :func:`begin` writes.
    """
    now = time.time() if now is None else now
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            one = Maintenance(**json.loads(path.read_text()))
        except FileNotFoundError:  # ended meanwhile
            continue
        except (OSError, ValueError, TypeError) as error:
            raise SalternError(f"{path}: cannot be read ({error}): remove it") from error
        if one.until > now:
            found.append(one)
    return found


def begin(
    folder: Path,
    host: str,
    services: Sequence[str],
    reason: str,
    who: str,
    hours: float,
) -> list[Maintenance]:
    """Note that somebody works on a host; what was noted of the same before is replaced.

    :param services: The services of the host that are meant; none means the whole host.
    :param hours: How long it lasts.
    :returns: What was noted.
    :raises SalternError: No reason is given, or the time is none.
    """
    if not reason.strip():
        raise SalternError(
            "reason: say why, for those who find the host like this: reason='disk change'"
        )
    if isinstance(hours, bool) or not isinstance(hours, int | float) or not 0 < hours <= 24 * 366:
        raise SalternError(f"hours: {hours!r} is not a number of hours above 0, such as hours=8")
    now = time.time()
    noted = [
        Maintenance(host, name, reason.strip(), who, now, now + hours * 3600)
        for name in services or [""]
    ]
    for one in noted:
        path = _path(folder, host, one.service)
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        files.write(path, json.dumps(asdict(one)) + "\n")
    return noted


def end(folder: Path, host: str, services: Sequence[str] = ()) -> list[Maintenance]:
    """End the maintenance of a host, or of some of its services.

    :param services: None of them means all that is noted of the host.
    :returns: What has ended.
    :raises SalternError: There is none.
    """
    ended = [
        one
        for one in read(folder)
        if one.host == host and (not services or one.service in services)
    ]
    if not ended:
        what = f"{', '.join(services)} on {host}" if services else host
        raise SalternError(f"{what} is not in maintenance: {_RUNNER} shows what is")
    for one in ended:
        _path(folder, host, one.service).unlink(missing_ok=True)
    return ended


def of(resting: Iterable[Maintenance], host: str, service: str = "") -> Maintenance | None:
    """Return the maintenance that a service of a host is in, by itself or with the host.

    :param service: Name of a service; empty asks for the whole host.
    """
    for one in resting:
        if one.host == host and one.service in ("", service):
            return one
    return None


def silenced(resting: Sequence[Maintenance], cloud: Cloud, host: str, name: str) -> bool:
    """Return whether what is not well of something on a host is no alarm.

    :param name: Of a container, also with ``.failed`` and the like, or of what else a finding is about.
    """
    container = name.partition(".")[0]
    owners = [
        service
        for service, formula in cloud.catalog.items()
        if container in (service, *formula.get("containers", {}))
    ]
    return any(of(resting, host, service) for service in owners or [""])


def left_out(
    resting: Iterable[Maintenance],
    services: Graph,
    hosts: Sequence[str],
    named_services: Iterable[str] = (),
    named_hosts: Sequence[str] = (),
) -> tuple[Graph, list[str], list[Maintenance]]:
    """Return what is left of a run without what is in maintenance, and what that is.

    :param services: The services of the run, on its hosts.
    :param hosts: The hosts of the run.
    :param named_services: Services that the operator has named: one with no host left stops the run.
    :param named_hosts: Hosts that the operator has named: these are worked on all the same.
    :raises SalternError: A service that was named would run nowhere.
    """
    heeded = [one for one in resting if one.host not in named_hosts]
    gone = [
        one
        for one in heeded
        if any(
            one.host in service.hosts and one.service in ("", name)
            for name, service in services.items()
        )
    ]
    left = {
        name: replace(one, hosts=tuple(host for host in one.hosts if not of(gone, host, name)))
        for name, one in services.items()
    }
    for name in named_services:
        if services[name].hosts and not left[name].hosts:
            why = "; ".join(str(of(gone, host, name)) for host in services[name].hosts)
            raise SalternError(
                f"{name} would run nowhere: {why}. Name its hosts to run there all the same"
            )
    return left, [host for host in hosts if not of(heeded, host)], gone


def how_to_end(one: Maintenance) -> str:
    """Return the command that ends a maintenance."""
    services = f" services='[{one.service}]'" if one.service else ""
    return f"when the work is done: {_RUNNER} host={one.host}{services} end=True"


def text(resting: Sequence[Mapping[str, Any]]) -> str:
    """Return what is in maintenance as people read it, a line each.

    :param resting: Fields of :class:`Maintenance`.
    """
    return "\n".join(str(Maintenance(**one)) for one in resting) or "Nothing is in maintenance"


def check(cloud: Cloud, host: str, services: Iterable[str]) -> None:
    """Stop unless a host is known and has these services.

    :raises SalternError: A name is unknown.
    """
    if host not in cloud.hosts:
        raise SalternError(str(unknown("host", host, cloud.hosts, "host")))
    for name in services:
        if host not in cloud.placement.get(name, ()):
            there = list(cloud.services_of(host))
            raise SalternError(str(unknown(f"services of {host}", name, there, "service")))


def _path(folder: Path, host: str, service: str) -> Path:
    return folder / f"{host}@{service}.json"
