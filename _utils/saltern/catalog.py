"""What Keystone must know of the cloud: services, endpoints, users, projects and roles.

Every service says its part under ``catalog`` in its ``service.yml``:

.. code-block:: yaml

    catalog:
      type: image                     # of the service named like the formula
      description: OpenStack Image
      port: glance                    # a name of ports
      path: /v2                       # after the port; may hold %(project_id)s
      interfaces: [public, internal]
      user: {name: glance, password: keystone_password, roles: [service]}
      # All that follows is rare.
      name: glance                    # in the catalogue, if not the formula's
      services: {heat-cfn: {type: cloudformation, description: ..., port: heat-api-cfn, path: /v1}}
      users: {heat_domain_admin: {password: domain_keystone_password, domain: heat,
              roles: [{role: admin, domain: heat}]}}
      roles: [heat_stack_owner]
      projects: {name: description}
      domains: {heat: Users and projects of stacks}

A password is the name of one of the service's own secrets; it must end with ``keystone_password``, by
which Keystone's hosts receive it. A role is a name (in project ``service``) or
``{role: ..., project: ...}``, ``{role: ..., domain: ...}``, ``{role: ..., system: true}``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from saltern.errors import SalternError
from saltern.templates import Context

DOMAIN = "Default"
PROJECT = "service"
_INTERFACES = ("public", "internal")
_SERVICE = {"type", "name", "description", "port", "path", "interfaces"}
_KEYS = _SERVICE | {"user", "users", "roles", "projects", "domains", "services"}


def wanted(context: Context, prune: bool = False) -> dict[str, Any]:
    """Return what ``register`` in the toolbox reads: all that the running services declare.

    Holds secrets: for standard input only.

    :param context: Names of Keystone's templates on a host that runs Keystone.
    :param prune: Whether services that are not wanted any more are removed.
    :raises SalternError: A ``catalog`` is wrong or a secret is missing.
    """
    keystone = context["services"]["keystone"]
    roles: dict[str, None] = {PROJECT: None}
    projects: dict[tuple[str, str], str] = {(PROJECT, DOMAIN): "Users of the services"}
    domains: dict[str, str] = {}
    users: list[dict[str, Any]] = []
    services: list[dict[str, Any]] = []
    for name, entry in context["catalog"]().items():
        _check(name, entry)
        roles.update(dict.fromkeys(entry.get("roles", [])))
        domains.update(entry.get("domains", {}))
        projects.update({(one, DOMAIN): text for one, text in entry.get("projects", {}).items()})
        services += _services(name, entry, context)
        users += _users(name, entry, context)
    for user in users:
        roles.update((role["role"], None) for role in user["roles"])
    return {
        "auth": {
            "url": context["endpoint"]("keystone") + keystone["catalog"].get("path", ""),
            "user": keystone["options"]["admin_user"],
            "password": context["secret"]("keystone.admin_password"),
        },
        "region": context["cloud"]["region"],
        "roles": list(roles),
        "domains": [{"name": one, "description": text} for one, text in domains.items()],
        "projects": [
            {"name": one, "domain": domain, "description": text}
            for (one, domain), text in projects.items()
        ],
        "users": users,
        "services": services,
        "prune": prune,
    }


def _services(name: str, entry: Mapping[str, Any], context: Context) -> Iterator[dict[str, Any]]:
    """Yield the catalogue's services of a formula, with their endpoints."""
    named = {entry.get("name", name): entry} if "type" in entry else {}
    for service, data in (named | entry.get("services", {})).items():
        yield {
            "type": data["type"],
            "name": service,
            "description": data.get("description", ""),
            "endpoints": {
                interface: context["endpoint"](name, interface, data.get("port"))
                + data.get("path", "")
                for interface in data.get("interfaces", _INTERFACES)
            },
        }


def _users(name: str, entry: Mapping[str, Any], context: Context) -> Iterator[dict[str, Any]]:
    """Yield the users of a formula, with passwords and roles."""
    users = dict(entry.get("users", {}))
    if "user" in entry:
        users[entry["user"].get("name", name)] = entry["user"]
    for user, data in users.items():
        password = data.get("password", "keystone_password")
        if not password.endswith("keystone_password"):
            raise SalternError(
                f"formulas/{name}/service.yml: catalog: the password of user {user} is the secret "
                f"{password!r}, whose name must end with keystone_password"
            )
        yield {
            "name": user,
            "domain": data.get("domain", DOMAIN),
            "description": data.get("description", f"Service {name}"),
            "password": context["secret"](f"{name}.{password}"),
            "roles": [
                {"role": role, "project": PROJECT} if isinstance(role, str) else dict(role)
                for role in data.get("roles", ["service"])
            ],
        }


def _check(name: str, entry: Mapping[str, Any]) -> None:
    """Refuse keys that mean nothing, with the nearest help."""
    where = f"formulas/{name}/service.yml: catalog"
    unknown = sorted(entry.keys() - _KEYS)
    if unknown:
        known = ", ".join(sorted(_KEYS))
        raise SalternError(f"{where}: unknown key {unknown[0]!r}; known are {known}")
    for service, data in entry.get("services", {}).items():
        if "type" not in data or data.keys() - _SERVICE:
            raise SalternError(f"{where}: service {service} needs a type, and only {_SERVICE}")
