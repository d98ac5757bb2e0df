"""Drift: in what hosts differ from the pillar, as the master has last found it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from saltern import files
from saltern.errors import Failure, SalternError
from saltern.paths import root
from saltern.run.plan import Kind, Plan, kind
from saltern.run.progress import count

# What `saltern:drift` of the pillar can say of what the schedule finds.
ACT, IGNORE = "act", "ignore"
_RUNNER = "salt-run saltern.drift"
# States of a service that are named one by one.
_NAMED = 3


@dataclass(frozen=True)
class Drift:
    """In what hosts differ from the pillar.

    :ivar at: When they were asked, seconds since 1970.
    :ivar hosts: Host to service to the states that would change something; what differs nowhere is left out.
    :ivar silent: Hosts that could not be asked.
    """

    at: float
    hosts: Mapping[str, Mapping[str, list[str]]] = field(default_factory=dict)
    silent: list[str] = field(default_factory=list)

    @property
    def services(self) -> list[str]:
        """Return the services that differ somewhere."""
        return sorted({name for services in self.hosts.values() for name in services})


def of_plans(plans: Mapping[str, Plan], silent: Iterable[Failure], at: float) -> Drift:
    """Return the drift that plans tell of: what would change, not what fails or cannot be asked.

    :param plans: Host to its plan.
    :param silent: Why hosts have none.
    :param at: When they were asked, seconds since 1970.
    """
    hosts = {}
    for host, plan in plans.items():
        states = {
            service: [one["state"] for one in changes if kind(one) is Kind.CHANGES]
            for service, changes in plan.items()
        }
        if found := {service: names for service, names in states.items() if names}:
            hosts[host] = found
    return Drift(at, hosts, sorted({one.host for one in silent}))


def file(opts: Mapping[str, Any]) -> Path:
    """Return where the master keeps what it has found."""
    return Path(root("var", opts), "drift.json")


def write(path: Path, found: Drift) -> None:
    """Keep what was found, for the status."""
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    files.write(path, json.dumps(asdict(found)) + "\n")


def read(path: Path) -> Drift | None:
    """Return what was last found, None if nobody has looked yet.

    :raises SalternError: The file is not what :func:`write` writes.
    """
    try:
        return Drift(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise SalternError(f"{path}: cannot be read ({error}): remove it") from error


def rows(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a drift as rows of a table: ``host``, ``service``, ``states``, and ``since``, when it was seen.

    :param value: Fields of :class:`Drift`.
    """
    return [
        {"host": host, "service": service, "states": names, "since": value["at"]}
        for host, services in value["hosts"].items()
        for service, names in services.items()
    ]


def text(value: Mapping[str, Any]) -> str:
    """Return a drift as people read it.

    :param value: Fields of :class:`Drift`, and ``since``: the command of a run that has changed something since.
    """
    asked = time.strftime("%Y-%m-%d %H:%M", time.gmtime(value["at"]))
    silent = f"; no answer from {', '.join(value['silent'])}" if value["silent"] else ""
    if not value["hosts"]:
        return f"All hosts that answered are as the pillar says ({asked} UTC){silent}"
    lines = [f"Not as the pillar says ({asked} UTC){silent}:"]
    for host, services in value["hosts"].items():
        lines += [f"  {host}  {service}  {_states(names)}" for service, names in services.items()]
    if value.get("since"):
        lines.append(
            f"    next: {value['since']} has changed something since: {_RUNNER} asks again"
        )
    else:
        lines.append(
            "    next: `salt-run saltern.plan` shows how; `salt-run state.orchestrate orch.deploy` makes it so"
        )
    return "\n".join(lines)


def _states(names: list[str]) -> str:
    more = len(names) - _NAMED
    return "; ".join(names[:_NAMED]) + (f"; {count(more, 'more state')}" if more > 0 else "")
