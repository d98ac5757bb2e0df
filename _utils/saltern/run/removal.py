"""What the removal of services takes away, and what it leaves elsewhere: texts for people, no I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any


def lines(held: Mapping[str, Mapping[str, list[str]]], kept: Collection[str]) -> list[str]:
    """Return what a removal does, a line each.

    :param held: Host to what ``saltern.holdings`` says: kind to names.
    :param kept: What it leaves elsewhere.
    """
    said = [
        f"{host}: removes {kind} {', '.join(names)}"
        for host, kinds in held.items()
        for kind, names in kinds.items()
    ]
    said += [f"{host}: removes nothing" for host, kinds in held.items() if not kinds]
    return [*said, *kept]


def kept(cloud: Any, removed: Mapping[str, Any]) -> list[str]:
    """Return what stays of services elsewhere, with what removes it, a line each.

    :param cloud: A :class:`saltern.cloud.model.Cloud`.
    :param removed: Services to what of them is removed: their ``hosts``.
    """
    everywhere = [
        name
        for name, one in removed.items()
        if set(one.hosts) >= set(cloud.placement.get(name, []))
    ]
    stays = {name for name in cloud.services if name not in everywhere}
    said = []
    for name in everywhere if stays else []:
        if name not in cloud.catalog:
            said.append(
                f"kept: databases, entries in Keystone, queues and secrets of {name}, if it has any: only of what "
                "the pillar has enabled they can be listed"
            )
            continue
        formula = cloud.catalog[name]
        database = formula.get("database")
        server, broker, registry = (
            cloud.provider(what) for what in ("database", "broker", "identity")
        )
        if database and server in stays:
            names = [database["name"], *database.get("also", [])]
            drop = " ".join(f"DROP DATABASE {one};" for one in names)
            user = database.get("user", database["name"])
            said.append(
                f"kept: databases of {name}: run in {server} (docs/services/{server}.md says how): "
                f"{drop} DROP USER {user}"
            )
        if formula.get("identity") and registry in stays:
            said.append(
                f"kept: catalogue, users and roles of {name} in Keystone: {_entries(formula)}"
            )
        if "broker" in formula and broker in stays:
            said.append(
                f"kept: queues of {name} in {broker}: docs/services/{broker}.md says how to delete them"
            )
        if formula.get("secrets"):
            said.append(f"kept: its secrets: key {name} of the secrets file")
        said.append(
            f"kept: {name} in the pillar: saltern:services:{name}:enabled: false, or it is deployed again"
        )
    return said


def _entries(formula: Mapping[str, Any]) -> str:
    """Return the commands that delete what a service has in Keystone."""
    entry = formula["identity"]
    commands = [f"openstack service delete {one}" for one in entry.get("services", {})]
    for user, data in entry.get("users", {}).items():
        domain = f"--domain {data['domain']} " if "domain" in data else ""
        commands.append(f"openstack user delete {domain}{user}")
    return "; ".join(commands)
