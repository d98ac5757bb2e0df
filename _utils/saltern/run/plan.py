"""What a run would change: from a highstate in test mode to a text for people."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import Enum
from typing import Any

import yaml

from saltern import masking
from saltern.errors import Failure
from saltern.run.progress import count, logs_of, states_of

# How the comment of a state begins that cannot say in test mode what it would change.
UNKNOWN = "cannot be asked: "
# How it begins where nothing differs, but what should run is not up.
NOT_UP = "is not up: "
# Services that a summary names one by one.
_NAMED = 5

Change = dict[str, Any]
Plan = dict[str, list[Change]]


class Kind(Enum):
    """What an entry of a plan says; its mark in the text."""

    CHANGES = "*"
    FAILS = "!"
    UNKNOWN = "?"
    NOT_UP = "-"


def kind(change: Mapping[str, Any]) -> Kind:
    """Return what an entry of a plan says: only :attr:`Kind.CHANGES` would change something."""
    if change["result"] is False:
        return Kind.FAILS
    if change["result"] is None and not change["changes"]:
        for prefix, one in ((UNKNOWN, Kind.UNKNOWN), (NOT_UP, Kind.NOT_UP)):
            if str(change["comment"]).startswith(prefix):
                return one
    return Kind.CHANGES


def of_states(running: Mapping[str, Mapping[str, Any]], hidden: Any = None) -> Plan:
    """Return what a state run in test mode found, service to entries in their order.

    An entry is a change, a failure, or a finding that is none of both, see :func:`kind`.

    :param running: Return of ``state.highstate``: states by tag.
    :param hidden: Nested mapping of secrets; none of their values is in the result.
    """
    plan: Plan = {}
    for one in sorted(running.values(), key=lambda state: state["__run_num__"]):
        if one["result"] is True and not one.get("changes"):
            continue
        service = str(one.get("__sls__", "")).partition(".")[0]
        change = {
            "state": one["__id__"],
            "result": one["result"],
            "comment": one.get("comment", ""),
            "changes": one.get("changes", {}),
        }
        plan.setdefault(service, []).append(hide(change, hidden))
    return plan


def hide(value: Any, hidden: Any) -> Any:
    """Return ``value`` with every secret in any of its strings masked."""
    if isinstance(value, Mapping):
        return {hide(key, hidden): hide(one, hidden) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [hide(one, hidden) for one in value]
    return masking.mask(value, hidden) if isinstance(value, str) and hidden else value


def work(plans: Mapping[str, Plan], services: Iterable[str]) -> dict[str, list[str]]:
    """Return the hosts on which each service is applied; services that need it nowhere are left out.

    That is where it changes, and also where something is not up, which is waited for, or could not be
    asked, which is asked again when the services before have come up.

    :param plans: Host to its plan.
    :param services: The services of the run.
    """
    hosts = {name: [host for host, plan in plans.items() if plan.get(name)] for name in services}
    return {name: where for name, where in hosts.items() if where}


def failures(plans: Mapping[str, Plan]) -> list[Failure]:
    """Return the states that already fail in test mode."""
    return [
        Failure(change["comment"], host, service, change["state"], states_of(host, service))
        for host, service, change in _entries(plans)
        if kind(change) is Kind.FAILS
    ]


def trusted(plans: Mapping[str, Plan]) -> bool:
    """Return whether nothing failed, everything could be asked and all that there is runs."""
    return all(
        kind(change) is Kind.CHANGES and not starts(change) for _, _, change in _entries(plans)
    )


def summary(plans: Mapping[str, Plan]) -> str:
    """Return in a sentence or more what is to be done where."""
    said = []
    for one, words in (
        (Kind.CHANGES, "Changes"),
        (Kind.NOT_UP, "Not up, waited for"),
        (Kind.UNKNOWN, "Cannot be asked yet"),
    ):
        found: dict[str, dict[str, None]] = {}
        for host, service, change in _entries(plans):
            if kind(change) is one:
                found.setdefault(service, {})[host] = None
        if found:
            said.append(f"{words}: {_where(found)}.")
    return " ".join(said) or "Nothing to change."


def _where(found: Mapping[str, Collection[str]]) -> str:
    if len(found) > _NAMED:
        hosts = {host for where in found.values() for host in where}
        return f"{count(len(found), 'service')} on {count(len(hosts), 'host')}"
    return "; ".join(f"{name} on {', '.join(hosts)}" for name, hosts in found.items())


def _entries(plans: Mapping[str, Plan]) -> Iterator[tuple[str, str, Change]]:
    for host, plan in plans.items():
        for service, changes in plan.items():
            for change in changes:
                yield host, service, change


def starts(change: Mapping[str, Any]) -> bool:
    """Return whether a container is there and does not run."""
    state = change["changes"].get("state") if isinstance(change["changes"], Mapping) else None
    return isinstance(state, Mapping) and state.get("new") == "running"


def beyond_configuration(plans: Mapping[str, Plan]) -> dict[str, str]:
    """Return the services whose change is more than a new configuration, and why.

    :returns: Service to the reason: it does not run yet, or its image changes.
    """
    why: dict[str, str] = {}
    for plan in plans.values():
        for service, changes in plan.items():
            fields = {name for change in changes for name in change["changes"]}
            if "container" in fields:
                why[service] = "does not run yet"
            elif "image" in fields:
                why[service] = "its image changes"
    return why


def images_change(plans: Mapping[str, Plan]) -> dict[str, list[str]]:
    """Return host to the services whose containers get other images there."""
    found = {
        host: [
            service
            for service, changes in plan.items()
            if any("image" in change["changes"] for change in changes)
        ]
        for host, plan in plans.items()
    }
    return {host: services for host, services in found.items() if services}


def other_releases(
    changing: Mapping[str, Iterable[str]],
    containers: Mapping[str, Mapping[str, Mapping[str, Any]]],
    release: str,
) -> dict[str, list[str]]:
    """Return what runs of other releases and would be replaced: release to services.

    :param changing: See :func:`images_change`.
    :param containers: Host to what ``container.list`` says.
    :param release: The one that is wanted.
    """
    found: dict[str, set[str]] = {}
    for host, services in changing.items():
        for one in containers[host].values():
            mine = one["service"] in services and one["state"] in ("running", "restarting")
            if mine and one["release"] not in ("", release):
                found.setdefault(one["release"], set()).add(one["service"])
    return {old: sorted(services) for old, services in sorted(found.items())}


def text(plans: Mapping[str, Plan]) -> str:
    """Return the plans of all hosts as a text: host, service, state, then what was found of it."""
    lines: list[str] = []
    for host, plan in plans.items():
        lines.append(host if plan else f"{host}: nothing to change")
        for service, changes in plan.items():
            lines.append(f"  {service}")
            for change in changes:
                found = kind(change)
                lines.append(f"    {found.value} {change['state']}")
                if found is not Kind.CHANGES or not change["changes"]:
                    lines += _indent(str(change["comment"]))
                lines += _indent(_changes(change["changes"]))
                if found is Kind.NOT_UP or starts(change):
                    lines += _indent(f"next: {logs_of(host, service)}")
    return "\n".join([*lines, "", _total(plans)]).lstrip("\n")


def _total(plans: Mapping[str, Plan]) -> str:
    found = [(service, kind(change)) for _, service, change in _entries(plans)]
    changes = [service for service, one in found if one is Kind.CHANGES]
    what = f"{count(len(changes), 'state')} of {count(len(set(changes)), 'service')}"
    said = [f"{what if changes else 'Nothing'} would change"]
    for one, words in (
        (Kind.FAILS, "failed"),
        (Kind.UNKNOWN, "could not be asked"),
        (Kind.NOT_UP, "not up"),
    ):
        number = sum(1 for _, other in found if other is one)
        said += [f"{number} {words}"] if number else []
    return "; ".join(said) + "."


def _indent(block: str) -> list[str]:
    return [f"        {one}" for one in block.splitlines()]


def _changes(changes: Any) -> str:
    """Return a state's changes: diffs as they are, ``old -> new`` in one line, the rest as YAML."""
    if not isinstance(changes, Mapping):
        return str(changes)
    blocks = []
    for name, value in changes.items():
        if isinstance(value, Mapping) and set(value) == {"old", "new"}:
            blocks.append(f"{name}: {_value(value['old'])} -> {_value(value['new'])}")
        elif isinstance(value, str) and "\n" in value:
            blocks.append(value.rstrip())
        elif isinstance(value, Mapping):
            blocks.append(
                f"{name}:\n" + "\n".join(f"  {one}" for one in _changes(value).splitlines())
            )
        else:
            blocks.append(f"{name}: {_value(value)}")
    return "\n".join(blocks)


def _value(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or "(none)"
    flow = yaml.safe_dump(value, default_flow_style=True, width=10**6)
    return flow.removesuffix("...\n").strip()
