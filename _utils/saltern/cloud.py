"""The cloud as the pillar describes it: hosts, what runs where, in which order."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from saltern import merge, problems, secrets
from saltern.errors import SalternError
from saltern.formulas import Catalog
from saltern.images import options as image_options
from saltern.problems import Problem

ROLES = ("control", "network", "compute", "storage", "monitoring")
_SCHEMA = Path(__file__).with_name("cloud.schema.yml")
# What a service's pillar may hold beside the options that its service.yml declares.
_COMMON = {
    "config": {
        "type": "object",
        "additionalProperties": True,
        "description": "file: what to merge into it",
    },
    "containers": {
        "type": "object",
        "additionalProperties": {"type": "object"},
        "description": "container: fields of its spec to override",
    },
}


@dataclass
class Cloud:
    """A validated cloud.

    :ivar settings: Pillar ``saltern`` with defaults filled in.
    :ivar catalog: Every enabled service by name, as its ``service.yml`` says.
    :ivar placement: Service to the ids of its hosts, in inventory order.
    :ivar overrides: Service to its own pillar (options, ``config``, ``containers``).
    :ivar problems: What is wrong with the pillar; nothing may be changed unless it is empty.
    """

    settings: dict[str, Any]
    catalog: Catalog
    placement: dict[str, list[str]]
    overrides: dict[str, dict[str, Any]]
    problems: list[Problem] = field(default_factory=list)

    @property
    def hosts(self) -> dict[str, dict[str, Any]]:
        """Return the inventory: minion id to address and roles."""
        return self.settings["hosts"]

    @property
    def services(self) -> list[str]:
        """Return the services that run somewhere, each after what it requires."""
        return [service for wave in self.waves() for service in wave]

    def services_of(self, host: str) -> list[str]:
        """Return the services of one host, each after what it requires."""
        return [service for service in self.services if host in self.placement[service]]

    def waves(self) -> list[list[str]]:
        """Return services in waves: all that a wave requires stands in earlier ones.

        :raises SalternError: Services require each other in a circle.
        """
        waiting = {
            name: {one for one in _before(formula) if self.placement.get(one)}
            for name, formula in self.catalog.items()
            if self.placement[name]
        }
        waves: list[list[str]] = []
        while waiting:
            ready = sorted(name for name, before in waiting.items() if not before & set(waiting))
            if not ready:
                circle = ", ".join(sorted(waiting))
                raise SalternError(f"these services require each other in a circle: {circle}")
            waves.append(ready)
            for name in ready:
                del waiting[name]
        return waves

    @property
    def images(self) -> list[str]:
        """Return the images that the running services need, by folder name."""
        found = set()
        for service in self.services:
            formula = self.catalog[service]
            parts = [*formula.get("containers", {}).values(), *formula.get("once", [])]
            found |= {part["image"] for part in parts} | {formula.get("check_image")}
        return sorted(found - {None})

    def options(self, service: str) -> dict[str, Any]:
        """Return a service's options: the pillar's values over the declared defaults."""
        declared = self.catalog[service].get("options", {})
        given = self.overrides.get(service, {})
        return {name: given.get(name, option["default"]) for name, option in declared.items()}

    def facts(self) -> dict[str, dict[str, Any]]:
        """Return what every host may know of every running service (no secrets)."""
        return {
            name: {
                "hosts": self.placement[name],
                "ports": self.catalog[name].get("ports", {}),
                "options": self.options(name),
                "catalog": self.catalog[name].get("catalog", {}),
                "requires": self.catalog[name].get("requires", []),
            }
            for name in self.services
        }

    def view(
        self, host: str, stored: Mapping[str, Mapping[str, Any]], users: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the pillar key ``cloud`` of one host.

        :param host: Minion id.
        :param stored: All secrets, service to name to value.
        :param users: ``images/users.yml``: user name to its numeric id.
        """
        settings = self.settings
        services = self.services_of(host)
        view = {
            "release": settings["release"],
            "region": settings["region"],
            "internal_address": settings["internal_address"],
            "external_address": settings["external_address"],
            "images": settings["images"],
            "limits": settings["limits"],
            "host": {"id": host, **self.hosts[host]},
            "hosts": self.hosts,
            "services": self.facts(),
            "formulas": {name: self._formula(name, users) for name in services},
        }
        wanted = secrets.wanted_by(self, host)
        view["secrets"] = {
            service: {name: stored.get(service, {}).get(name) for name in names}
            for service, names in wanted.items()
        }
        return view

    def _formula(self, service: str, users: Mapping[str, Any]) -> dict[str, Any]:
        """Return a service's data as the host needs it: overrides merged, user ids resolved."""
        formula = self.catalog[service]
        override = self.overrides.get(service, {})
        wanted = {
            name: merge.merge(container, override.get("containers", {}).get(name, {}))
            for name, container in formula.get("containers", {}).items()
        }
        resolved = {key: formula[key] for key in _HOST_KEYS if key in formula}
        resolved["containers"] = wanted
        resolved["overrides"] = override.get("config", {})
        resolved["uid"] = _uid(users, formula.get("user", 0), service)
        return resolved


