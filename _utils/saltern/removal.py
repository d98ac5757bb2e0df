"""What the removal of services takes away, and what it leaves elsewhere: texts for people, no I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

_SQL = "docker exec mariadb mariadb --defaults-file=/etc/mysql/galera.cnf -e"


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

    :param cloud: A :class:`saltern.cloud.Cloud`.
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
        if database and "mariadb" in stays:
            names = [database["name"], *database.get("also", [])]
            drop = " ".join(f"DROP DATABASE {one};" for one in names)
            user = database.get("user", database["name"])
            said.append(f"kept: databases of {name}: {_SQL} '{drop} DROP USER {user}'")
        if formula.get("catalog") and "keystone" in stays:
            said.append(
                f"kept: catalogue, users and roles of {name} in Keystone: {_entries(name, formula)}"
            )
        if "rabbitmq.password" in formula.get("uses_secrets", []) and "rabbitmq" in stays:
            said.append(
                f"kept: queues of {name}: docker exec rabbitmq rabbitmqctl list_queues name consumers, then "
                "rabbitmqctl delete_queue NAME"
            )
        if formula.get("secrets"):
            said.append(f"kept: its secrets: key {name} of the secrets file")
        said.append(
            f"kept: {name} in the pillar: saltern:services:{name}:enabled: false, or it is deployed again"
        )
    return said


def _entries(name: str, formula: Mapping[str, Any]) -> str:
    """Return the commands that delete what a service has in Keystone."""
    entry = formula["catalog"]
    services = [entry.get("name", name)] if "type" in entry else []
    services += list(entry.get("services", {}))
    users = [entry["user"].get("name", name)] if "user" in entry else []
    commands = [f"openstack service delete {one}" for one in services]
    commands += [f"openstack user delete {one}" for one in users]
    commands += [
        f"openstack user delete --domain {data.get('domain', 'Default')} {user}"
        for user, data in entry.get("users", {}).items()
    ]
    return "; ".join(commands)
