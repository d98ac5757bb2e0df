"""What one host gets to know of the cloud: the pillar key ``cloud``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saltern.cloud import demand, secrets
from saltern.cloud.model import Cloud
from saltern.errors import SalternError
from saltern.service import merge, templates
from saltern.service.scope import Context

# What of a service.yml a host needs; the rest is for the master and for people.
_HOST_KEYS = [
    "summary",
    "config_dir",
    "database",
    "config",
    "keyrings",
    "apis",
    "broker",
    "containers",
    "tasks",
    "clusters",
    "leftovers",
    "volumes",
    "user",
    "prechecks",
]


def host_view(
    cloud: Cloud,
    host: str,
    stored: Mapping[str, Mapping[str, Any]],
    users: Mapping[str, Any],
    tags: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the pillar key ``cloud`` of one host.

    :param host: Minion id.
    :param stored: All secrets, service to name to value.
    :param users: ``images/users.yml``: user name to its numeric id.
    :param tags: Image to tag, of those that have another than the release; see
        :func:`saltern.images.tags.tags`.
    """
    services = cloud.services_of(host)
    view = {
        **cloud.known(host),
        "formulas": {name: _formula(cloud, name, users) for name in services},
        "interfaces": {
            f"{name}:{option}": interface
            for name in services
            for option, interface in cloud.formatted(name, "interface", host)
        },
    }
    if tags:
        view["images"]["tags"] = tags
    wanted = secrets.wanted_by(cloud, host)
    view["secrets"] = {
        service: secrets.with_beside(stored.get(service, {}), names)
        for service, names in wanted.items()
    }
    view["certificates"] = _certificates(cloud, view, host, stored.get("certificates", {}))
    for name, formula in view["formulas"].items():
        formula["first"] = cloud.placement[name][0] == host
    _name_hosts(cloud, view)
    for name in services:
        _decide(name, view)
    return view


def _name_hosts(cloud: Cloud, view: dict[str, Any]) -> None:
    """Put into a view the hosts that its services name, and no others."""
    named: dict[str, set[str]] = {"service": set(), "role": set()}
    for service, formula in view["formulas"].items():
        formula["names"] = {kind: [] for kind in named}  # so that no `when` asks for hosts
        chosen = [one for one in cloud.names_of(service) if _holds(one, service, view)]
        formula["names"] = {kind: [one[kind] for one in chosen if kind in one] for kind in named}
        for kind, names in formula["names"].items():
            named[kind].update(names)
    every = "*" in named["service"]
    hosts = set(cloud.hosts) if every else {view["host"]["id"]}
    for name, facts in view["services"].items():
        if every or name in named["service"]:
            facts["hosts"] = cloud.placement[name]
            hosts.update(facts["hosts"])
    hosts.update(*(cloud.with_role.get(role, []) for role in named["role"]))
    ordered = sorted(hosts, key=cloud.position.__getitem__)
    view["hosts"] = {name: cloud.inventory[name] for name in ordered}


def _certificates(
    cloud: Cloud, view: dict[str, Any], host: str, stored: Mapping[str, Any]
) -> dict[str, list[str]]:
    """Put a host's certificates among its secrets; return the names that each must cover."""
    needed = demand.wanted(cloud)
    used: dict[str, str] = {}
    for service, formula in view["formulas"].items() if needed else ():
        names = demand.of_service(cloud, service, needed)
        if names is not None:
            formula["certificates"] = names
            used |= {name: f"hosts/{host}" if name == "host" else name for name in names}
            used["ca"] = "ca"
    if used:
        view["secrets"]["certificates"] = {name: stored.get(label) for name, label in used.items()}
    return {
        name: list(needed[label].needed) if label in needed else [] for name, label in used.items()
    }


def _formula(cloud: Cloud, service: str, users: Mapping[str, Any]) -> dict[str, Any]:
    """Return a service's data as the host needs it: overrides merged, user ids resolved."""
    formula = cloud.catalog[service]
    override = cloud.overrides.get(service, {})
    # Only service.yml has templates: what the operator writes is meant as it stands.
    given = templates.literal(override.get("containers", {}))
    wanted = {
        name: merge.merge(container, given.get(name, {}))
        for name, container in formula.get("containers", {}).items()
    }
    resolved = {key: formula[key] for key in _HOST_KEYS if key in formula}
    resolved["containers"] = wanted
    resolved["overrides"] = override.get("config", {})
    resolved["multi"] = formula.get("oslo", {}).get("multi", {})
    resolved["uid"] = _uid(users, formula.get("user", 0), service)
    return resolved


def _decide(service: str, view: dict[str, Any]) -> None:
    """Leave out of a service's data what has a `when` that does not hold on this host."""
    formula = view["formulas"][service]

    def chosen(part: Mapping[str, Any]) -> bool:
        return _holds(part, service, view)

    def without(part: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in part.items() if key != "when"}

    for key in ("containers", "config", "leftovers", "tasks"):
        parts = formula.get(key, {})
        formula[key] = {name: without(part) for name, part in parts.items() if chosen(part)}
    formula["prechecks"] = [without(one) for one in formula.get("prechecks", []) if chosen(one)]


def _holds(part: Mapping[str, Any], service: str, view: Mapping[str, Any]) -> bool:
    """Return whether a part of a service is wanted on the host of a view: by its `when`, if it has one."""
    if "when" not in part:
        return True
    try:
        return templates.holds(part["when"], Context(view, service))
    except SalternError as error:
        raise SalternError(f"formulas/{service}/service.yml: when: {error}") from error


def _uid(users: Mapping[str, Any], user: str | int, service: str) -> int:
    if isinstance(user, int):
        return user
    if user not in users:
        raise SalternError(
            f"formulas/{service}/service.yml: user {user!r} is not in images/users.yml. "
            "Add it there with a number of its own"
        )
    uid = users[user]
    return uid["uid"] if isinstance(uid, Mapping) else uid
