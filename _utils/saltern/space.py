"""Room on disks: what is too little of it, and what an operating system's word for it means to people."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from saltern.errors import SalternError

# MB below which a run does not begin: configuration with its older generations; caches, markers and jobs of Salt;
# layers, logs and volumes of containers.
LEAST_MB = {"etc": 5, "var": 50, "docker": 500}
# The codes that a file system gives whatever the file is, and what to do.
_REMEDIES = {
    errno.ENOSPC: "free some space there (df -h and df -i of that path)",
    errno.EDQUOT: "raise the quota, or free some space there",
    errno.EROFS: "look for faults of its disk (dmesg), then mount it writable again",
}
_IN_TEXT = re.compile(
    rf"\[Errno ({'|'.join(str(int(code)) for code in _REMEDIES)})\] [^:\n]*(?:: '([^'\n]+)')?"
)


class NoRoomError(SalternError):
    """Nothing can be written there, whatever the file is."""


@contextlib.contextmanager
def needed(path: str | Path) -> Iterator[None]:
    """Say in words that a file system is full, over its quota or read-only; other errors pass.

    :param path: What is written, where the operating system does not say it.
    :raises NoRoomError: Nothing can be written there.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _REMEDIES:
            raise
        raise NoRoomError(_sentence(error.errno, str(error.filename or path))) from error


def of_text(text: str) -> str:
    """Return in one line which file system refuses to be written, if a traceback tells of one; else nothing."""
    found = _IN_TEXT.search(text)
    return _sentence(int(found[1]), found[2] or "one of its file systems") if found else ""


def free(places: Mapping[str, str]) -> dict[str, tuple[str, float]]:
    """Return kind to path and the free bytes of the file system that holds it, or will.

    :param places: Key of :data:`LEAST_MB` to a path.
    """
    return {kind: (path, shutil.disk_usage(existing(path)).free) for kind, path in places.items()}


def existing(path: str) -> Path:
    """Return the path, or the nearest folder above that exists."""
    return next(one for one in (Path(path), *Path(path).parents) if one.exists())


def short(free: Mapping[str, tuple[str, float]]) -> list[str]:
    """Return a sentence for each place with too little room for a run.

    :param free: Key of :data:`LEAST_MB` to a path and the free bytes there.
    """
    return [
        f"{path}: {free_bytes / 1e6:.0f} MB are free, {LEAST_MB[kind]} are needed: "
        f"{_REMEDIES[errno.ENOSPC]}"
        for kind, (path, free_bytes) in free.items()
        if free_bytes < LEAST_MB[kind] * 1e6
    ]


def _sentence(code: int, path: str) -> str:
    return f"{path} cannot be written: {os.strerror(code)}; {_REMEDIES[code]}"
