"""Files written so that a crash leaves the old one or the new one, and nobody reads a secret."""

from __future__ import annotations

import contextlib
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
