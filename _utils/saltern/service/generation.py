"""Generations: all configuration files of a service as one immutable, content-addressed folder."""

from __future__ import annotations

import difflib
import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saltern import files, masking, space
from saltern.errors import SalternError
from saltern.service import merge, templates

_HEADER = "# Written by Saltern; changes here are lost. Make them in the pillar: {service}:config:{name}\n"
# Part of digests in its place: other words in the header must replace no container.
_DIGESTED = "# Written by Saltern from formulas/{service}/files/{name}; changes here are lost.\n"
_COMMENTED = ("oslo", "uwsgi", "ini", "properties", "yaml")


@dataclass(frozen=True)
class File:
    """One file of a generation.

    :ivar text: What it holds below its header.
    :ivar mode: Such as 0o640.
    :ivar link: Instead, a path in the image.
    :ivar reloadable: Running containers take a new text by themselves: it makes no new generation.
    """

    text: str
    mode: int
    reloadable: bool = False
    header: str = ""
    link: str = ""

    @property
    def content(self) -> str:
        """Return what the file holds; of one that is the image's, where it is there."""
        return f"-> {self.link}" if self.link else self.header + self.text


@dataclass(frozen=True)
class Generation:
    """The files of a service by name, and the uid that owns them."""

    service: str
    files: Mapping[str, File]
    uid: int

    @property
    def digest(self) -> str:
        """Return 12 hex digits that name this content; of a reloadable one, its name and mode."""
        digest = hashlib.sha256(str(self.uid).encode())
        for name, file in sorted(self.files.items()):
            digest.update(f"\0{name}\0{file.link or f'{file.mode:o}'}\0".encode())
            header = _DIGESTED.format(service=self.service, name=name) if file.header else ""
            digest.update(b"" if file.reloadable else f"{header}{file.text}".encode())
        return digest.hexdigest()[:12]

    @property
    def texts_digest(self) -> str:
        """Return 12 hex digits that name all texts, also those of reloadable files."""
        digest = hashlib.sha256()
        for name, file in sorted(self.files.items()):
            digest.update(f"\0{name}\0{file.content}".encode())
        return digest.hexdigest()[:12]


def render(
    service: str, formula: Mapping[str, Any], source: templates.Source, context: Mapping[str, Any]
) -> Generation:
    """Return the generation that a host's service should have; nothing is written.

    :param formula: ``cloud:formulas:<service>`` of the pillar.
    :param source: Finds a template by its name below ``files/``.
    :raises SalternError: A template fails or an override does not fit its file.
    """
    rendered = {}
    for name, declared in formula.get("config", {}).items():
        override = formula.get("overrides", {}).get(name)
        if declared.get("optional") and override is None:
            continue
        if "link" in declared:
            rendered[name] = File("", 0o777, link=declared["link"])
            continue
        form = declared["format"]
        template = declared.get("template", name)
        optional = declared.get("optional")
        names = {**context, "file": name}
        text = "" if optional else templates.render(template, source, names, form)
        text = merge.apply(
            text, form, override, f"{service}:config:{name}", formula.get("multi", {})
        )
        mode = int(declared.get("mode", "0640"), 8)
        header = _HEADER.format(service=service, name=name) if form in _COMMENTED else ""
        rendered[name] = File(text, mode, declared.get("reloadable", False), header)
    return Generation(service, rendered, formula["uid"])


def diff(old: Mapping[str, str], new: Generation, hidden: Any) -> dict[str, str]:
    """Return a unified diff a changed file, with every secret shown as ``***``.

    :param old: Name to text of the files there are, see :func:`read`.
    :param hidden: Nested mapping of the secrets to hide.
    """
    changes = {}
    for name in sorted({*old, *new.files}):
        before = old.get(name, "")
        after = new.files[name].content if name in new.files else ""
        if before == after:
            continue
        lines = difflib.unified_diff(
            masking.mask(before, hidden).splitlines(),
            masking.mask(after, hidden).splitlines(),
            name if name in old else "nothing",
            name if name in new.files else "nothing",
            n=1,
            lineterm="",
        )
        changes[name] = "\n".join(lines) or "a secret changed"
    return changes


