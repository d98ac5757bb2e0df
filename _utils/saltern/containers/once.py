"""Tasks that run once: the marker that says for what they ran."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from saltern import files, space
from saltern.containers.fields import nearest
from saltern.containers.spec import Change
from saltern.errors import SalternError


def chosen(facts: Mapping[str, str], rerun_on: Iterable[str]) -> dict[str, str]:
    """Return what a marker holds: those of `facts` that make the task run again.

    :raises SalternError: `rerun_on` names something else.
    """
    for name in rerun_on:
        if name not in facts:
            known = ", ".join(facts)
            raise SalternError(f"rerun_on: found {name!r}, allowed: {known}{nearest(name, facts)}")
    return {name: facts[name] for name in rerun_on}


def due(marker: Mapping[str, Any] | None, wanted: Mapping[str, str]) -> list[Change]:
    """Return why a task must run; nothing if it need not.

    :param marker: What `read` returned.
    :param wanted: What `chosen` returned.
    """
    if marker is None:
        return [Change("ran", None, "for the first time")]
    return [
        Change(name, marker.get(name), value)
        for name, value in wanted.items()
        if marker.get(name) != value
    ]


def read(path: Path) -> dict[str, Any] | None:
    """Return a task's marker, None if it never ran to its end."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        raise SalternError(f"{path} is not JSON: remove it, and the task runs again") from None


def write(path: Path, wanted: Mapping[str, str]) -> None:
    """Write a task's marker so that a crash leaves the old one or the new one."""
    with space.needed(path.parent):
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    files.write(path, json.dumps(dict(wanted), sort_keys=True) + "\n", 0o644)
