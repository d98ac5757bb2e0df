"""Configuration generations of a host: render, compare, write and prune."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from salt.exceptions import CommandExecutionError

from saltern import files, masking, paths
from saltern.containers import revisions
from saltern.errors import SalternError
from saltern.host import facts
from saltern.host.adapter import salt_errors
from saltern.service import generation

__func_alias__ = {"list_": "list"}


def path(service: str) -> dict[str, str]:
    """Return where the wanted generation of a service lies, written or not.

    :param service: Name of the formula.
    :returns: ``digest`` (12 hex digits) and ``path`` of the folder.

    CLI Example:

    .. code-block:: bash

        salt aio generation.path keystone
    """
    digest = _wanted(service).digest
    return {"digest": digest, "path": str(_parent(service) / digest)}


def texts(service: str) -> str:
    """Return hex digits that name the wanted texts of a service's files, also of those that containers read anew.

    CLI Example:

    .. code-block:: bash

        salt aio generation.texts mariadb
    """
    return _wanted(service).texts_digest


def diff(service: str) -> dict[str, str]:
    """Return what the wanted generation changes against the one in use, secrets hidden.

    :returns: File name to unified diff; empty if the wanted generation is written and in use.

    CLI Example:

    .. code-block:: bash

        salt aio generation.diff keystone
    """
    wanted = _wanted(service)
    old = generation.read(_parent(service) / (current(service) or wanted.digest))
    return generation.diff(old, wanted, facts.cloud(__pillar__, __opts__)["secrets"])


def present(service: str) -> bool:
    """Return whether the wanted generation is written, with its owner and modes.

    CLI Example:

    .. code-block:: bash

        salt aio generation.present keystone
    """
    wanted = _wanted(service)
    folder = _parent(service) / wanted.digest
    there = generation.intact(folder, wanted)
    if there:
        _remember(service, folder)
    return there


def write(service: str) -> str:
    """Write the wanted generation of a service; containers take it when they are replaced.

    :returns: The folder.

    CLI Example:

    .. code-block:: bash

        salt aio generation.write keystone
    """
    with salt_errors(OSError):
        folder = generation.write(_parent(service), _wanted(service))
        _remember(service, folder)
        return str(folder)


def current(service: str) -> str | None:
    """Return the digest of the generation that the service's containers use, or the newest.

    CLI Example:

    .. code-block:: bash

        salt aio generation.current keystone
    """
    used = _used(service)
    found = list_(service)
    return next((digest for digest in used if digest in found), found[0] if found else None)


def list_(service: str) -> list[str]:
    """Return the digests of the generations on disk, newest first.

    CLI Example:

    .. code-block:: bash

        salt aio generation.list keystone
    """
    parent = _parent(service)
    folders = [one for one in parent.iterdir() if one.is_dir()] if parent.is_dir() else []
    folders = [one for one in folders if not one.name.startswith(".")]
    return [one.name for one in sorted(folders, key=lambda one: -one.stat().st_mtime)]


def prune(service: str, keep: int = 3) -> list[str]:
    """Remove generations that no container and no revision of the service uses, but the newest few.

    :param keep: How many of the newest to keep.
    :returns: Digests of what was removed.

    CLI Example:

    .. code-block:: bash

        salt aio generation.prune keystone
    """
    with salt_errors():
        path = revisions.file(paths.root("var", __opts__), service)
        used = {*_used(service), *revisions.generations(revisions.read(path))}
    return generation.prune(_parent(service), used, keep)


def _wanted(service: str) -> generation.Generation:
    """Return the wanted generation, rendered once a run."""
    rendered = __context__.setdefault("saltern.generations", {})
    if service not in rendered:
        try:
            names = facts.context(service, __pillar__, __opts__, __grains__)
            formula = facts.cloud(__pillar__, __opts__)["formulas"][service]
            rendered[service] = generation.render(service, formula, _source(service), names)
        except SalternError as error:
            hidden = __pillar__.get("cloud", {}).get("secrets", {})
            raise CommandExecutionError(masking.mask(str(error), hidden)) from error
    return rendered[service]


def _source(service: str) -> Callable[[str], str | None]:
    """Return a finder of templates: the service's own files and those common to all."""
    declared = facts.cloud(__pillar__, __opts__)["formulas"][service].get("config", {})
    templates_ = {one.get("template", name) for name, one in declared.items()}
    # Those of a service are named like the files that they become.
    own = {name for name in templates_ if not name.endswith(".j2")}

    def find(name: str) -> str | None:
        folders = [f"{service}/files", "_common"]
        # What is not a file of the service is most likely common; a miss is logged as an error.
        for folder in folders if name in own else reversed(folders):
            url = f"salt://{folder}/{name}"
            cached = __salt__["cp.cache_file"](url)
            if cached:
                return Path(cached).read_text()
        return None

    return find


def _remember(service: str, folder: Path) -> None:
    """Note what lies in a generation that is as wanted, for who must see a change without rendering anything."""
    note = generation.note(paths.root("var", __opts__), service)
    text = f"{folder.name} {files.digest(folder)}\n"
    if not note.is_file() or note.read_text() != text:
        note.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        files.write(note, text)


def _parent(service: str) -> Path:
    return Path(paths.root("etc", __opts__)) / "services" / service


def _used(service: str) -> list[str]:
    """Return the generations that containers of the service have, those that serve first."""
    found = [one for one in __salt__["container.snapshot"]() if one["service"] == service]
    return [one["config"] for one in sorted(found, key=lambda one: one["part"]) if one["config"]]
