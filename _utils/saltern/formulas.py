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
    for root in roots:
        for path in sorted(Path(root).glob("*/service.yml")):
            catalog.setdefault(path.parent.name, _formula(path, path.stat().st_mtime_ns))
    return catalog


@functools.lru_cache(maxsize=512)
def _formula(path: Path, changed: int) -> Formula:
    """Return one service; ``changed`` makes an edited file a new cache entry."""
    try:
        data = yaml.load(path.read_text(), Loader=Loader)
    except yaml.YAMLError as error:
        raise SalternError(f"{path} is not YAML: {error}") from error
    wrong = problems.check(data, schema())
    if wrong:
        raise SalternError("\n".join(f"{path}: {problem}" for problem in wrong))
    return data


@functools.cache
def schema() -> dict[str, Any]:
    """Return the JSON Schema of ``service.yml``."""
    return yaml.safe_load(_SCHEMA.read_text())
