"""A small cloud on the bed, deployed as on any hosts: images by digest, a plan, and nothing the second time."""

from __future__ import annotations

import json

import pytest

from .bed import Bed
from .members import SERVICES

CLOUD = [*SERVICES, "glance"]


@pytest.fixture(scope="module")
def deployed(bed: Bed) -> Bed:
    """Return the bed with a small cloud."""
    bed.orch("prechecks")
    bed.orch("pull", services=CLOUD)
    bed.orch("deploy", services=CLOUD)
    return bed


def test_all_hosts_have_the_bytes_that_the_registry_named_once(deployed: Bed):
    pins = json.loads(deployed.run("master", "cat", "/var/lib/saltern/digests.json").out)
    name = next(image for image in pins if "/haproxy:" in image)
    exact = f"{name.rpartition(':')[0]}@{pins[name]}"

    ids = {
        deployed.run(host, "docker", "image", "inspect", "-f", "{{.Id}}", image).out
        for host in ("control1", "control2", "control3")
        for image in (name, exact)
    }

    assert len(ids) == 1


def test_a_second_pull_changes_nothing(deployed: Bed):
    again = deployed.orch("pull", services=CLOUD)

    assert "pulled on 0 hosts" in again.err


def test_a_host_that_lacks_an_image_gets_what_the_others_have(deployed: Bed):
    pins = json.loads(deployed.run("master", "cat", "/var/lib/saltern/digests.json").out)
    name = next(image for image in pins if "/toolbox:" in image)
    before = deployed.run("control2", "docker", "image", "inspect", "-f", "{{.Id}}", name).out
    deployed.run(
        "control3", "sh", "-c", f"docker rm -f toolbox; docker rmi $(docker images -q {name}) -f"
    )

    deployed.orch("deploy", services=["toolbox"])

    after = deployed.run("control3", "docker", "image", "inspect", "-f", "{{.Id}}", name).out
    assert after == before


def test_the_second_deployment_changes_nothing(deployed: Bed):
    again = deployed.orch("deploy", services=CLOUD)

    assert "Nothing to change." in again.err


def test_the_cloud_answers_on_the_virtual_address(deployed: Bed):
    deployed.orch("post_deploy", services=["toolbox"])

    token = deployed.run("control1", "openstack", "token", "issue", "-f", "value", "-c", "id")
    images = deployed.run("control2", "openstack", "image", "list", "-f", "json")

    assert token.out.startswith("gAAAA")
    assert json.loads(images.out) == []
