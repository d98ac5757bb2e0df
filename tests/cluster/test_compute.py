"""A host that is new in the pillar gets its services when its minion starts, and then takes machines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from .bed import Bed
from .members import SERVICES, until

NEW = "compute2"
CLOUD = [
    *SERVICES,
    *("glance", "placement", "nova", "nova-cells", "nova-compute", "libvirt"),
    *("neutron", "openvswitch", "ovn-controller"),
]
MACHINE = "newcomer"


@pytest.fixture(scope="module")
def cloud(bed: Bed) -> Iterator[Bed]:
    """Return a cloud that boots machines, and whose pillar does not have the new host yet."""
    bed.push("demo")
    host = bed.hosts[NEW]
    with bed.pillar({"saltern": {"hosts": {NEW: None}}}):
        bed.orch("deploy", services=CLOUD)
        bed.orch("post_deploy")
        for step in ("image", "network"):
            bed.answers("control1", "demo.step", step)
        assert NEW not in computes(bed)
        with bed.pillar({"saltern": {"hosts": {NEW: {**host, "deploy_on_start": True}}}}):
            yield bed
    # What it runs is more than the other tests want beside them.
    bed.orch("destroy", confirm="yes")


def openstack(bed: Bed, *words: str) -> Any:
    """Run the client on a control host and return what it says."""
    return json.loads(bed.run("control1", "openstack", *words, "-f", "json").out)


def computes(bed: Bed) -> dict[str, str]:
    """Return the hosts that Nova schedules to, which are mapped to a cell, and their states."""
    rows = openstack(bed, "hypervisor", "list")
    return {row["Hypervisor Hostname"]: row["State"] for row in rows}


def test_a_new_compute_host_gets_its_services_and_takes_machines(cloud: Bed):
    cloud.run(NEW, "systemctl", "restart", "saltern-minion")
    until(lambda: computes(cloud).get(NEW) == "up", "Nova has the new host", seconds=900)
    agents = openstack(cloud, "network", "agent", "list", "--host", NEW)
    assert agents
    assert all(agent["Alive"] for agent in agents)

    place = ["--image", "demo", "--flavor", "demo", "--network", "demo", "--host", NEW]
    openstack(cloud, "server", "create", *place, "--wait", MACHINE)
    try:
        console = ("console", "log", "show", MACHINE)
        until(
            lambda: "machine: ready" in cloud.run("control1", "openstack", *console).out,
            "the machine has its address and its metadata",
        )
    finally:
        cloud.run("control1", "openstack", "server", "delete", "--wait", MACHINE)

    cloud.orch("remove_host", remove=NEW, confirm="yes")
    assert NEW not in computes(cloud)
