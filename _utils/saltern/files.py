"""Files written so that a crash leaves the old one or the new one, and nobody reads a secret."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from saltern import space


def write(
    path: Path, text: str, mode: int = 0o600, uid: int | None = None, scratch: Path | None = None
) -> None:
    """Write a file at once; it has its mode and owner from the first moment it can be seen.

    :param uid: Owner, user and group; None leaves the process's own.
    :param scratch: Folder for the unfinished file, on the same file system; default: the file's.
    :raises NoRoomError: The file system is full or read-only; nothing is left behind.
    """
    temporary = (scratch or path.parent) / f".{path.name}.{os.getpid()}"
    with space.needed(path):
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
                if uid is not None:
                    os.fchown(descriptor, uid, uid)
                os.fchmod(descriptor, mode)
                file.flush()
                os.fsync(descriptor)
            temporary.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise


def digest(folder: Path) -> str:
    """Return 16 hex digits that name all in a folder: names, owners, modes and content; nothing without the folder."""
    if not folder.is_dir():
        return ""
    total = hashlib.sha256()
    for path in (folder, *sorted(folder.rglob("*"))):
        stat = path.lstat()
        total.update(
            f"{path.relative_to(folder)}\0{stat.st_mode}\0{stat.st_uid}\0{stat.st_gid}\0".encode()
        )
        if path.is_symlink():
            total.update(str(path.readlink()).encode())
        elif path.is_file():
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:16]


def stamp(folder: Path, pattern: str = "*") -> tuple[tuple[str, int, int, int], ...]:
    """Return what tells cheaply that something below a folder may have changed; nothing is read.

    :param pattern: Of the names of files that matter.
    """
    found = []
    for path in folder.rglob(pattern):
        with contextlib.suppress(FileNotFoundError):  # just now removed
            stat = path.lstat()
            found.append((str(path), stat.st_mode, stat.st_ctime_ns, stat.st_size))
    return tuple(sorted(found))
