"""Which host paths must be shared mounts, and which are."""

from __future__ import annotations

import pytest

from saltern.containers.mounts import is_shared, shared_sources

MOUNTS = """\
1 0 8:1 / / rw,relatime - ext4 /dev/root rw
2 1 0:5 / /run rw shared:7 - tmpfs tmpfs rw
3 2 0:6 / /run/lock rw - tmpfs tmpfs rw
4 3 0:6 /x /run/lock rw shared:9 master:2 - tmpfs tmpfs rw
5 1 8:1 /run /runner rw - ext4 /dev/root rw
"""


@pytest.mark.parametrize(
    ("path", "shared"),
    [
        ("/srv", False),
        ("/run/netns", True),
        ("/run", True),
        ("/run/lock/x", True),
        ("/runner/netns", False),
    ],
)
def test_the_mount_that_holds_a_path_says_whether_it_is_shared(path, shared):
    """The nearest one, and of several on one place the last."""
    assert is_shared(path, MOUNTS) is shared


def test_only_host_paths_of_mode_shared_are_made_shared():
    """Names of volumes and other modes are Docker's business."""
    volumes = ["data:/d:shared", "/run/netns:/run/netns:shared", "/a:/a:ro,rshared", "/b:/b:rslave"]
    assert shared_sources(volumes) == ["/run/netns", "/a"]
