"""The catalogue: every service that Saltern knows, read from ``formulas/<service>/service.yml``."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from saltern import problems
from saltern.errors import SalternError
from saltern.images.options import Loader

Formula = dict[str, Any]
Catalog = dict[str, Formula]

_SCHEMA = Path(__file__).with_name("service.schema.yml")


def load(roots: Iterable[str | Path]) -> Catalog:
    """Return every service found in ``roots``; the first root that has a service wins.

    :param roots: Folders such as ``formulas/``, most important first.
    :raises SalternError: A ``service.yml`` is not YAML or breaks its schema.
    """
    catalog: Catalog = {}
    places = [Path(root) for root in roots]
    for root in places:
        for path in sorted(root.glob("*/service.yml")):
            name = path.parent.name
            if name not in catalog:
                catalog[name] = _formula(path, path.stat().st_mtime_ns) | _oslo(places, name)
    return catalog


def _oslo(roots: Iterable[Path], service: str) -> Formula:
    """Return what oslo.config knows of a service's options, see :mod:`saltern.oslo`; most have nothing."""
    for path in (root / service / "oslo.yml" for root in roots):
        if path.is_file():
            return {"oslo": _parsed(path, path.stat().st_mtime_ns)}
    return {}


@functools.lru_cache(maxsize=512)
def _formula(path: Path, changed: int) -> Formula:
    """Return one service; ``changed`` makes an edited file a new cache entry."""
    data = _parsed(path, changed)
    wrong = problems.check(data, schema())
    if wrong:
        raise SalternError("\n".join(f"{path}: {problem}" for problem in wrong))
    return data


@functools.lru_cache(maxsize=512)
def _parsed(path: Path, changed: int) -> Any:
    try:
        return yaml.load(path.read_text(), Loader=Loader)
    except yaml.YAMLError as error:
        raise SalternError(f"{path} is not YAML: {error}") from error


@functools.cache
def schema() -> dict[str, Any]:
    """Return the JSON Schema of ``service.yml``."""
    return yaml.safe_load(_SCHEMA.read_text())
