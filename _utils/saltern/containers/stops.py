"""Containers that are down on purpose: a mark of each, so that nothing starts them but who means to."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from saltern import files

# Who has stopped a container: a command of Saltern, or somebody with Docker's own.
SALTERN, SOMEBODY = "saltern", "somebody"


@dataclass(frozen=True)
class Stop:
    """Why a container is down.

    :ivar by: :data:`SALTERN` or :data:`SOMEBODY`.
    :ivar since: Seconds since 1970.
    """

    by: str
    since: float


def folder(var: str | Path) -> Path:
    """Return where a host keeps the marks.

    :param var: Its folder for what it keeps.
    """
    return Path(var, "stopped")


def note(folder: Path, name: str, by: str, since: float | None = None) -> None:
    """Note that a container is down on purpose.

    :param name: By which Docker knows it.
    :param since: Seconds since 1970; None is now.
    """
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    stop = Stop(by, time.time() if since is None else since)
    files.write(folder / name, json.dumps(asdict(stop)) + "\n")


def forget(folder: Path, name: str) -> None:
    """Note that a container may run."""
    (folder / name).unlink(missing_ok=True)


def read(folder: Path) -> dict[str, Stop]:
    """Return the containers that are down on purpose, by the name by which Docker knows them."""
    found = {}
    # Files that are being written begin with a dot; a spoilt one is no reason to leave a container alone.
    for path in folder.glob("[!.]*"):
        with contextlib.suppress(OSError, ValueError, TypeError):
            found[path.name] = Stop(**json.loads(path.read_text()))
    return found


def forget_those(folder: Path, which: Callable[[str, Stop], bool]) -> None:
    """Drop the marks for which ``which`` says so, of a name and its mark."""
    for name, stop in read(folder).items():
        if which(name, stop):
            forget(folder, name)
