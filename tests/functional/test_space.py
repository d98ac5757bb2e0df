"""Full and read-only disks: real small file systems, errors in words, and nothing half-written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from saltern import files
from saltern.containers import once
from saltern.containers.lock import locked
from saltern.host import plan_cache
from saltern.run import lock
from saltern.service import generation
from saltern.space import NoRoomError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")

BIG = "x" * 2_000_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a file system of 1 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def wanted(text: str) -> generation.Generation:
    return generation.Generation("web", {"web.conf": generation.File(text, 0o640)}, os.getuid())


def take(path: Path) -> None:
    with locked(path, "web"):
        pass


WRITERS: dict[str, Callable[[Path], object]] = {
    "file": lambda disk: files.write(disk / "file", "new"),
    "generation": lambda disk: generation.write(disk / "services", wanted("new")),
    "marker": lambda disk: once.write(disk / "once/web.json", {"image": "1"}),
    "plan": lambda disk: plan_cache.remember(disk / "planned", "1"),
    "cloud": lambda disk: lock.Lock(disk / "new/rollout.lock", {}),
    "container": lambda disk: take(disk / "locks"),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_read_only_disk_is_named_with_the_remedy(disk: Path, writer: str):
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)

    with pytest.raises(
        NoRoomError, match=rf"^{disk}\S* cannot be written: Read-only.*; look for f"
    ):
        WRITERS[writer](disk)


def test_a_full_disk_is_named_and_the_old_file_stays(disk: Path):
    files.write(disk / "file", "old")

    with pytest.raises(NoRoomError, match=rf"^{disk}/file cannot be written: No space left.*free "):
        files.write(disk / "file", BIG)

    assert (disk / "file").read_text() == "old"
    assert [path.name for path in disk.iterdir()] == ["file"]


def test_a_generation_that_does_not_fit_leaves_nothing(disk: Path):
    kept = generation.write(disk, wanted("old"))

    with pytest.raises(NoRoomError, match=rf"^{disk}\S+web.conf cannot be written: No space left"):
        generation.write(disk, wanted(BIG))

    assert list(disk.iterdir()) == [kept]
