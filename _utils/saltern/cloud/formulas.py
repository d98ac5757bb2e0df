"""The catalogue: every service that Saltern knows, read from ``formulas/<service>/service.yml``."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from saltern import problems, yamlfile
from saltern.cloud import implied
from saltern.containers.spec import Spec
from saltern.errors import SalternError
from saltern.problems import Problem

Formula = dict[str, Any]
Catalog = dict[str, Formula]

_SCHEMA = Path(__file__).with_name("service.schema.yml")
# Data that services have in common, for `like`; no service.
_COMMON = "_common"
_FILES = ("*/service.yml", "*/oslo.yml", f"{_COMMON}/*.yml")
# Words of version 0.1 to those of today.
_RENAMED = {
    "at_once": "serial",
    "beside": "colocated_with",
    "catalog": "apis and identity",
    "check": "tasks, with phase check,",
    "check_image": "tasks, with phase check and an image,",
    "once": "tasks, with phase deploy,",
    "reload": "tasks, with phase reload,",
    "upgrade": "tasks, with phases expand, migrate and contract,",
}


def load(roots: Iterable[str | Path]) -> Catalog:
    """Return every service found in ``roots``, complete; the first root that has a file wins.

    :param roots: Folders such as ``formulas/``, most important first.
    :returns: Service to its data. It is kept for later calls: nobody may change it.
    :raises SalternError: A ``service.yml`` is not YAML or breaks its schema.
    """
    found: dict[str, Path] = {}
    for root in map(Path, roots):
        for path in sorted(path for pattern in _FILES for path in root.glob(pattern)):
            found.setdefault(str(path.relative_to(root)), path)
    return _catalog(tuple((name, path, path.stat().st_mtime_ns) for name, path in found.items()))


# The time of each file is part of the key: an edited file makes a new catalogue.
@functools.lru_cache(maxsize=8)
def _catalog(files: tuple[tuple[str, Path, int], ...]) -> Catalog:
    paths = {name: path for name, path, _ in files}
    parsed = {name: _parsed(path, changed) for name, path, changed in files}
    catalog = {}
    for file, path in sorted(paths.items()):
        service, _, name = file.partition("/")
        if name == "service.yml" and service != _COMMON:
            formula = _laid_over(service, parsed[file], parsed, path)
            wrong = _renamed(formula) or problems.check(formula, schema())
            if wrong:
                raise SalternError("\n".join(f"{path}: {problem}" for problem in wrong))
            # What oslo.config knows of its options, see :mod:`saltern.service.oslo`; most have nothing.
            known = parsed.get(f"{service}/oslo.yml", {})
            catalog[service] = implied.complete(service, formula)
            catalog[service]["oslo"] = {**catalog[service].get("oslo", {}), **known}
    return implied.connect(catalog)


def _renamed(formula: Any) -> list[Problem]:
    """Return the words that have another name now."""
    found = _RENAMED.items() if isinstance(formula, Mapping) else ()
    remedy = "Write that, see docs/add-a-service.md"
    return [Problem(old, f"is called {new} now", remedy) for old, new in found if old in formula]


@functools.lru_cache(maxsize=512)
def _parsed(path: Path, changed: int) -> Any:
    try:
        return yamlfile.read(path)
    except yaml.YAMLError as error:
        raise SalternError(f"{path} is not YAML: {error}") from error


def _laid_over(service: str, data: Any, parsed: Mapping[str, Any], path: Path) -> Any:
    """Return a service's data laid over those that it is like, which may be like others."""
    name = data.get("like") if isinstance(data, Mapping) else None
    if name is None:
        return data
    known = {Path(file).stem: one for file, one in parsed.items() if file.startswith(_COMMON)}
    if name not in known:
        raise SalternError(f"{path}: {problems.unknown('like', name, known, 'file')}")
    base = implied.filled(known[name], {"service": service})
    over = {key: value for key, value in data.items() if key != "like"}
    return implied.merged(_laid_over(service, base, parsed, path), over)


@functools.cache
def schema() -> dict[str, Any]:
    """Return the JSON Schema of ``service.yml``."""
    found = yamlfile.read(_SCHEMA)
    of_a_container: dict[str, Any] = {
        one.name: {} for one in dataclasses.fields(Spec) if one.name != "name"
    }
    for name in ("container", "task"):
        found["$defs"][name]["properties"] = of_a_container | found["$defs"][name]["properties"]
    return found
