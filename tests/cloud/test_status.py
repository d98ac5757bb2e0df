"""The status of a cloud in use: what is missing, what OpenStack holds for down, instances that do not run."""

from __future__ import annotations

import json
import time

import pytest

from .test_cloud import eventually
from .test_machines import address  # noqa: F401 (a fixture)


@pytest.fixture
def status(cloud):
    """Return a function that returns the exit code, the findings as texts, and all of the status."""

    def ask() -> tuple[int, list[str], dict]:
        done = cloud.salt_run("saltern.status", "--out=json", check=False)
        shown = json.loads(done.stdout)
        found = [f"{one['name']}: {one['finding']}" for one in shown["findings"]]
        return done.returncode, found, shown

    return ask


@pytest.fixture
def well(status):
    """A cloud in which all is well, some time after what other tests did to it."""

    def asked() -> bool:
        return status()[0] == 0

    eventually(asked, 240)
    yield
    eventually(asked, 240)


def test_all_is_well_and_every_container_is_shown(cloud, well, status):
    code, found, shown = status()
    assert (code, found) == (0, [])
    names = {one["name"] for rows in shown["status"].values() for one in rows}
    assert names == set(cloud.containers())
    assert "All well." in cloud.salt_run("saltern.status").stdout


def test_a_container_that_is_missing_is_named_and_deployed_again(cloud, well, status):
    cloud.docker.containers.get("glance-api").remove(force=True)
    try:
        code, found, shown = status()
        assert code == 1 and "glance-api: missing" in found
        assert any("orch.deploy" in one["remedy"] for one in shown["findings"])
    finally:
        deployed = cloud.orch("deploy")
    assert "Nothing to change" not in deployed.stderr
    assert "glance-api" in cloud.containers()


def test_what_openstack_holds_for_down_is_named(cloud, well, status):
    services = {
        "nova-scheduler": "nova",
        "neutron-ovn-agent": "neutron",
        "cinder-scheduler": "cinder",
    }
    frozen = [cloud.docker.containers.get(name) for name in services]
    for one in frozen:
        one.pause()
    wanted = [f"{service} holds it for down" for service in services.values()]

    def named() -> bool:
        found = status()[1]
        return all(any(one in finding for finding in found) for one in wanted)

    try:
        eventually(named, 240)
    finally:
        for one in frozen:
            one.unpause()


def test_nova_compute_is_healthy_only_when_it_takes_work(cloud, well):
    conductor = cloud.docker.containers.get("nova-conductor")
    compute = cloud.docker.containers.get("nova-compute")
    health = compute.attrs["Config"]["Healthcheck"]["Test"][1:]
    # It waits for the conductor, connected to RabbitMQ, as it does while it resumes instances.
    conductor.pause()
    try:
        compute.restart(timeout=100)
        connected = ["healthcheck", "connected", "5672"]
        eventually(lambda: compute.exec_run(connected).exit_code == 0, 120)
        said = compute.exec_run(health)
        assert said.exit_code == 1 and b"still starting" in said.output
    finally:
        conductor.unpause()
    eventually(lambda: compute.exec_run(health).exit_code == 0, 240)


def test_nova_compute_stops_by_itself_when_nothing_is_under_way(cloud, well):
    compute = cloud.docker.containers.get("nova-compute")
    began = int(time.time())
    compute.restart(timeout=100)
    said = compute.logs(since=began)
    assert b"manager graceful shutdown finished" in said
    assert b"graceful shutdown did not complete" not in said


def test_an_instance_that_libvirt_has_shut_off_is_counted(cloud, well, status, address):  # noqa: F811
    libvirt = cloud.docker.containers.get("libvirt")
    compute = cloud.docker.containers.get("nova-compute")
    machine = cloud.openstack("server", "show", "demo", "-f", "value", "-c", "id").stdout.strip()
    # As after a power cut: Nova holds it for active, nobody has resumed it yet.
    compute.stop()
    try:
        code, output = libvirt.exec_run(["virsh", "-c", "qemu:///system", "destroy", machine])
        assert code == 0, output
        code, found, shown = status()
        assert code == 1
        (counted,) = shown["instances"].values()
        assert machine in counted["down"]
        assert any(machine in one for one in found)
    finally:
        compute.start()
        cloud.orch("deploy")
        cloud.openstack("server", "reboot", "--hard", "--wait", "demo", check=False)
