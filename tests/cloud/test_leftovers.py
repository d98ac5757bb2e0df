"""Volumes in use are saved, and what was created, failed and deleted leaves nothing on the host."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.cloud.test_cloud import eventually

SNAPSHOT = ("--os-volume-api-version", "3.66", "volume", "snapshot")


@pytest.fixture(scope="module")
def network(cloud) -> Iterator[str]:
    """Return a network of a demo's image and flavor; it is deleted at the end."""
    cloud.salt_run("image.build", "demo")
    cloud.orch("demo")
    cloud.openstack("network", "create", "leftover")
    subnet = ("subnet", "create", "--network", "leftover", "--subnet-range", "10.99.0.0/24")
    cloud.openstack(*subnet, "leftover")
    yield "leftover"
    cloud.openstack("network", "delete", "leftover", check=False)


def shown(cloud, kind: str, name: str, field: str = "status") -> str:
    """Return a field of a thing, empty if there is none of that name."""
    said = cloud.openstack(*kind.split(), "show", name, "-f", "value", "-c", field, check=False)
    return said.stdout.strip()


def server(cloud, network: str, name: str, *more: str) -> None:
    """Order an instance, not waiting for it."""
    what = more or ("--image", "demo")
    cloud.openstack("server", "create", "--flavor", "demo", "--network", network, *what, name)


def orphans(cloud) -> list[str]:
    """Return the kinds and names of all orphans, however young."""
    said = cloud.salt_run("--out=json", "saltern.orphans", "minutes=0").stdout
    found = json.loads(said)["orphans"]["orphans"]
    return [f"{one['kind']} {one['name']}" for one in found]


def test_a_volume_in_use_is_saved_and_does_not_grow(cloud, network):
    image = "snapshot for used-image"
    volume = ("volume", "create", "--size", "1", "--image", "demo", "--bootable", "used")
    cloud.openstack(*volume)
    try:
        eventually(lambda: shown(cloud, "volume", "used") == "available", 300)
        server(cloud, network, "user", "--volume", "used")
        eventually(lambda: shown(cloud, "server", "user") == "ACTIVE", 300)
        cloud.openstack(*SNAPSHOT, "create", "--volume", "used", "used-snapshot")
        eventually(lambda: shown(cloud, "volume snapshot", "used-snapshot") == "available", 300)
        cloud.openstack("volume", "backup", "create", "--force", "--name", "used-backup", "used")
        eventually(lambda: shown(cloud, "volume backup", "used-backup") == "available", 300)
        cloud.openstack("server", "image", "create", "--name", "used-image", "user")
        snapshots = ("volume", "snapshot", "list", "-f", "value", "-c", "Name", "-c", "Status")
        eventually(lambda: f"{image} available" in cloud.openstack(*snapshots).stdout, 300)
        grown = ("--os-volume-api-version", "3.42", "volume", "set", "--size", "2", "used")
        assert "extend_attached_volume" in cloud.openstack(*grown, check=False).stderr
        assert shown(cloud, "volume", "used") == "in-use"
    finally:
        cloud.openstack("server", "delete", "--wait", "user", check=False)
        cloud.openstack("image", "delete", "used-image", check=False)
        cloud.openstack("volume", "backup", "delete", "used-backup", check=False)
        cloud.openstack("volume", "snapshot", "delete", "used-snapshot", image, check=False)
        eventually(lambda: not shown(cloud, "volume snapshot", "used-snapshot"), 300)
        eventually(lambda: not shown(cloud, "volume snapshot", image), 300)
        cloud.openstack("volume", "delete", "used", check=False)
        eventually(lambda: not shown(cloud, "volume", "used"), 300)


def test_create_fail_delete_leaves_nothing(cloud, network):
    before = orphans(cloud)
    for number in range(3):
        server(cloud, network, f"short-{number}")
        # Some of them while they are being built.
        cloud.openstack("server", "delete", f"short-{number}")
    eventually(lambda: not any(shown(cloud, "server", f"short-{n}") for n in range(3)), 300)
    cloud.openstack("network", "delete", "leftover")
    eventually(lambda: set(orphans(cloud)) <= set(before), 300)


def test_a_file_that_no_volume_owns_is_listed_and_cleaned(cloud):
    mine = "volume-00000000-0000-4000-8000-000000000000"
    store = cloud.docker.containers.get("cinder-volume")
    create = ["qemu-img", "create", "-q", "-f", "qcow2", f"/var/lib/volumes/{mine}", "1M"]
    assert store.exec_run(create).exit_code == 0
    assert f"file of a volume {mine}" in orphans(cloud)
    cloud.salt_run("saltern.orphans", "clean=True", "minutes=0", "pause=1")
    assert f"file of a volume {mine}" in orphans(cloud), "nothing is removed without confirm"
    cloud.salt_run("saltern.orphans", "clean=True", "confirm=yes", "minutes=0", "pause=1")
    assert f"file of a volume {mine}" not in orphans(cloud)
