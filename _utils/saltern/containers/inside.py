"""Where on the host a file lies that a container sees in one of its volumes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path


def on_host(path: str, mounted: Iterable[str], volumes: Mapping[str, str]) -> Path | None:
    """Return the path on the host, None if no volume holds it or its volume does not exist yet.

    :param path: As the container sees it.
    :param mounted: The container's volumes, ``source:target[:mode]``.
    :param volumes: Name of a volume to its path on the host.
    """
    for one in mounted:
        source, target = one.split(":")[:2]
        folder = source if source.startswith("/") else volumes.get(source)
        if folder and path.startswith(f"{target}/"):
            return Path(folder, path.removeprefix(f"{target}/"))
    return None
