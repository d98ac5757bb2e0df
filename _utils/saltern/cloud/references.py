"""What a service.yml names elsewhere must be there: services, roles, secrets, ports, containers."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from saltern import problems
from saltern.cloud import secrets
from saltern.cloud.formulas import Catalog
from saltern.problems import Problem

_TEMPLATE = re.compile(r"{{.*?}}")
# Where it is named, the names, what there is, and of which kind.
_Reference = tuple[str, Iterable[str], Collection[str], str]


def problems_of(catalog: Catalog, roles: Collection[str]) -> list[Problem]:
    """Return every name in a ``service.yml`` that means nothing, with the nearest that does.

    :param catalog: Every known service.
    :param roles: Roles that hosts can have.
    """
    known_secrets = [f"{service}.{name}" for service, name, _ in secrets.declared(catalog)]
    known_options = [
        f"{service}.{option}"
        for service, one in catalog.items()
        for option in one.get("options", {})
    ]
    every = {name for one in catalog.values() for name in one.get("containers", {})}
    wrong = []
    for service, formula in sorted(catalog.items()):
        enabled = formula.get("enabled")
        used = formula.get("uses_secrets", [])
        found: list[_Reference] = [
            ("roles", formula.get("roles", []), roles, "role"),
            ("requires", formula.get("requires", []), catalog, "service"),
            ("after", formula.get("after", []), catalog, "service"),
            ("names", _named(formula, "service"), [*catalog, "*"], "service"),
            ("names", _named(formula, "role"), roles, "role"),
            ("colocated_with", _one(formula, "colocated_with"), catalog, "service"),
            ("enabled", enabled if isinstance(enabled, Mapping) else [], known_options, "option"),
            ("uses_secrets", _meaningless(used, known_secrets), known_secrets, "secret"),
            *_own(formula, every),
        ]
        wrong += [
            problems.unknown(f"formulas/{service}/service.yml:{key}", name, known, kind)
            for key, names, known, kind in found
            for name in names
            if name not in known
        ]
    return wrong


def _one(data: Mapping[str, Any], key: str) -> list[str]:
    return [data[key]] if key in data else []


def _own(formula: Mapping[str, Any], every: Collection[str]) -> Iterator[_Reference]:
    """Yield what a service names of its own; of another it may name containers: tasks run in them."""
    ports, containers = formula.get("ports", {}), formula.get("containers", {})
    own = formula.get("secrets", {})
    rings = [one["secret"] for one in formula.get("keyrings", {}).values()]
    yield "keyrings", rings, own, "secret"
    yield (
        "containers",
        [one["balanced"] for one in containers.values() if "balanced" in one],
        ports,
        "port",
    )
    yield "clusters", formula.get("clusters", {}), containers, "container"
    for task in formula.get("tasks", {}).values():
        yield "tasks", _one(task, "container"), every, "container"
    mounted = [mount for one in containers.values() for mount in one.get("volumes", [])]
    yield "volumes", _volumes(mounted), formula.get("volumes", {}), "volume"
    identity = formula.get("identity", {})
    entries, users = identity.get("services", {}).values(), identity.get("users", {}).values()
    yield "identity", [one["port"] for one in entries], ports, "port"
    yield "identity", [one["password"] for one in users if "password" in one], own, "secret"


def _volumes(mounted: Iterable[str]) -> Iterator[str]:
    """Yield the named volumes among mounts, and the templates that give the names of others."""
    for mount in mounted:
        templates = _TEMPLATE.findall(mount)
        source = mount.partition(":")[0]
        if templates and "}}/" not in mount:
            yield from templates
        elif "/" not in source:
            yield source


def _named(formula: Mapping[str, Any], kind: str) -> list[str]:
    """Return the services or roles whose hosts a service names."""
    names = [
        one if isinstance(one, Mapping) else {"service": one} for one in formula.get("names", [])
    ]
    return [one[kind] for one in names if kind in one]


def _meaningless(patterns: Iterable[str], known: Iterable[str]) -> list[str]:
    names = list(known)
    return [one for one in patterns if not any(fnmatchcase(name, one) for name in names)]
