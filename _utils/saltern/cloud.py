"""The cloud as the pillar describes it: hosts, what runs where, in which order."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from saltern import merge, problems, secrets, templates, validate
from saltern.errors import SalternError
from saltern.formulas import Catalog, Formula
from saltern.problems import Problem
from saltern.templates import Context

_SCHEMA = Path(__file__).with_name("cloud.schema.yml")


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

    def options(self, service: str, host: str | None = None) -> dict[str, Any]:
        """Return a service's options: the host's values, the pillar's, the declared defaults."""
        declared = self.catalog[service].get("options", {})
        given = dict(self.overrides.get(service, {}))
        if host:
            given |= self.hosts[host].get("options", {}).get(service, {})
        return {name: given.get(name, option["default"]) for name, option in declared.items()}

    def facts(self, host: str | None = None) -> dict[str, dict[str, Any]]:
        """Return what a host may know of every running service (no secrets), options as its own."""
        return {
            name: {
                "hosts": self.placement[name],
                "ports": self.catalog[name].get("ports", {}),
                "options": self.options(name, host),
                "catalog": self.catalog[name].get("catalog", {}),
                "requires": self.catalog[name].get("requires", []),
            }
            for name in self.services
        }

    def formatted(
        self, service: str, form: str, host: str | None = None
    ) -> Iterator[tuple[str, str]]:
        """Yield every string of a service's options whose schema has this `format`: key, value."""
        values = self.options(service, host)
        for option, declared in self.catalog[service].get("options", {}).items():
            yield from _formatted(values[option], declared, form, option)

    def outline(self, host: str) -> dict[str, Any]:
        """Return what any service may know of the cloud as one host sees it; no secrets.

        :param host: Minion id.
        """
        hosts = {
            name: {"id": name, "address": one["address"], "roles": one["roles"]}
            for name, one in self.hosts.items()
        }
        return {
            **{key: self.settings[key] for key in _KNOWN_SETTINGS},
            "host": hosts[host],
            "hosts": hosts,
            "services": self.facts(host),
        }

    def view(
        self, host: str, stored: Mapping[str, Mapping[str, Any]], users: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the pillar key ``cloud`` of one host.

        :param host: Minion id.
        :param stored: All secrets, service to name to value.
        :param users: ``images/users.yml``: user name to its numeric id.
        """
        services = self.services_of(host)
        view = {
            **self.outline(host),
            "formulas": {name: self._formula(name, users) for name in services},
            "interfaces": {
                f"{name}:{option}": interface
                for name in services
                for option, interface in self.formatted(name, "interface", host)
            },
        }
        wanted = secrets.wanted_by(self, host)
        view["secrets"] = {
            service: {name: stored.get(service, {}).get(name) for name in names}
            for service, names in wanted.items()
        }
        for name in services:
            _decide(name, view)
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


# What of the pillar key `saltern` all hosts know.
_KNOWN_SETTINGS = [
    "release",
    "region",
    "internal_address",
    "external_address",
    "images",
    "limits",
]
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
    "prechecks",
]


def _decide(service: str, view: dict[str, Any]) -> None:
    """Leave out of a service's data what has a `when` that does not hold on this host."""
    formula = view["formulas"][service]
    names: Context | None = None

    def chosen(part: Mapping[str, Any]) -> bool:
        nonlocal names
        if "when" not in part:
            return True
        names = names or Context(view, service)
        try:
            return templates.holds(part["when"], names)
        except SalternError as error:
            raise SalternError(f"formulas/{service}/service.yml: when: {error}") from error

    def without(part: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in part.items() if key != "when"}

    for key in ("containers", "config"):
        parts = formula.get(key, {})
        formula[key] = {name: without(part) for name, part in parts.items() if chosen(part)}
    for key in ("once", "prechecks"):
        formula[key] = [without(part) for part in formula.get(key, []) if chosen(part)]


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
        if placed.get(name, {}).get("enabled", _enabled(formula, pillar, catalog))
    }
    cloud = Cloud(
        settings=settings,
        catalog=enabled,
        placement={
            name: _placed(enabled[name], placed.get(name, {}), settings) for name in enabled
        },
        overrides={name: dict(pillar.get(name) or {}) for name in enabled},
    )
    cloud.problems = validate.problems_of(cloud, pillar, catalog, releases)
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


def _formatted(
    value: Any, declared: Mapping[str, Any], form: str, key: str
) -> Iterator[tuple[str, str]]:
    if isinstance(value, str) and value and declared.get("format") == form:
        yield key, value
    elif isinstance(value, list):
        for one in value:
            yield from _formatted(one, declared.get("items", {}), form, key)
    elif isinstance(value, Mapping):
        known, others = declared.get("properties", {}), declared.get("additionalProperties")
        for name, one in value.items():
            schema_ = known.get(name, others if isinstance(others, Mapping) else {})
            yield from _formatted(one, schema_, form, f"{key}:{name}")


def _enabled(formula: Formula, pillar: Mapping[str, Any], catalog: Catalog) -> bool:
    """Return whether a service is deployed where the pillar's ``saltern:services`` is silent."""
    condition = formula.get("enabled", True)
    if isinstance(condition, bool):
        return condition
    for path, value in condition.items():
        service, _, option = path.partition(".")
        default = catalog.get(service, {}).get("options", {}).get(option, {}).get("default")
        if (pillar.get(service) or {}).get(option, default) != value:
            return False
    return True


def _before(formula: Mapping[str, Any]) -> set[str]:
    return {*formula.get("requires", []), *formula.get("after", [])}


def _defaults(raw: Mapping[str, Any]) -> dict[str, Any]:
    known = schema()["properties"]
    settings = {name: one["default"] for name, one in known.items() if "default" in one}
    settings.update(roles=[], images={}, services={})
    settings.update(raw)
    settings.setdefault("external_address", settings["internal_address"])
    for key in ("limits", "bootstrap"):
        below = known[key]["properties"].items()
        settings[key] = {name: one["default"] for name, one in below} | dict(raw.get(key, {}))
    return settings


def _placed(
    formula: Mapping[str, Any], override: Mapping[str, Any], settings: Mapping[str, Any]
) -> list[str]:
    hosts = settings["hosts"]
    if "hosts" in override:
        return [host for host in hosts if host in override["hosts"]]
    roles = set(override.get("roles", formula["roles"]))
    return [host for host, data in hosts.items() if roles & set(data["roles"])]


def releases(images: str | Path) -> list[str]:
    """Return the OpenStack releases that can be built: those with a lock file."""
    return sorted(path.stem for path in Path(images).glob("locks/*.txt"))
