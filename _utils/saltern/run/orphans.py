"""What hosts have and no service of the cloud knows any more: see ``leftovers`` in ``service.yml``.

Whose a thing is is in its name: ``ovnmeta-<network>``, ``tap<the first of a port's identifier>``. It is an
orphan if none of those that it may belong to is known. Hosts are asked before the services: what is made between
the two is known to the services, and so is no orphan.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from saltern.errors import SalternError
from saltern.run.fleet import Run
from saltern.run.progress import Phase

# Kinds of resources that the toolbox lists; `local_networks` are those with a port on the host itself.
KINDS = (
    *("instances", "ports", "networks", "local_networks", "routers", "volumes", "snapshots"),
    "none",
)


@dataclass(frozen=True)
class Orphan:
    """A thing that nobody owns.

    :ivar host: Minion id, empty for a record of a service.
    :ivar kind: What it is, for people: the key in ``leftovers``.
    :ivar minutes: Its age; None if nobody knows it.
    :ivar remedy: What to do about one that ``clean`` leaves; empty for one that it removes.
    """

    host: str
    service: str
    kind: str
    name: str
    minutes: int | None = None
    remedy: str = ""


def judge(
    host: str,
    found: Iterable[Mapping[str, Any]],
    known: Mapping[str, Iterable[str]],
    minutes: float,
) -> list[Orphan]:
    """Return the orphans among the things that a host has.

    :param found: ``service``, ``kind``, ``name``, ``minutes``, ``belongs_to`` and ``remedy`` of each.
    :param known: Kind of resource to the identifiers that the services know.
    :param minutes: What is younger may be under way and is left out.
    """
    orphans = []
    for one in found:
        age = one.get("minutes")
        if age is not None and age < minutes:
            continue
        if is_orphan(one["name"], one["belongs_to"], known):
            fields = {key: one.get(key) or "" for key in ("service", "kind", "name", "remedy")}
            orphans.append(Orphan(host=host, minutes=age, **fields))
    return orphans


def is_orphan(name: str, belongs_to: Mapping[str, str], known: Mapping[str, Iterable[str]]) -> bool:
    """Return whether a name is one of those that resources give and none of them is known.

    :param belongs_to: Kind of resource to a regular expression whose group is the identifier, or its
        beginning; a name that fits none belongs to somebody else and is no orphan.
    :param known: A kind that is not in it was not asked: nothing of it is an orphan.
    """
    fits = False
    for kind, pattern in belongs_to.items():
        match = re.fullmatch(pattern, name)
        if not match:
            continue
        fits = True
        if kind not in known or any(one.startswith(match[1]) for one in known[kind]):
            return False
    return fits


def local(known: Mapping[str, Any], host: str) -> dict[str, Iterable[str]]:
    """Return what services know as it concerns a host: with the networks that have a port there."""
    return {
        **{kind: known[kind] for kind in known if kind in KINDS},
        "local_networks": [one["network"] for one in known["bindings"] if one["host"] == host],
        "none": [],
    }


def records(known: Mapping[str, Any], minutes: float) -> list[Orphan]:
    """Return the records of services that belong to an instance which is no more, or are stuck."""
    return [
        Orphan("", one["service"], one["kind"], one["id"], one["minutes"], one.get("remedy", ""))
        for one in known["stuck"]
        if one["minutes"] >= minutes
    ]


def seen_twice(before: Sequence[Orphan], after: Sequence[Orphan]) -> list[Orphan]:
    """Return those orphans that were orphans before, too: what is being deleted is none for long."""
    seen = {replace(one, minutes=None) for one in before}
    return [one for one in after if replace(one, minutes=None) in seen]


def find(run: Run, phase: Phase, minutes: float = 10) -> list[Orphan]:
    """Ask the hosts of a run what they have, then the services what they know; return the orphans.

    :param minutes: What is younger may be under way and is left out.
    :raises RolloutError: A host or a service does not answer: then nothing is an orphan.
    :raises SalternError: There is no toolbox, which asks the services.
    """
    found = run.fleet.call(phase, "orphans.found", run.calls(), 300)
    toolbox = asker(run)
    known = run.fleet.call(phase, "orphans.known", {toolbox: {}}, 300)[toolbox]
    orphans = [
        one
        for host, things in found.items()
        for one in judge(host, things, local(known, host), minutes)
    ]
    return [*orphans, *records(known, minutes)]


def clean(run: Run, phase: Phase, orphans: Sequence[Orphan]) -> dict[str, list[str]]:
    """Remove orphans that can be; return what each host said.

    :param orphans: Those that were seen twice.
    :raises RolloutError: One could not be removed; the others of its host were.
    """
    calls: dict[str, dict[str, Any]] = {}
    for one in orphans:
        if not one.remedy:
            host = one.host or asker(run)
            calls.setdefault(host, {"things": []})["things"].append(asdict(one))
    return run.fleet.call(phase, "orphans.remove", calls, 600) if calls else {}


def asker(run: Run) -> str:
    """Return the host whose client asks the services.

    :raises SalternError: No host has one.
    """
    hosts = run.hosts_of("client")
    if not hosts:
        raise SalternError(
            "the run has no service that provides a client: nobody can ask what is known"
        )
    return hosts[0]


def text(shown: Mapping[str, Any]) -> str:
    """Return what people read: orphans by host and kind, and what to do."""
    orphans = shown["orphans"]
    if not orphans:
        return "No orphans"
    lines = []
    for one in orphans:
        age = "" if one["minutes"] is None else f", {one['minutes']} minutes old"
        lines.append(f"{one['host'] or one['service']}: {one['kind']} {one['name']}{age}")
        if one["remedy"]:
            lines.append(f"    not removed by clean: {one['remedy']}")
    removed = shown.get("removed")
    if removed is None:
        lines.append(f"{len(orphans)} orphans; salt-run saltern.orphans clean=True confirm=yes")
    else:
        lines.append(f"Removed {removed} of {len(orphans)}")
    return "\n".join(lines)
