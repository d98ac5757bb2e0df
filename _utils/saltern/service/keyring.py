"""Key rings on disk: numbered key files that a service rereads, so that rotation stops nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from saltern import files


def compare(folder: str | Path, ring: Mapping[int, str], uid: int) -> dict[str, str]:
    """Return what differs, file name to ``new``, ``changed`` or ``removed``; never a key."""
    folder = Path(folder)
    present = {path.name for path in folder.glob("*")} if folder.is_dir() else set()
    wanted = {str(number): key for number, key in ring.items()}
    changes = dict.fromkeys(present - wanted.keys(), "removed")
    for name, key in wanted.items():
        path = folder / name
        if name not in present:
            changes[name] = "new"
        elif path.read_text() != key or path.stat().st_uid != uid:
            changes[name] = "changed"
    return changes


def write(folder: str | Path, ring: Mapping[int, str], uid: int) -> None:
    """Write a ring of keys as files ``0``, ``1``, ... with mode 0600.

    The new primary (highest number) comes first and the staged key 0 last, so that a reader finds
    at every moment a key for each token that is about.
    """
    folder = Path(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chown(folder, uid, uid)
    for number in sorted(ring, reverse=True):
        # Keystone opens whatever lies in the folder: unfinished files must not.
        files.write(folder / str(number), ring[number], 0o600, uid, scratch=folder.parent)
    for path in folder.glob("*"):
        if path.name not in {str(number) for number in ring}:
            path.unlink()
