"""One run at a time for each container of a host."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from saltern import space
from saltern.errors import SalternError


@contextmanager
def locked(directory: Path | None, name: str) -> Iterator[None]:
    """Hold the lock of a container; a killed process gives it back.

    :param directory: Where lock files are; None locks nothing.
    :raises SalternError: Another process holds it.
    """
    if directory is None:
        yield
        return
    path = directory / f"{name}.lock"
    with space.needed(path):
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        file = path.open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SalternError(
                f"another run is changing {name} just now: wait for it (salt-call saltutil.running)"
            ) from None
        try:
            yield
        finally:
            # Says until when: see `was_held`.
            os.utime(file.fileno())


def was_held(directory: Path, name: str, when: float) -> bool:
    """Return whether a run of ours holds the lock of a container, or has held it at a time or since.

    Looked at only: who tries a lock takes it from others for a moment.

    :param when: Seconds since 1970.
    """
    try:
        stat = (directory / f"{name}.lock").stat()
    except FileNotFoundError:
        return False
    return stat.st_mtime >= when or f":{stat.st_ino} " in Path("/proc/locks").read_text()
