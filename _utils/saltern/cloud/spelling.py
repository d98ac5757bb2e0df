"""Values that YAML reads as something else than what is in the pillar: 0750, 1_000, 12:30, 1500.0, yes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from saltern.cloud.formulas import Catalog
from saltern.problems import Problem

# Below these the operator writes what other programs read.
_VERBATIM = ("config", "containers")


def problems_of(
    read: Mapping[str, Any], written: Mapping[str, Any], catalog: Catalog
) -> list[Problem]:
    """Return the values of a pillar whose text would change.

    :param read: The pillar.
    :param written: The same with every plain value as its text, see the renderer ``yaml_text``.
    :param catalog: Every known service.
    """
    return [
        problem
        for name in read
        if name in written and (name == "saltern" or name in catalog)
        for problem in _changed(name, read[name], written[name])
    ]


def _changed(key: str, read: Any, written: Any, verbatim: bool = False) -> Iterator[Problem]:
    if isinstance(read, Mapping) and isinstance(written, Mapping):
        # Names change, too, so that only their order tells which is which.
        pairs = list(zip(read.items(), written.items(), strict=False))
        for (name, value), (text, below) in pairs if len(read) == len(written) else []:
            inside = verbatim or (":" not in key and name in _VERBATIM)
            yield from _changed(f"{key}:{text}", value, below, inside)
    elif isinstance(read, list) and isinstance(written, list) and len(read) == len(written):
        for number, (value, below) in enumerate(zip(read, written, strict=True)):
            yield from _changed(f"{key}:{number}", value, below, verbatim)
    elif isinstance(written, str) and _differs(read, written, verbatim):
        shown = str(read).lower() if isinstance(read, bool) else read
        text = f"'{written}' in quotes, or " if verbatim else ""
        yield Problem(key, f"{written} is {shown} to YAML", f"Write {text}{shown}")


def _differs(read: Any, written: str, verbatim: bool) -> bool:
    if isinstance(read, bool):
        return verbatim and written not in ("true", "false")
    # Options have types: there 4.0 is as good as 4, but who writes 0750 may mean either number.
    numbers = (int, float) if verbatim else int
    return isinstance(read, numbers) and str(read) != written