# What of a service.yml a host needs; the rest is for the master and for people.
_HOST_KEYS = [
    "summary",
    "config_dir",
    "database",
    "config",
    "keyrings",
    "once",
    "containers",
    "check",
    "check_image",
    "upgrade",
    "user",
]


def load(
    pillar: Mapping[str, Any], catalog: Catalog, releases: Iterable[str] | None = None
) -> Cloud:
    """Return the cloud of a compiled pillar; what is wrong stands in its ``problems``.

    :param pillar: The pillar without the ``cloud`` key: ``saltern`` and a key a service.
    :param catalog: Every known service, see :func:`saltern.formulas.load`.
    :param releases: Releases for which images can be made; None accepts any.
    """
    raw = pillar.get("saltern")
    if not isinstance(raw, Mapping):
        wrong = Problem("saltern", "is missing", "Describe the cloud below it, see docs/pillar.md")
        return Cloud({"hosts": {}}, {}, {}, {}, [wrong])
    found = problems.check(dict(raw), schema(), "saltern")
    if found:
        return Cloud({"hosts": {}}, {}, {}, {}, found)
    settings = _defaults(raw)
    placed = settings["services"]
    enabled = {
        name: formula
        for name, formula in catalog.items()
        if placed.get(name, {}).get("enabled", formula.get("enabled", True))
    }
    cloud = Cloud(
        settings=settings,
        catalog=enabled,
        placement={
            name: _placed(enabled[name], placed.get(name, {}), settings) for name in enabled
        },
        overrides={name: dict(pillar.get(name) or {}) for name in enabled},
    )
    cloud.problems = [
        *image_options.problems(settings["images"]),
        *_check_release(settings, releases),
        *_check_addresses(settings),
        *_check_roles(settings, catalog),
        *_check_placement(cloud, catalog),
        *_check_services(pillar, catalog),
    ]
    return cloud


@functools.cache
def schema() -> dict[str, Any]:
    """Return the JSON Schema of the pillar key ``saltern``."""
    return yaml.safe_load(_SCHEMA.read_text())


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


def _before(formula: Mapping[str, Any]) -> set[str]:
    return {*formula.get("requires", []), *formula.get("after", [])}


def _defaults(raw: Mapping[str, Any]) -> dict[str, Any]:
    known = schema()["properties"]
    settings = {name: one["default"] for name, one in known.items() if "default" in one}
    limits = known["limits"]["properties"]
    settings.update(roles=[], images={}, services={})
    settings.update(raw)
    settings.setdefault("external_address", settings["internal_address"])
    settings["limits"] = {name: one["default"] for name, one in limits.items()} | dict(
        raw.get("limits", {})
    )
    return settings


def _placed(
    formula: Mapping[str, Any], override: Mapping[str, Any], settings: Mapping[str, Any]
) -> list[str]:
    hosts = settings["hosts"]
    if "hosts" in override:
        return [host for host in hosts if host in override["hosts"]]
    roles = set(override.get("roles", formula["roles"]))
    return [host for host, data in hosts.items() if roles & set(data["roles"])]


def _check_release(settings: Mapping[str, Any], releases: Iterable[str] | None) -> list[Problem]:
    known = None if releases is None else list(releases)
    if known is None or settings["release"] in known:
        return []
    return [problems.unknown("saltern:release", settings["release"], known, "release")]


