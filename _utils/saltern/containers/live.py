"""The configuration of a container that can read a new one while it runs: a copy of a generation.

Generations never change. What is mounted in such a container is a folder of its own, which holds the
files of one generation, and its digest once the container has read them.
"""

from __future__ import annotations

import os
from pathlib import Path

from saltern import files

_READ = ".read"


def folder(generation: Path, container: str, old: str) -> Path:
    """Return the folder of a new container, one of two: ``live/SERVICE/CONTAINER-a`` or ``-b``.

    :param generation: Folder of its configuration, ``services/SERVICE/DIGEST``.
    :param container: Its name.
    :param old: The folder of the one that it replaces, to which a failure goes back; empty if it has none.
    """
    slot = "b" if old.endswith("-a") else "a"
    return generation.parents[2] / "live" / generation.parent.name / f"{container}-{slot}"


def digest(live: Path) -> str:
    """Return the digest of the generation that the container has read; nothing if nobody knows."""
    try:
        return (live / _READ).read_text()
    except OSError:
        return ""


def confirm(live: Path, digest: str) -> None:
    """Note that the container has read what its folder holds."""
    files.write(live / _READ, digest)


def fill(live: Path, generation: Path) -> None:
    """Put the files of a generation in place of those there are, each at once.

    :raises NoRoomError: The file system is full or read-only.
    """
    live.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    wanted = sorted(generation.rglob("*"))
    for one in [generation, *wanted]:
        target, stat = live / one.relative_to(generation), one.lstat()
        if one.is_symlink():
            target.unlink(missing_ok=True)
            target.symlink_to(one.readlink())
        elif one.is_dir():
            target.mkdir(mode=0o750, exist_ok=True)
            os.chown(target, stat.st_uid, stat.st_gid)
            target.chmod(stat.st_mode & 0o7777)
        else:
            files.write(target, one.read_text(), stat.st_mode & 0o7777, stat.st_uid)
    kept = {live / one.relative_to(generation) for one in wanted} | {live / _READ}
    for one in sorted(set(live.rglob("*")) - kept, reverse=True):
        one.rmdir() if one.is_dir() and not one.is_symlink() else one.unlink()
