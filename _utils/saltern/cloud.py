"""The cloud as the pillar describes it: hosts, what runs where, in which order."""

from __future__ import annotations

import functools
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from saltern import certificates, merge, secrets, templates, validate
from saltern.errors import SalternError
from saltern.formulas import Catalog, Formula
from saltern.problems import Problem
from saltern.templates import Context

_SCHEMA = Path(__file__).with_name("cloud.schema.yml")


@dataclass
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

    def shows_certificate(self, service: str) -> bool:
        """Return whether a service shows its host's certificate: by its option ``tls`` or its ports."""
        ports = self.catalog[service].get("ports", {}).values()
        backend = self.settings["tls"]["backend"] and any(port.get("tls") for port in ports)
        return backend or self.options(service).get("tls") is True

    def certificates_of(self, service: str, needed: Container[str]) -> list[str] | None:
        """Return the certificates that a service gets beside the CA's, None if it needs no CA either.

        :param needed: What the cloud needs, see :func:`saltern.certificates.wanted`.
        """
        formula = self.catalog[service]
        own = ["host"] if self.shows_certificate(service) else []
        own += [name for name in formula.get("certificates", []) if name in needed]
        called = [self.catalog[name] for name in {service, *self.before(service)}]
        offers = any(
            port.get("frontend", "none") != "none"
            for one in called
            for port in one.get("ports", {}).values()
        )
        return own if own or offers or "certificates" in formula else None

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
        known = self._known(host)
        for name, facts in known["services"].items():
            facts["hosts"] = self.placement[name]
        return known | {"hosts": self._inventory}

    @functools.cached_property
    def _inventory(self) -> dict[str, dict[str, Any]]:
        """All hosts, as services name them."""
        return {
            name: {"id": name, "address": one["address"], "roles": one["roles"]}
            for name, one in self.hosts.items()
        }

    @functools.cached_property
    def _with_role(self) -> dict[str, list[str]]:
        roles = {role for one in self.hosts.values() for role in one["roles"]}
        return {
            role: [id_ for id_, one in self.hosts.items() if role in one["roles"]] for role in roles
        }

    @functools.cached_property
    def _position(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.hosts)}

    def _known(self, host: str) -> dict[str, Any]:
        """Return what any host may know of the cloud, whatever its size, with one host's own options."""
        return {
            **{key: self.settings[key] for key in _KNOWN_SETTINGS},
            "images": {
                key: one for key, one in self.settings["images"].items() if key in _IMAGE_NAME
            },
            "host": self._inventory[host],
            "services": self.facts(host),
        }

    def view(
        self,
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
        services = self.services_of(host)
        view = {
            **self._known(host),
            "formulas": {name: self._formula(name, users) for name in services},
            "interfaces": {
                f"{name}:{option}": interface
                for name in services
                for option, interface in self.formatted(name, "interface", host)
            },
        }
        if tags:
            view["images"]["tags"] = tags
        wanted = secrets.wanted_by(self, host)
        view["secrets"] = {
            service: {name: stored.get(service, {}).get(name) for name in names}
            for service, names in wanted.items()
        }
        view["certificates"] = self._certificates(view, host, stored.get("certificates", {}))
        for name, formula in view["formulas"].items():
            formula["first"] = self.placement[name][0] == host
        self._name_hosts(view)
        for name in services:
            _decide(name, view)
        return view

    def _name_hosts(self, view: dict[str, Any]) -> None:
        """Put into a view the hosts that its services name, and no others."""
        named: dict[str, set[str]] = {"service": set(), "role": set()}
        for service, formula in view["formulas"].items():
            formula["names"] = {kind: [] for kind in named}  # so that no `when` asks for hosts
            chosen = [one for one in self.names_of(service) if _holds(one, service, view)]
            formula["names"] = {
                kind: [one[kind] for one in chosen if kind in one] for kind in named
            }
            for kind, names in formula["names"].items():
                named[kind].update(names)
        every = "*" in named["service"]
        hosts = set(self.hosts) if every else {view["host"]["id"]}
        for name, facts in view["services"].items():
            if every or name in named["service"]:
                facts["hosts"] = self.placement[name]
                hosts.update(facts["hosts"])
        hosts.update(*(self._with_role.get(role, []) for role in named["role"]))
        ordered = sorted(hosts, key=self._position.__getitem__)
        view["hosts"] = {name: self._inventory[name] for name in ordered}

    @functools.cached_property
    def _certificates_needed(self) -> dict[str, certificates.Names]:
        return certificates.wanted(self)

    def _certificates(
        self, view: dict[str, Any], host: str, stored: Mapping[str, Any]
    ) -> dict[str, list[str]]:
        """Put a host's certificates among its secrets; return the names that each must cover."""
        needed = self._certificates_needed
        used: dict[str, str] = {}
        for service, formula in view["formulas"].items() if needed else ():
            names = self.certificates_of(service, needed)
            if names is not None:
                formula["certificates"] = names
                used |= {name: f"hosts/{host}" if name == "host" else name for name in names}
                used["ca"] = "ca"
        if used:
            view["secrets"]["certificates"] = {
                name: stored.get(label) for name, label in used.items()
            }
        return {
            name: list(needed[label].needed) if label in needed else []
            for name, label in used.items()
        }

    def _formula(self, service: str, users: Mapping[str, Any]) -> dict[str, Any]:
        """Return a service's data as the host needs it: overrides merged, user ids resolved."""
        formula = self.catalog[service]
        override = self.overrides.get(service, {})
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


def images_of(formula: Mapping[str, Any]) -> list[str]:
    """Return the images of a service's containers and tasks, by folder name."""
    parts = [*formula.get("containers", {}).values(), *formula.get("tasks", {}).values()]
    return sorted({part["image"] for part in parts if "image" in part})


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


def load(
    pillar: Mapping[str, Any], catalog: Catalog, releases: Iterable[str] | None = None
) -> Cloud:
    """Return the cloud of a compiled pillar; what is wrong is in its ``problems``.

    :param pillar: The pillar without the ``cloud`` key: ``saltern`` and a key a service.
    :param catalog: Every known service, see :func:`saltern.formulas.load`.
    :param releases: Releases for which images can be made; None accepts any.
    """
    # Types first: what follows walks the data.
    found = validate.shapes(pillar, catalog, schema())
    if found:
        return Cloud({"hosts": {}}, {}, {}, {}, problems=found)
    raw = pillar["saltern"]
    settings = _defaults(raw)
    placed = settings["services"]
    enabled = {
        name: formula
        for name, formula in catalog.items()
        if placed.get(name, {}).get("enabled", _enabled(formula, pillar, catalog))
    }
    placement = {name: _placed(enabled[name], placed.get(name, {}), settings) for name in enabled}
    for name, formula in enabled.items():
        if "colocated_with" in formula and not placed.get(name, {}).keys() & {"hosts", "roles"}:
            placement[name] = placement.get(formula["colocated_with"], [])
    cloud = Cloud(
        settings=settings,
        catalog=enabled,
        placement=placement,
        overrides={name: dict(pillar.get(name) or {}) for name in enabled},
    )
    for name in [one for one in enabled if "enabled" not in placed.get(one, {})]:
        if not _wanted(name, cloud):
            del cloud.catalog[name], cloud.placement[name], cloud.overrides[name]
    cloud.problems = validate.problems_of(cloud, catalog, releases)
    cloud.warnings = [] if cloud.problems else validate.warnings_of(cloud)
    return cloud


@dataclass
class Kept:
    """The last cloud that was loaded: the pillars of many hosts are made of the same one."""

    _made_of: tuple[Any, ...] = ()
    _cloud: Cloud | None = None

    def load(
        self, pillar: Mapping[str, Any], catalog: Catalog, releases: Iterable[str] | None = None
    ) -> Cloud:
        """Return what :func:`load` returns, from memory if all that it is made of is equal.

        Nobody may change what it is made of, nor what is returned, nor hand out parts of it without copying them.
        """
        made_of = (pillar, catalog, releases if releases is None else list(releases))
        if self._cloud is None or self._made_of != made_of:
            self._made_of = made_of
            self._cloud = load(*made_of)
        return self._cloud


# Here, as Salt makes the ext_pillar's module anew for each host and keeps the library.
KEPT = Kept()


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
    if not isinstance(condition, Mapping):
        # An expression sees where services run, and so is asked later.
        return bool(condition)
    for path, value in condition.items():
        service, _, option = path.partition(".")
        default = catalog.get(service, {}).get("options", {}).get(option, {}).get("default")
        if (pillar.get(service) or {}).get(option, default) != value:
            return False
    return True


def _defaults(raw: Mapping[str, Any]) -> dict[str, Any]:
    known = schema()["properties"]
    settings = {name: one["default"] for name, one in known.items() if "default" in one}
    settings.update(roles=[], images={}, services={})
    settings.update(raw)
    settings.setdefault("external_address", settings["internal_address"])
    for side in ("internal", "external"):
        settings.setdefault(f"{side}_name", settings[f"{side}_address"])
    settings["tls"] = {"external": False, "internal": False, "backend": False} | dict(
        raw.get("tls", {})
    )
    for key in ("limits", "history", "bootstrap"):
        below = known[key]["properties"].items()
        settings[key] = {name: one["default"] for name, one in below} | dict(raw.get(key, {}))
    return settings


def _wanted(service: str, cloud: Cloud) -> bool:
    """Return whether a service's `enabled` holds, if it is an expression."""
    condition = cloud.catalog[service].get("enabled")
    if not isinstance(condition, str):
        return True
    services = {
        name: {"hosts": hosts, "options": cloud.options(name)}
        for name, hosts in cloud.placement.items()
    }
    names = {"services": services, "hosts": cloud.hosts, "cloud": cloud.settings}
    try:
        return templates.holds(condition, names)
    except SalternError as error:
        raise SalternError(f"formulas/{service}/service.yml: enabled: {error}") from error


def _placed(
    formula: Mapping[str, Any], override: Mapping[str, Any], settings: Mapping[str, Any]
) -> list[str]:
    hosts = settings["hosts"]
    if "hosts" in override:
        return [host for host in hosts if host in override["hosts"]]
    roles = set(override.get("roles", formula.get("roles", [])))
    return [host for host, data in hosts.items() if roles & set(data["roles"])]


def releases(images: str | Path) -> list[str]:
    """Return the OpenStack releases that can be built: those with a lock file."""
    return sorted(path.stem for path in Path(images).glob("locks/*.txt"))