def _check_addresses(settings: Mapping[str, Any]) -> list[Problem]:
    wrong = []
    named = {
        f"saltern:hosts:{name}:address": host["address"] for name, host in settings["hosts"].items()
    }
    named["saltern:internal_address"] = settings["internal_address"]
    if settings["external_address"] != settings["internal_address"]:
        named["saltern:external_address"] = settings["external_address"]
    seen: dict[str, str] = {}
    for key, address in named.items():
        try:
            ipaddress.ip_address(address)
        except ValueError:
            wrong.append(
                Problem(key, f"{address!r} is not an IP address", "Write one, as 10.0.0.11")
            )
            continue
        if key.startswith("saltern:hosts:"):
            if address in seen:
                wrong.append(
                    Problem(key, f"{address} is also {seen[address]}", "Give each its own")
                )
            seen[address] = key
        elif seen.get(address, "").startswith("saltern:hosts:"):
            remedy = "HAProxy and the services behind it need an address each: choose a free one"
            wrong.append(Problem(key, f"{address} is also {seen[address]}", remedy))
    return wrong


def _check_roles(settings: Mapping[str, Any], catalog: Catalog) -> list[Problem]:
    known = {*ROLES, *settings["roles"]}
    known |= {role for formula in catalog.values() for role in formula["roles"]}
    used = [
        (f"saltern:hosts:{name}:roles", host["roles"]) for name, host in settings["hosts"].items()
    ]
    used += [
        (f"saltern:services:{name}:roles", one["roles"])
        for name, one in settings["services"].items()
        if "roles" in one
    ]
    return [
        problems.unknown(key, role, known, "role")
        for key, roles in used
        for role in roles
        if role not in known
    ]


def _check_placement(cloud: Cloud, catalog: Catalog) -> list[Problem]:
    wrong = []
    for name, one in cloud.settings["services"].items():
        key = f"saltern:services:{name}"
        if name not in catalog:
            wrong.append(problems.unknown(key, name, catalog, "service"))
        for host in one.get("hosts", []):
            if host not in cloud.hosts:
                wrong.append(problems.unknown(f"{key}:hosts", host, cloud.hosts, "host"))
    for name, hosts in cloud.placement.items():
        for needed in cloud.catalog[name].get("requires", []) if hosts else []:
            if needed not in catalog:
                what = f"formulas/{name}/service.yml requires the unknown service {needed!r}"
                wrong.append(Problem(f"saltern:services:{name}", what, "Correct it"))
            elif needed not in cloud.catalog:
                key = f"saltern:services:{needed}:enabled"
                wrong.append(Problem(key, f"is false, but {name} requires it", "Enable it"))
            elif not cloud.placement[needed]:
                roles = ", ".join(cloud.catalog[needed]["roles"])
                what = f"no host runs {needed}, which {name} requires"
                remedy = f"Give a host one of its roles: {roles}"
                wrong.append(Problem("saltern:hosts", what, remedy))
    return wrong


def _check_services(pillar: Mapping[str, Any], catalog: Catalog) -> list[Problem]:
    wrong = []
    for name, value in pillar.items():
        if name in catalog:
            wrong += _check_service(name, value, catalog[name])
        elif name not in ("saltern", "cloud") and problems.nearest(name, catalog, 0.8):
            wrong.append(problems.unknown(name, name, catalog, "service"))
    return wrong


def _check_service(name: str, value: Any, formula: Mapping[str, Any]) -> list[Problem]:
    schema_ = {
        "type": "object",
        "additionalProperties": False,
        "properties": {**formula.get("options", {}), **_COMMON},
    }
    wrong = problems.check(value or {}, schema_, name)
    if wrong:
        return wrong
    for part in ("config", "containers"):
        kind = {"config": "file", "containers": "container"}[part]
        known = formula.get(part, {})
        for one in (value or {}).get(part, {}):
            if one not in known:
                wrong.append(problems.unknown(f"{name}:{part}:{one}", one, known, kind))
    return wrong


def releases(images: str | Path) -> list[str]:
    """Return the OpenStack releases that can be built: those with a lock file."""
    return sorted(path.stem for path in Path(images).glob("locks/*.txt"))
