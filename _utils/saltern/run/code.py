"""The extension code that Salt hands to minions, and a digest to tell whether two hosts run the same."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

# What saltutil.sync_all brings to a minion (salt.utils.extmods), and which files of it.
KINDS = ("modules", "states", "utils", "renderers", "grains", "beacons", "engines", "matchers")
_NAMES = re.compile(r"\.(pyx?|so|zip)$")


def served(file_roots: list[str]) -> dict[str, Path]:
    """Return the extension files that a master serves; the first root that has one wins.

    :param file_roots: ``file_roots`` of the environment ``base``.
    :returns: Path below the minion's extension folder to the file.
    """
    files: dict[str, Path] = {}
    for root in file_roots:
        for kind in KINDS:
            for name, path in _below(Path(root) / f"_{kind}").items():
                files.setdefault(f"{kind}/{name}", path)
    return files


def kinds(file_roots: list[str]) -> list[str]:
    """Return the kinds of extension modules that a master serves, such as ``modules`` and ``utils``."""
    return sorted({name.partition("/")[0] for name in served(file_roots)})


def synced(extension_modules: str) -> dict[str, Path]:
    """Return the extension files of a minion, as :func:`served`."""
    return {
        f"{kind}/{name}": path
        for kind in KINDS
        for name, path in _below(Path(extension_modules) / kind).items()
    }


def digest(files: Mapping[str, Path]) -> str:
    """Return 16 hex digits that name the content of the files."""
    total = hashlib.sha256()
    for name in sorted(files):
        total.update(f"{name}\0".encode())
        total.update(hashlib.sha256(files[name].read_bytes()).digest())
    return total.hexdigest()[:16]


def _below(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    return {
        str(path.relative_to(folder)): path
        for path in folder.rglob("*")
        if _NAMES.search(path.name) and "__pycache__" not in path.parts and path.is_file()
    }
