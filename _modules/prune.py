"""Old configuration and images of this host: what nobody needs any more, and its removal."""

from __future__ import annotations

import contextlib
import functools
import shutil
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from saltern import paths
from saltern.containers import revisions
from saltern.containers.engine import ConflictError, Engine, NotFoundError
from saltern.host import facts
from saltern.host.adapter import salt_errors
from saltern.images.names import image_name, is_image_name
from saltern.run import prune

# A folder that is still being written is younger.
_UNFINISHED_SECONDS = 3600


def unneeded(digests: dict[str, str] | None = None) -> dict[str, Any]:
    """Return what :py:func:`remove` would remove.

    :param digests: Full image names to the digests that the registry gave last: those of wanted images are kept.
    :returns: ``generations``: service to digests; ``images``: names, ids of images that have none;
        ``bytes``: room that this would give at least.
    :raises CommandExecutionError: Docker does not answer, or the pillar is wrong.

    CLI Example:

    .. code-block:: bash

        salt '*' prune.unneeded
    """
    with salt_errors(ValueError):
        folders, images = _found(Engine(), digests or {})
        bytes_ = sum(one.bytes for one in images) + sum(map(_bytes, folders))
        return _answer(folders, [name for one in images for name in one.names], bytes_)


def remove(digests: dict[str, str] | None = None) -> dict[str, Any]:
    """Remove configuration generations and images that no container and no way back needs.

    Of images only those go whose names are this cloud's. What Docker still needs for another image stays.

    :param digests: As for :py:func:`unneeded`.
    :returns: As :py:func:`unneeded`, of what is gone.
    :raises CommandExecutionError: Docker does not answer, or the pillar is wrong.

    CLI Example:

    .. code-block:: bash

        salt '*' prune.remove
    """
    with salt_errors(ValueError):
        engine = Engine()
        folders, images = _found(engine, digests or {})
        freed = sum(map(_bytes, folders))
        for folder in folders:
            shutil.rmtree(folder)
        gone = []
        before = engine.image_bytes() if images else 0
        for name in (name for one in images for name in one.names):
            with contextlib.suppress(ConflictError, NotFoundError):
                engine.remove_image(name)
                gone.append(name)
        freed += before - engine.image_bytes() if images else 0
        return _answer(folders, gone, max(freed, 0))


def _found(engine: Engine, digests: Mapping[str, str]) -> tuple[list[Path], list[prune.Image]]:
    """Return the folders of generations and the images that are not needed."""
    cloud = facts.fresh_cloud(__pillar__, __opts__, __grains__, __context__)
    wanted = functools.partial(is_image_name, cloud)
    needed = {*_of_ways_back(), *prune.exact(digests, wanted)}
    used: dict[str, set[str]] = {}
    for one in __salt__["container.snapshot"]():
        used.setdefault(one["service"], set()).add(one["config"])
    folders = [
        folder
        for parent in sorted(_below(Path(paths.root("etc", __opts__), "services")))
        for folder in _folders(parent, used.get(parent.name, set()), needed)
    ]
    repository = image_name(cloud, "").rpartition(":")[0]
    listed, containers = engine.image_usage()
    return folders, prune.images(listed, containers, repository, wanted, needed)


def _folders(parent: Path, used: Collection[str], needed: Collection[str]) -> list[Path]:
    there = {one: one.stat().st_mtime for one in _below(parent)}
    written = {one.name: since for one, since in there.items() if not one.name.startswith(".")}
    # What a process has left that was killed while it wrote.
    left = [
        one
        for one, since in there.items()
        if one.name not in written and since < time.time() - _UNFINISHED_SECONDS
    ]
    return [*(parent / one for one in prune.generations(written, used, needed)), *left]


def _of_ways_back() -> Iterator[str]:
    """Yield the images and generations of what each service runs and of what it ran before."""
    for path in Path(paths.root("var", __opts__), "revisions").glob("*.json"):
        last = revisions.read(path)[-2:]
        yield from revisions.images(last)
        yield from revisions.generations(last)


def _below(parent: Path) -> list[Path]:
    return [one for one in parent.iterdir() if one.is_dir()] if parent.is_dir() else []


def _bytes(folder: Path) -> int:
    return sum(one.lstat().st_size for one in folder.rglob("*") if one.is_file())


def _answer(folders: Iterable[Path], images: list[str], bytes_: int) -> dict[str, Any]:
    generations: dict[str, list[str]] = {}
    for one in folders:
        generations.setdefault(one.parent.name, []).append(one.name)
    return {"generations": generations, "images": images, "bytes": bytes_}
