"""Instances start quickly, many at once, and with their network."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

EMPTY = """
<domain type='qemu'>
  <name>saltern-test</name>
  <memory unit='MiB'>32</memory>
  <os><type arch='x86_64'>hvm</type></os>
  <on_poweroff>destroy</on_poweroff>
</domain>
"""
# What Nova builds at once, its default for max_concurrent_builds.
AT_ONCE = 10


@contextmanager
def quota(cloud, **limits: int) -> Iterator[None]:
    """Change limits of the administrator's project, and put them back."""
    said = cloud.openstack("quota", "show", "-f", "json")
    before = {one["Resource"]: one["Limit"] for one in json.loads(said.stdout)}

    def put(values: dict[str, int]) -> None:
        options = [word for key in limits for word in (f"--{key}", str(values[key]))]
        cloud.openstack("quota", "set", *options, "admin")

    put(limits)
    try:
        yield
    finally:
        put(before)


@pytest.fixture
def flavor(cloud) -> Iterator[str]:
    """Make a flavor of which any number fits a host."""
    name = "saltern-test"
    size = ("--ram", "128", "--disk", "1", "--vcpus", "1", "--property", "resources:VCPU=0")
    cloud.openstack("flavor", "create", *size, name)
    yield name
    cloud.openstack("flavor", "delete", name)


@pytest.fixture
def image(cloud) -> Iterator[str]:
    """Upload an image that boots nothing."""
    name = "saltern-test"
    formats = ("--disk-format", "raw", "--container-format", "bare")
    cloud.openstack("image", "create", *formats, name, input="nothing" * 1000)
    yield name
    cloud.openstack("image", "delete", name)


def execute(cloud, container: str, *command: str, stdin: str = "") -> str:
    """Run a command in a container, which must succeed, and return its output."""
    return cloud.run("docker", "exec", "-i", container, *command, input=stdin).stdout


def listed(cloud, column: str) -> list[str]:
    """Return a column of the list of this test's instances."""
    chosen = ("--name", "^saltern-test-", "-f", "value", "-c", column)
    return cloud.openstack("server", "list", *chosen).stdout.split()


def test_libvirt_does_not_ask_qemu_again_for_each_instance(cloud):
    start = "virsh -q create /dev/stdin && virsh -q destroy saltern-test"
    known = "stat --format='%i %Y' /var/cache/libvirt/qemu/capabilities/*"
    execute(cloud, "libvirt", "sh", "-c", start, stdin=EMPTY)
    before = execute(cloud, "libvirt", "sh", "-c", known)
    execute(cloud, "libvirt", "sh", "-c", start, stdin=EMPTY)
    assert before and execute(cloud, "libvirt", "sh", "-c", known) == before


def test_as_many_instances_start_as_nova_builds_at_once(cloud, flavor, image):
    given = ("--image", image, "--flavor", flavor, "--nic", "none")
    count = ("--min", str(AT_ONCE), "--max", str(AT_ONCE))
    inactive = ("virsh", "list", "--name", "--inactive")
    before = execute(cloud, "libvirt", *inactive)
    with quota(cloud, instances=2 * AT_ONCE, cores=4 * AT_ONCE, ram=1 << 20):
        try:
            cloud.openstack("server", "create", *given, *count, "saltern-test")
            while "BUILD" in (states := listed(cloud, "Status")):
                time.sleep(2)
            assert states == ["ACTIVE"] * AT_ONCE
        finally:
            cloud.openstack("server", "delete", "--wait", *listed(cloud, "ID"))
    assert execute(cloud, "libvirt", *inactive) == before


def test_forty_ports_of_instances_are_all_up(cloud):
    get = ("ovs-vsctl", "get", "Bridge", "br-int", "datapath_type")
    datapath = execute(cloud, "ovsdb-server", *get).strip()
    script = Path(__file__).with_name("plug_ports.py").read_text()
    assert execute(cloud, "nova-compute", "python", "-", "40", datapath, stdin=script) == ""


def test_instances_get_networks_from_a_neutron_that_was_replaced_beside_itself(
    cloud, flavor, image
):
    """Nova waits for what OVN tells Neutron: only servers that have their rows in OVN's ring hear it."""
    with cloud.pillar(
        neutron={"config": {"neutron.conf": {"DEFAULT": {"retry_until_window": 31}}}}
    ):
        cloud.orch("reconfigure")
    cloud.orch("reconfigure")
    cloud.openstack("network", "create", "saltern-test")
    try:
        subnet = ("--network", "saltern-test", "--subnet-range", "192.168.241.0/24")
        cloud.openstack("subnet", "create", *subnet, "saltern-test")
        given = ("--image", image, "--flavor", flavor, "--network", "saltern-test")
        try:
            cloud.openstack("server", "create", "--wait", *given, "saltern-test-1")
            assert listed(cloud, "Status") == ["ACTIVE"]
        finally:
            cloud.openstack("server", "delete", "--wait", *listed(cloud, "ID"))
    finally:
        cloud.openstack("network", "delete", "saltern-test")
