"""What a run would change: from a highstate in test mode to a text for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from saltern import secrets
from saltern.progress import Failure, count, states_of

Change = dict[str, Any]
Plan = dict[str, list[Change]]


def of_states(running: Mapping[str, Mapping[str, Any]], hidden: Any = None) -> Plan:
    """Return what a state run in test mode would change, service to changes in their order.

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
    return secrets.mask(value, hidden) if isinstance(value, str) and hidden else value


def work(plans: Mapping[str, Plan], services: Iterable[str]) -> dict[str, list[str]]:
    """Return the hosts on which each service changes; services that change nowhere are left out.

    :param plans: Host to its plan.
    :param services: The services of the run.
    """
    hosts = {name: [host for host, plan in plans.items() if plan.get(name)] for name in services}
    return {name: where for name, where in hosts.items() if where}


def failures(plans: Mapping[str, Plan]) -> list[Failure]:
    """Return the states that already fail in test mode."""
    return [
        Failure(change["comment"], host, service, change["state"], states_of(host, service))
        for host, plan in plans.items()
        for service, changes in plan.items()
        for change in changes
        if change["result"] is False
    ]


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


def text(plans: Mapping[str, Plan]) -> str:
    """Return the plans of all hosts as a text: host, service, state, then what changes in it."""
    lines: list[str] = []
    for host, plan in plans.items():
        lines.append(host if plan else f"{host}: nothing to change")
        for service, changes in plan.items():
            lines.append(f"  {service}")
            for change in changes:
                mark = "!" if change["result"] is False else "*"
                lines.append(f"    {mark} {change['state']}")
                if change["result"] is False or not change["changes"]:
                    lines += _indent(str(change["comment"]))
                lines += _indent(_changes(change["changes"]))
    states = sum(len(changes) for plan in plans.values() for changes in plan.values())
    services = len({service for plan in plans.values() for service in plan})
    what = f"{count(states, 'state')} of {count(services, 'service')}" if states else "Nothing"
    lines.append(f"\n{what} would change.")
    return "\n".join(lines).lstrip("\n")


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
