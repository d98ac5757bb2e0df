"""Tasks that run once: the marker that says for what they ran."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from saltern.containers.fields import nearest
from saltern.containers.spec import Change
from saltern.errors import SalternError

# What can make a task run again.
REASONS = ("image", "config", "spec")


def facts(
    rerun_on: Iterable[str], image_id: str | None, config: str, spec_digest: str
) -> dict[str, str]:
    """Return what a marker holds: the value of each thing that makes the task run again.

    :raises SalternError: `rerun_on` names something unknown.
    """
    known = dict(zip(REASONS, (image_id or "", config, spec_digest), strict=True))
    for name in rerun_on:
        if name not in known:
            raise SalternError(
                f"rerun_on: found {name!r}, allowed: {', '.join(REASONS)}{nearest(name, REASONS)}"
            )
    return {name: known[name] for name in rerun_on}


def due(marker: Mapping[str, Any] | None, wanted: Mapping[str, str]) -> list[Change]:
    """Return why a task must run; nothing if it need not.

    :param marker: What `read` returned.
    :param wanted: What `facts` returned.
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
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(dict(wanted), sort_keys=True) + "\n")
    temporary.replace(path)
