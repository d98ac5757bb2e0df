"""Which images there are: the folders below `images/`, their data, and the tables beside them."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saltern import yamlfile
from saltern.errors import SalternError
from saltern.images import releases
from saltern.images.options import Options
from saltern.problems import Problem, check, unknown

DOCKERFILE = "Dockerfile.j2"
# Instead of a Dockerfile: a script that makes a root file system, imported as one layer.
BOOTSTRAP = "bootstrap.j2"
DATA = "image.yml"
# The folder of lock files, a file a release; an image may have one for what it alone needs.
LOCKS = "locks"

_CHOICE = {
    "type": ["array", "object"],
    "description": "A list, or lists by install type, family, distribution",
}
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "summary": {"type": "string", "description": "What the image is for, in a line"},
        "user": {
            "type": ["string", "object"],
            "description": "A name of users.yml, or {name, uid, home}",
        },
        "root": {"type": "string", "description": "Why it must run as root, if it must"},
        "project": {"type": "string", "description": "PyPI name of the project of source installs"},
        "python": {
            "type": "array",
            "items": {"type": "string"},
            "description": "More Python packages",
        },
        "packages": _CHOICE,
        "build_packages": _CHOICE,
        "repositories": _CHOICE,
        "internal": {
            "type": "boolean",
            "description": "Other images are made from it; it is not deployed",
        },
    },
}


@dataclass(frozen=True)
class Folder:
    """One image as its authors wrote it: files by name, each from the first folder that has it."""

    name: str
    files: Mapping[str, Path]
    data: Mapping[str, Any]

    @property
    def template(self) -> Path:
        """The Dockerfile template or the bootstrap script."""
        return self.files.get(DOCKERFILE) or self.files[BOOTSTRAP]

    @property
    def bootstrap(self) -> bool:
        """Whether a script makes it, not Docker."""
        return DOCKERFILE not in self.files

    def context(self) -> dict[str, Path]:
        """The files a Dockerfile can copy."""
        return {
            name: path
            for name, path in self.files.items()
            if name not in (DOCKERFILE, BOOTSTRAP, DATA) and not name.startswith(f"{LOCKS}/")
        }


def roots(root: Path, options: Options) -> list[Path]:
    """Return the folders that hold images, the operator's first."""
    return [Path(options.overrides) / "images", Path(root)]


def times(root: Path, options: Options) -> dict[str, int]:
    """Return when each file of a catalogue was last changed: while that is the same, the same is rendered."""
    found = {}
    for top in roots(root, options):
        for folder, _, names in os.walk(top):
            for path in [f"{folder}/{name}" for name in names]:
                # A link may lead nowhere.
                found[path] = os.lstat(path).st_mtime_ns
    return found


class Catalog:
    """All image folders of a checkout, overridden file by file by the operator's.

    :param root: The folder ``images`` of the checkout.
    :param options: Their ``overrides`` folder is searched first, below ``images/``.
    :raises SalternError: A folder that is not an image, or a wrong ``image.yml``.
    """

    def __init__(self, root: Path, options: Options) -> None:
        self.root = Path(root)
        if not (self.root / "distros.yml").is_file():
            raise SalternError(
                f"{self.root} holds no images. Name the folder `images` of the checkout with root="
            )
        self.roots = roots(root, options)
        self.distros: dict[str, dict[str, Any]] = self._table("distros.yml")
        self.users: dict[str, dict[str, Any]] = self._table("users.yml")
        known = releases.read(self.file(releases.FILE))
        self.codenames = {release: one.codename for release, one in known.items()}
        self._check_release(options)

    @functools.cached_property
    def folders(self) -> dict[str, Folder]:
        """Image name to folder, sorted."""
        names = {
            path.name
            for root in self.roots
            if root.is_dir()
            for path in root.iterdir()
            if path.is_dir() and any((path / one).is_file() for one in (DOCKERFILE, BOOTSTRAP))
        }
        return {name: self._folder(name) for name in sorted(names)}

    def folder(self, name: str) -> Folder:
        """Return one folder.

        :raises SalternError: There is none; names the nearest.
        """
        if name not in self.folders:
            raise SalternError(str(unknown("images", name, self.folders, "image")))
        return self.folders[name]

    def file(self, name: str) -> Path:
        """Return a file of ``images/``, the operator's if there is one."""
        return next(
            (root / name for root in self.roots if (root / name).is_file()), self.root / name
        )

    def user(self, wanted: str | Mapping[str, Any]) -> dict[str, Any]:
        """Return name, uid and home of a user.

        :param wanted: A name of ``users.yml``, or a mapping that gives its own numbers.
        """
        entry = dict(wanted) if isinstance(wanted, Mapping) else {"name": wanted}
        name = str(entry.get("name"))
        entry = {"name": name, "home": f"/var/lib/{name}", **self.users.get(name, {}), **entry}
        if "uid" not in entry:
            raise SalternError(str(unknown("images/users.yml", name, self.users, "user")))
        return entry

    def releases(self) -> list[str]:
        """Return the releases that have a lock file."""
        return sorted({path.stem for root in self.roots for path in root.glob(f"{LOCKS}/*.txt")})

    def _check_release(self, options: Options) -> None:
        releases = self.releases()
        if options.release not in releases:
            raise SalternError(
                str(unknown("saltern:release", options.release, releases, "release"))
            )

    def _table(self, name: str) -> dict[str, Any]:
        return yamlfile.read(self.file(name)) or {}

    def _folder(self, name: str) -> Folder:
        files: dict[str, Path] = {}
        for root in reversed(self.roots):
            top = root / name
            for path in sorted(top.rglob("*")) if top.is_dir() else ():
                if path.is_file() or path.is_symlink():
                    files[str(path.relative_to(top))] = path
        data = yamlfile.read(files[DATA]) or {} if DATA in files else {}
        found: list[Problem] = check(data, _SCHEMA, f"images/{name}/{DATA}")
        if found:
            raise SalternError("\n".join(map(str, found)))
        return Folder(name, files, data)


def choose(value: Any, install_type: str, family: str, base: str) -> list[str]:
    """Return the list meant for an installation from a list or nested lists by choice.

    Keys are looked up in the order distribution, family, install type; nesting is free:
    ``{source: {debian: [a], rhel: [b]}, binary: [c]}``.
    """
    while isinstance(value, Mapping):
        value = next((value[key] for key in (base, family, install_type) if key in value), [])
    return list(value or [])
