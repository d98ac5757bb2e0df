"""The one way to a checked cloud: from the pillar, with defaults filled in, kept between calls."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saltern import yamlfile
from saltern.cloud import validate
from saltern.cloud.formulas import Catalog, Formula
from saltern.cloud.model import Cloud
from saltern.errors import SalternError
from saltern.service import templates

_SCHEMA = Path(__file__).with_name("cloud.schema.yml")


def load(
    pillar: Mapping[str, Any], catalog: Catalog, releases: Iterable[str] | None = None
) -> Cloud:
    """Return the cloud of a compiled pillar; what is wrong is in its ``problems``.

    :param pillar: The pillar without the ``cloud`` key: ``saltern`` and a key a service.
    :param catalog: Every known service, see :func:`saltern.cloud.formulas.load`.
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
    return yamlfile.read(_SCHEMA)


def releases(images: str | Path) -> list[str]:
    """Return the OpenStack releases that can be built: those with a lock file."""
    return sorted(path.stem for path in Path(images).glob("locks/*.txt"))


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
    for key in ("limits", "history", "remediation", "bootstrap"):
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
