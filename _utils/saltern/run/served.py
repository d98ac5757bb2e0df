"""What a master serves to hosts besides code: the formulas, as far as plans depend on them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def digest(opts: Mapping[str, Any]) -> str:
    """Return hex digits that name all that a master serves in the environment ``base``.

    :param opts: ``__opts__`` of the master.
    :returns: Nothing if it also serves from elsewhere than folders: then nobody knows.
    """
    if list(opts.get("fileserver_backend", ["roots"])) != ["roots"]:
        return ""
    total = hashlib.sha256()
    for root in opts["file_roots"]["base"]:
        for name, path in below(root):
            total.update(f"{name}\0".encode())
            total.update(hashlib.sha256(path.read_bytes()).digest())
        total.update(b"\0")
    return total.hexdigest()


def plain(file_roots: list[str], service: str) -> bool:
    """Return whether a formula is ``#!service`` and nothing else, so that its states are known.

    :param file_roots: ``file_roots`` of the environment ``base``.
    """
    names = (f"{service}.sls", f"{service}/init.sls")
    found = [path for root in file_roots for name in names if (path := Path(root, name)).exists()]
    return bool(found) and all(path.read_text().strip() == "#!service" for path in found)


def below(root: str) -> Iterator[tuple[str, Path]]:
    """Yield the files of a root, also through links: name below it and path."""
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = sorted(one for one in folders if one != "__pycache__")
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_file():
                yield str(path.relative_to(root)), path
