"""Host paths that containers mount `shared`: what one mounts below them, the host and the others see."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from saltern.errors import SalternError

_MOUNTS = Path("/proc/self/mountinfo")


def shared_sources(volumes: Iterable[str]) -> list[str]:
    """Return the host paths of volumes whose mode says that mounts are shared."""
    found = []
    for volume in volumes:
        source, _, rest = volume.partition(":")
        modes = rest.partition(":")[2].split(",")
        if source.startswith("/") and {"shared", "rshared"} & set(modes):
            found.append(source)
    return found


def is_shared(path: str, mounts: str) -> bool:
    """Return whether a path lies on a shared mount.

    :param mounts: ``/proc/self/mountinfo``, see proc(5): the mount point is the fifth field, optional fields end
        with a dash.
    """
    best, shared = "", False
    for line in mounts.splitlines():
        fields = line.split()
        point = fields[4]
        # The last one that is mounted on a place covers the earlier ones.
        if PurePosixPath(path).is_relative_to(point) and len(point) >= len(best):
            optional = fields[6 : fields.index("-")]
            best, shared = point, any(one.startswith("shared:") for one in optional)
    return shared


def make_shared(volumes: Iterable[str]) -> None:
    """Make host paths shared mounts where they are not: Docker demands it. systemd shares all mounts itself.

    :raises SalternError: A path cannot be mounted.
    """
    for path in shared_sources(volumes):
        if is_shared(path, _MOUNTS.read_text()):
            continue
        Path(path).mkdir(parents=True, exist_ok=True)
        for command in (["--bind", path, path], ["--make-shared", path]):
            done = subprocess.run(["mount", *command], capture_output=True, text=True, check=False)
            if done.returncode:
                raise SalternError(f"{path} cannot be made a shared mount: {done.stderr.strip()}")
