"""The all-in-one works, stays as it is, changes only what is asked and survives crashes."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable

import pytest


def eventually(check: Callable[[], bool], seconds: int = 90) -> None:
    """Wait until ``check`` holds; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"{check} did not hold within {seconds} s"
        time.sleep(0.5)


def test_a_token_is_issued(cloud):
    assert len(cloud.openstack("token", "issue", "-f", "value", "-c", "id").stdout.strip()) > 100


def test_an_image_comes_back_as_it_was_uploaded(cloud, tmp_path):
    original = tmp_path / "original"
    original.write_bytes(os.urandom(30 << 20))
    digest = hashlib.md5(original.read_bytes()).hexdigest()
    name = f"test-{os.getpid()}"
    try:
        create = ("image", "create", name, "--disk-format", "raw", "--container-format", "bare")
        checksum = cloud.openstack(
            *create, "--file", str(original), "-f", "value", "-c", "checksum"
        )
        assert checksum.stdout.strip() in (digest, "")
        assert name in cloud.openstack("image", "list", "-f", "value", "-c", "Name").stdout.split()
        cloud.openstack("image", "save", name, "--file", str(tmp_path / "saved"))
        assert hashlib.md5((tmp_path / "saved").read_bytes()).hexdigest() == digest
    finally:
        cloud.openstack("image", "delete", name, check=False)


def test_the_catalogue_lists_every_service_on_every_interface(cloud):
    rows = cloud.openstack(
        "endpoint", "list", "-f", "value", "-c", "Service Type", "-c", "Interface"
    )
    found = {tuple(line.split()) for line in rows.stdout.splitlines()}
    assert {("identity", "public"), ("identity", "internal")} <= found
    assert {("image", "public"), ("image", "internal")} <= found


def test_a_second_deploy_changes_nothing(cloud):
    before = cloud.containers()
    cloud.orch("deploy")
    assert cloud.containers() == before


def test_one_option_replaces_only_its_own_service(cloud):
    before = cloud.containers()
    change = {"keystone": {"config": {"keystone.conf": {"token": {"expiration": 1800}}}}}
    with cloud.pillar(**change):
        plan = cloud.salt_run("saltern.plan").stdout
        assert "+expiration = 1800" in plan
        assert cloud.containers() == before, "a plan changes nothing"
        cloud.orch("reconfigure")
        after = cloud.containers()
        changed = {name for name in before if before[name] != after.get(name)}
        assert changed == {"keystone-api"}
        test_a_token_is_issued(cloud)
    cloud.orch("reconfigure")
    test_a_token_is_issued(cloud)


def test_a_broken_change_rolls_back_by_itself(cloud):
    before = cloud.containers()
    with cloud.pillar(
        glance={"containers": {"glance-api": {"command": ["false"], "deadline": 20}}}
    ):
        failed = cloud.orch("deploy", check=False)
        assert failed.returncode != 0
        last = (failed.stdout + failed.stderr).strip().splitlines()[-15:]
        assert any("glance-api" in line for line in last), "\n".join(last)
    assert cloud.containers() == before
    cloud.openstack("image", "list")


@pytest.mark.parametrize("pillar", [{"keystone": {"tokn_expiration": 5}}, {"keystnoe": {}}])
def test_a_wrong_pillar_changes_nothing_and_names_the_key(cloud, pillar):
    before = cloud.containers()
    with cloud.pillar(**pillar):
        for verb in ("deploy", "prechecks"):
            failed = cloud.orch(verb, check=False)
            assert failed.returncode != 0
            assert next(iter(pillar)) in failed.stdout + failed.stderr
            assert "Did you mean" in failed.stdout + failed.stderr
        failed = cloud.salt_run("saltern.plan", check=False)
        assert failed.returncode != 0 and "Did you mean" in failed.stdout + failed.stderr
    assert cloud.containers() == before


@pytest.mark.parametrize("name", ["mariadb", "rabbitmq", "memcached", "haproxy", "keystone-api"])
def test_a_crashed_server_comes_back_and_the_cloud_with_it(cloud, name):
    container = cloud.docker.containers.get(name)
    started = container.attrs["State"]["StartedAt"]
    os.kill(container.attrs["State"]["Pid"], 9)

    def back() -> bool:
        container.reload()
        state = container.attrs["State"]
        return state["StartedAt"] != started and state["Running"]

    eventually(back)
    eventually(lambda: cloud.openstack("token", "issue", check=False).returncode == 0)


def test_fernet_rotation_replaces_no_container_and_keeps_tokens(cloud):
    before = cloud.containers()
    token = cloud.openstack("token", "issue", "-f", "value", "-c", "id").stdout.strip()
    ring = cloud.secrets()["keystone"]["fernet_keys"]
    cloud.salt_run("saltern.rotate_fernet")
    assert max(cloud.secrets()["keystone"]["fernet_keys"]) == max(ring) + 1
    assert cloud.containers() == before
    issued = cloud.openstack("token", "issue", "-f", "value", "-c", "id").stdout.strip()
    assert issued != token
    cloud.openstack("token", "revoke", token)


def test_configuration_passes_the_services_own_checkers(cloud):
    cloud.orch("validate_config")


def test_destroy_asks_for_confirmation(cloud):
    before = cloud.containers()
    refused = cloud.orch("destroy", check=False)
    assert refused.returncode != 0 and "confirm" in refused.stdout + refused.stderr
    assert cloud.containers() == before
