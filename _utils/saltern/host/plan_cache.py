"""A host's last plan without changes: while all that it depended on is the same, so is the answer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgpack

from saltern import files


def digest(inputs: Mapping[str, Any], folders: Iterable[Path]) -> str:
    """Return hex digits that name everything a plan depends on.

    :param inputs: Data: pillar, code, what is served, what runs.
    :param folders: What lies on the disk: names, owners, modes and content of all files, and which
        folder is the newest.
    """
    # Not repr: that of a minion's pillar hides its values, so that no change of one would show.
    total = hashlib.sha256(msgpack.packb(inputs, default=repr))
    for folder in folders:
        for line in _listed(folder):
            total.update(f"{line}\0".encode())
    return total.hexdigest()


def same(marker: Path, wanted: str) -> bool:
    """Return whether the last plan without changes depended on just this."""
    return marker.is_file() and marker.read_text() == wanted


def remember(marker: Path, digest_: str) -> None:
    """Note what a plan without changes depended on."""
    marker.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    files.write(marker, digest_, 0o600)


def _listed(folder: Path) -> Iterator[str]:
    yield f"{folder} {folder.is_dir()}"
    for path in sorted(folder.rglob("*")):
        stat = path.lstat()
        what = f"{path} {stat.st_mode} {stat.st_uid} {stat.st_gid}"
        if path.is_file():
            yield f"{what} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        else:
            yield f"{what} {stat.st_mtime_ns}"