def read(path: str | Path) -> dict[str, str]:
    """Return the files of a generation on disk, name to text; empty if there is none."""
    root = Path(path)
    found = (one for one in sorted(root.rglob("*")) if one.is_symlink() or one.is_file())
    return {str(one.relative_to(root)): _text(one) for one in found}


def _text(path: Path) -> str:
    """Return what a file holds; of one that is the image's, where it is there."""
    return f"-> {path.readlink()}" if path.is_symlink() else path.read_text(errors="replace")


def intact(path: str | Path, wanted: Generation) -> bool:
    """Return whether a generation on disk holds what it should, with its owner and modes."""
    root = Path(path)
    try:
        for name, file in wanted.files.items():
            stat = (root / name).lstat()
            if not file.link and (stat.st_mode & 0o7777, stat.st_uid) != (file.mode, wanted.uid):
                return False
        return root.stat().st_mode & 0o7777 == 0o750 and read(root) == {
            name: file.content for name, file in wanted.files.items()
        }
    except FileNotFoundError:
        return False


def write(parent: str | Path, wanted: Generation) -> Path:
    """Write a generation below ``parent`` and return its folder; a crash leaves none or all of it.

    A folder that somebody changed by hand, or whose reloadable files are to change, is put right file by
    file, since containers may have it mounted. The folder's time says when it was last wanted.

    :raises SalternError: A file's name leaves the folder, or the file system is full or read-only.
    """
    parent = Path(parent)
    with space.needed(parent):
        return _write(parent, wanted)


def _write(parent: Path, wanted: Generation) -> Path:
    parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    target = parent / wanted.digest
    if target.is_dir():
        for name in read(target).keys() - wanted.files.keys():
            (target / name).unlink()
        if not intact(target, wanted):
            _fill(target, wanted)
        os.utime(target)
        return target
    temporary = parent / f".{wanted.digest}.{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(mode=0o750)
        _fill(temporary, wanted)
        temporary.rename(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return target


def note(var: str, service: str) -> Path:
    """Return where a host notes the newest generation of a service and the digest of what lies in it.

    :param var: The host's folder for what it keeps.
    """
    return Path(var, "generations", service)


def as_noted(note: Path, parent: Path, digest: str) -> bool | None:
    """Return whether a generation on disk is as it was written; None if nobody knows.

    :param note: See :func:`note`.
    :param parent: Folder of the service's generations.
    :param digest: Which of them.
    """
    folder = parent / digest
    if not folder.is_dir():
        return False
    known = note.read_text().split() if note.is_file() else []
    return files.digest(folder) == known[1] if known[:1] == [digest] else None


def prune(parent: str | Path, used: set[str], keep: int = 3) -> list[str]:
    """Remove all generations but those in use and the newest ``keep``; return their digests."""
    parent = Path(parent)
    if not parent.is_dir():
        return []
    found = sorted(
        (one for one in parent.iterdir() if one.is_dir()),
        key=lambda one: one.stat().st_mtime,
        reverse=True,
    )
    removed = [one for one in found[keep:] if one.name not in used]
    for one in removed:
        shutil.rmtree(one)
    return [one.name for one in removed]


def _fill(folder: Path, wanted: Generation) -> None:
    os.chown(folder, wanted.uid, wanted.uid)
    folder.chmod(0o750)
    for name, file in wanted.files.items():
        path = folder / name
        if ".." in Path(name).parts or (path.is_absolute() and folder not in path.parents):
            raise SalternError(f"{wanted.service}: config file {name!r} leaves its folder")
        for parent in reversed(Path(name).parents[:-1]):
            (folder / parent).mkdir(mode=0o750, exist_ok=True)
            os.chown(folder / parent, wanted.uid, wanted.uid)
        if file.link:
            path.unlink(missing_ok=True)
            path.symlink_to(file.link)
        else:
            files.write(path, file.content, file.mode, wanted.uid)
