"""The cloud as the pillar describes it: hosts, what runs where, in which order."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from saltern.cloud.formulas import Catalog
from saltern.errors import SalternError
from saltern.images.names import images_of
from saltern.problems import Problem


@dataclass(eq=False)
class Cloud:
    """A validated cloud. It does not change once it is loaded: what follows for all hosts is found out once.

    :ivar settings: Pillar ``saltern`` with defaults filled in.
    :ivar catalog: Every enabled service by name, as its ``service.yml`` says.
    :ivar placement: Service to the ids of its hosts, in inventory order.
    :ivar overrides: Service to its own pillar (options, ``config``, ``containers``).
    :ivar problems: What is wrong with the pillar; nothing may be changed unless it is empty.
    :ivar warnings: What is allowed, but seldom meant.
    """

    settings: dict[str, Any]
    catalog: Catalog
    placement: dict[str, list[str]]
    overrides: dict[str, dict[str, Any]]
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    @property
    def hosts(self) -> dict[str, dict[str, Any]]:
        """Return the inventory: minion id to address and roles."""
        return self.settings["hosts"]

    @functools.cached_property
    def services(self) -> list[str]:
        """The services that run somewhere, each after what it requires."""
        return [service for wave in self.waves() for service in wave]

    def services_of(self, host: str) -> list[str]:
        """Return the services of one host, each after what it requires."""
        return [service for service in self.services if host in self._placed[service]]

    @functools.cached_property
    def _placed(self) -> dict[str, frozenset[str]]:
        return {service: frozenset(hosts) for service, hosts in self.placement.items()}

    def waves(self) -> list[list[str]]:
        """Return services in waves: all that a wave requires is in earlier ones.

        :raises SalternError: Services require each other in a circle.
        """
        waiting = {name: self.before(name) for name in self.catalog if self.placement[name]}
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

    def before(self, service: str) -> set[str]:
        """Return the running services that one waits for, with those that are colocated with them."""
        formula = self.catalog[service]
        own = formula.get("colocated_with")
        wanted = {*formula.get("requires", []), *formula.get("after", []), own} - {None}
        colocated = {
            name
            for name, one in self.catalog.items()
            if one.get("colocated_with") in wanted - {own} and name != service
        }
        return {one for one in wanted | colocated if self.placement.get(one)}

    @property
    def images(self) -> list[str]:
        """Return the images that the running services need, by folder name."""
        found = set()
        for service in self.services:
            formula = self.catalog[service]
            found |= set(images_of(formula))
        return sorted(found)

    def provider(self, what: str) -> str:
        """Return the service that provides something, see ``provides`` in ``service.yml``; nothing if none does."""
        catalog = self.catalog.items()
        found = (name for name, one in catalog if what in one.get("provides", []))
        return next((name for name in found if self.placement[name]), "")

    def options(self, service: str, host: str | None = None) -> dict[str, Any]:
        """Return a service's options: the host's values, the pillar's, the declared defaults."""
        declared = self.catalog[service].get("options", {})
        given = dict(self.overrides.get(service, {}))
        if host:
            given |= self.hosts[host].get("options", {}).get(service, {})
        return {name: given.get(name, option["default"]) for name, option in declared.items()}

    def names_of(self, service: str) -> list[dict[str, str]]:
        """Return whose hosts a service's files and containers may name: ``service`` or ``role``, and ``when``.

        They are those that ``names`` of its ``service.yml`` says, its fellow members of a cluster, and
        those of what it requires and HAProxy does not offer.
        """
        formula = self.catalog[service]
        called = [*formula.get("requires", []), *formula.get("after", [])]
        names = [*[service] * ("clusters" in formula), *filter(self._is_called_directly, called)]
        names += formula.get("names", [])
        return [one if isinstance(one, dict) else {"service": one} for one in names]

    def _is_called_directly(self, service: str) -> bool:
        """Return whether clients of a service speak to its hosts rather than to HAProxy."""
        ports = self.catalog.get(service, {}).get("ports", {}).values()
        reached = [port for port in ports if not port.get("local")]
        return bool(reached) and all(port.get("frontend", "none") == "none" for port in reached)

    def facts(self, host: str | None = None) -> dict[str, dict[str, Any]]:
        """Return what a host may know of every running service (no secrets), options as its own."""
        return {
            name: {
                "several": len(self.placement[name]) > 1,
                "ports": self.catalog[name].get("ports", {}),
                "options": self.options(name, host),
                "provides": self.catalog[name].get("provides", []),
                "identity": self.catalog[name].get("identity", {}),
                "requires": self.catalog[name].get("requires", []),
                "database": self.catalog[name].get("database", {}),
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
        """Return the whole cloud as one host sees it, but for its secrets: what the rules of services are about.

        :param host: Minion id.
        """
        known = self.known(host)
        for name, facts in known["services"].items():
            facts["hosts"] = self.placement[name]
        return known | {"hosts": self.inventory}

    @functools.cached_property
    def inventory(self) -> dict[str, dict[str, Any]]:
        """All hosts by their id, as services name them."""
        return {
            name: {"id": name, "address": one["address"], "roles": one["roles"]}
            for name, one in self.hosts.items()
        }

    @functools.cached_property
    def with_role(self) -> dict[str, list[str]]:
        """Roles, and the ids of the hosts that have each."""
        roles = {role for one in self.hosts.values() for role in one["roles"]}
        return {
            role: [id_ for id_, one in self.hosts.items() if role in one["roles"]] for role in roles
        }

    @functools.cached_property
    def position(self) -> dict[str, int]:
        """Hosts, and the place of each in the inventory."""
        return {name: number for number, name in enumerate(self.hosts)}

    def known(self, host: str) -> dict[str, Any]:
        """Return what any host may know of the cloud, whatever its size, with one host's own options."""
        return {
            **{key: self.settings[key] for key in _KNOWN_SETTINGS},
            "images": {
                key: one for key, one in self.settings["images"].items() if key in _IMAGE_NAME
            },
            "host": self.inventory[host],
            "services": self.facts(host),
        }


# What of the pillar key `saltern` all hosts know.
_KNOWN_SETTINGS = [
    "release",
    "region",
    "internal_address",
    "external_address",
    "internal_name",
    "external_name",
    "tls",
    "limits",
]
# What of `saltern:images` names an image; the rest is for builds, and may hold passwords.
_IMAGE_NAME = ("registry", "namespace", "tag")


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
