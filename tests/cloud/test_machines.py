"""A machine boots, is reached, and neither stops nor goes silent while what it runs on is replaced."""

from __future__ import annotations

import io
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import urlopen

import pytest


@pytest.fixture(scope="module")
def address(cloud) -> Iterator[str]:
    """Return the floating IP of the demo's machine."""
    cloud.salt_run("image.build", "demo")
    try:
        said = cloud.orch("demo")
        found = re.search(r"answers at http://([0-9.]+)/", said.stdout + said.stderr)
        assert found, said.stdout + said.stderr
        yield found[1]
    finally:
        cloud.orch("demo_destroy")


@contextmanager
def pinged(address: str) -> Iterator[None]:
    """Ping an address five times a second throughout; every single one must have been answered."""
    if not shutil.which("ping"):
        subprocess.run(("apt-get", "install", "-y", "-q", "iputils-ping"), check=True)
    command = ("ping", "-n", "-i", "0.2", "-W", "10", address)
    ping = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield
    finally:
        ping.send_signal(signal.SIGINT)
        said, _ = ping.communicate()
    sent, received = map(int, re.search(r"(\d+) packets transmitted, (\d+) rec", said).groups())
    # The last one may still be under way.
    assert sent > 10 and sent - received <= 1, said[-3000:]


@contextmanager
def other_image(cloud, name: str) -> Iterator[None]:
    """Give an image's name to another image of the same content; put it back afterwards."""
    container = next(
        one
        for one in cloud.docker.containers.list(filters={"label": "saltern.service"})
        if f"/{name}:" in one.attrs["Config"]["Image"]
    )
    full = container.attrs["Config"]["Image"]
    original = cloud.docker.images.get(full)
    repository, _, tag = full.rpartition(":")
    dockerfile = io.BytesIO(f"FROM {full}\nLABEL test=another\n".encode())
    other, _ = cloud.docker.images.build(fileobj=dockerfile, tag=full, rm=True)
    try:
        yield
    finally:
        original.tag(repository, tag)
        cloud.orch("deploy")
        cloud.docker.images.remove(other.id)


def ids(cloud, *names: str) -> list[str]:
    """Return the ids of containers."""
    found = cloud.containers()
    return [found[name] for name in names]


def test_the_machine_shows_its_page_through_its_floating_ip(cloud, address):
    with urlopen(f"http://{address}/", timeout=60) as page:
        assert b"demo" in page.read()


def test_the_demo_again_makes_nothing(cloud, address):
    said = cloud.orch("demo")
    assert address in said.stdout + said.stderr
    servers = cloud.openstack("server", "list", "--name", "demo", "-f", "value", "-c", "Status")
    assert servers.stdout.split() == ["ACTIVE"]


def test_a_reconfiguration_of_what_machines_run_on_is_not_noticed_by_them(cloud, address):
    names = ("libvirt", "nova-compute", "ovn-controller", "neutron-ovn-agent")
    before = ids(cloud, *names)
    changes = {
        "libvirt": {"containers": {"libvirt": {"stop_timeout": 31}}},
        "nova-compute": {"reserved_memory_mb": 2049},
        "ovn-controller": {"probe_interval": 61},
        "neutron-agents": {"config": {"neutron.conf": {"DEFAULT": {"debug": True}}}},
    }
    with pinged(address):
        with cloud.pillar(**changes):
            cloud.orch("reconfigure")
            assert not set(before) & set(ids(cloud, *names)), "all of them are replaced"
        cloud.orch("reconfigure")
    with urlopen(f"http://{address}/", timeout=60) as page:
        assert b"demo" in page.read()


@pytest.mark.parametrize(
    ("image", "container"), [("libvirt", "libvirt"), ("ovn", "ovn-controller")]
)
def test_another_image_below_a_machine_is_not_noticed_by_it(cloud, address, image, container):
    before = ids(cloud, container)
    with pinged(address), other_image(cloud, image):
        cloud.orch("deploy")
        assert ids(cloud, container) != before
    status = cloud.openstack("server", "show", "demo", "-f", "value", "-c", "status")
    assert status.stdout.strip() == "ACTIVE"
