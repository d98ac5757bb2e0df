"""What Keystone must know of the cloud: services, endpoints, users, projects and roles.

Every service says its part in its ``service.yml``, under ``apis`` and ``identity``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from saltern.service.scope import Context

DOMAIN = "Default"
PROJECT = "service"
_INTERFACES = ("public", "internal")


def wanted(context: Context, prune: bool = False) -> dict[str, Any]:
    """Return what ``register`` in the toolbox reads: all that the running services declare.

    Holds secrets: for standard input only.

    :param context: Names of the templates of the service that provides the identity, on one of its hosts.
    :param prune: Whether services that are not wanted any more are removed.
    :raises SalternError: A secret is missing.
    """
    own = context["service"]
    roles: dict[str, None] = {PROJECT: None}
    projects: dict[tuple[str, str], str] = {(PROJECT, DOMAIN): "Users of the services"}
    domains: dict[str, str] = {}
    users: list[dict[str, Any]] = []
    retired: list[dict[str, str]] = []
    services: list[dict[str, Any]] = []
    for name, facts in context["services"].items():
        entry = facts["identity"]
        roles.update(dict.fromkeys(entry.get("roles", [])))
        domains.update(entry.get("domains", {}))
        projects.update({(one, DOMAIN): text for one, text in entry.get("projects", {}).items()})
        services += _services(name, entry, context)
        users += _users(name, entry, context)
        retired += _retired(name, entry, context)
    for user in users:
        roles.update((role["role"], None) for role in user["roles"])
    return {
        "auth": {
            "url": context["auth_url"](),
            "user": context["options"]["admin_user"],
            "password": context["secret"](f"{own}.admin_password"),
        },
        "region": context["cloud"]["region"],
        "roles": list(roles),
        "domains": [{"name": one, "description": text} for one, text in domains.items()],
        "projects": [
            {"name": one, "domain": domain, "description": text}
            for (one, domain), text in projects.items()
        ],
        "users": users,
        "retired_users": retired,
        "services": services,
        "prune": prune,
    }


def _services(name: str, entry: Mapping[str, Any], context: Context) -> Iterator[dict[str, Any]]:
    """Yield the catalogue's services of a formula, with their endpoints."""
    for service, data in entry.get("services", {}).items():
        yield {
            "type": data["type"],
            "name": service,
            "description": data.get("description", ""),
            "endpoints": {
                interface: context["endpoint"](name, interface, data["port"]) + data.get("path", "")
                for interface in data.get("interfaces", _INTERFACES)
            },
        }


def _users(name: str, entry: Mapping[str, Any], context: Context) -> Iterator[dict[str, Any]]:
    """Yield the users of a formula, with passwords and roles; of one whose password is rotated, two."""
    for user, data in entry.get("users", {}).items():
        secret = _secret(name, data)
        former = context["former_secret"](secret)
        for old, password in ((False, context["secret"](secret)), (True, former)):
            if password:
                yield {
                    "name": context["account"](user, secret, former=old),
                    "domain": data.get("domain", DOMAIN),
                    "description": data.get("description", f"Service {name}"),
                    "password": password,
                    "roles": [
                        {"role": role, "project": PROJECT} if isinstance(role, str) else dict(role)
                        for role in data.get("roles", [PROJECT])
                    ],
                }


def _retired(name: str, entry: Mapping[str, Any], context: Context) -> Iterator[dict[str, str]]:
    """Yield the users of a formula that a rotation has replaced, and that nobody is any more."""
    for user, data in entry.get("users", {}).items():
        secret = _secret(name, data)
        if context["is_retired"](secret):
            yield {
                "name": context["account"](user, secret, former=True),
                "domain": data.get("domain", DOMAIN),
            }


def _secret(name: str, user: Mapping[str, Any]) -> str:
    return f"{name}.{user.get('password', 'keystone_password')}"
