"""An upgrade across three hosts with real containers: order, refusals, the way back, and a killed run."""

from __future__ import annotations

import json
import subprocess

import pytest

from ..conftest import HOSTS, PREFIX, Result, until
from .conftest import NEW, OLD

pytestmark = pytest.mark.docker


def test_an_upgrade_expands_replaces_host_by_host_and_contracts(small):
    small.set_pillar(NEW)
    tested = small.upgrade("test=True")
    assert tested.code == 0, tested.err
    assert small.done() == [f"upgrade_check {NEW}"]
    result = small.upgrade()
    assert result.code == 0, result.err
    assert "2026.1 -> 2026.2: store, front." in result.err
    assert small.done() == [
        f"{phase} {NEW}" for phase in ("upgrade_check", "expand", "migrate", "contract")
    ]
    assert small.releases() == small.releases("front") == dict.fromkeys(HOSTS, NEW)
    again = small.upgrade()
    assert again.code == 0, again.err
    assert "Everything runs 2026.2" in again.err
    deployed = small.cloud.deploy()
    assert "Nothing to change." in deployed.err
    assert small.done() == []


@pytest.mark.upgrades
def test_a_single_service_is_upgraded_and_the_others_stay(small):
    small.set_pillar(NEW)
    result = small.upgrade(services=["store"])
    assert result.code == 0, result.err
    assert small.releases() == dict.fromkeys(HOSTS, NEW)
    assert small.releases("front") == dict.fromkeys(HOSTS, OLD)
    refused = small.cloud.deploy()
    assert refused.code == 1
    assert "2026.1 runs in front: that is an upgrade" in refused.last_block
    assert "salt-run state.orchestrate orch.upgrade" in refused.last_block


def test_a_server_that_does_not_come_up_takes_all_hosts_back(small):
    small.set_pillar(NEW, front={"broken_on": ["two"]})
    result = small.upgrade()
    assert result.code == 1
    assert "front" in result.last_block
    assert "Went back to what they came from:" in result.last_block
    assert "store on one, two, three" in result.last_block
    assert small.releases() == small.releases("front") == dict.fromkeys(HOSTS, OLD)
    assert f"contract {NEW}" not in small.done()
    # The old release can be deployed, and its schema task has nothing to do.
    small.set_pillar(OLD)
    deployed = small.cloud.deploy()
    assert deployed.code == 0, deployed.err
    assert small.done() == []
    # Mended, the same command ends well.
    small.set_pillar(NEW)
    assert small.upgrade().code == 0
    assert small.releases("front") == dict.fromkeys(HOSTS, NEW)


@pytest.mark.upgrades
@pytest.mark.parametrize("phase", ["upgrade_check", "expand", "migrate"])
def test_what_fails_before_the_first_container_leaves_all_as_it_is(small, phase):
    small.set_pillar(NEW, fails=phase)
    result = small.upgrade()
    assert result.code == 1
    assert "exit" in result.last_block
    assert small.releases() == small.releases("front") == dict.fromkeys(HOSTS, OLD)
    assert "contract" not in " ".join(small.done())
    assert bool(small.unfinished) == (phase != "upgrade_check")


@pytest.mark.upgrades
def test_checks_of_services_run_at_the_same_time(small):
    small.set_pillar(NEW)
    held = ("upgrade_check", "front_check")
    for one in held:
        small.hold(one)
    with small.cloud.started("state.orchestrate", "orch.upgrade", "test=True") as run:
        until(lambda: all(small.reached(one) for one in held))
        for one in held:
            small.let_go(one)
        assert run.wait(120) == 0


@pytest.mark.upgrades
def test_a_failed_contract_is_gone_on_with(small):
    small.set_pillar(NEW, fails="contract")
    failed = small.upgrade()
    assert failed.code == 1
    assert "the way back is the backup" in failed.last_block
    back = small.rollback()
    assert back.code == 1
    assert "the way back is the backup" in back.last_block
    refused = small.cloud.deploy()
    assert refused.code == 1
    assert "the upgrade of store, front is not finished" in refused.last_block
    small.done()
    small.set_pillar(NEW)
    result = small.upgrade()
    assert result.code == 0, result.err
    assert f"contract {NEW}" in small.done()
    assert small.releases() == dict.fromkeys(HOSTS, NEW)


def test_a_killed_upgrade_is_gone_on_with(small):
    small.set_pillar(NEW)
    small.hold("server")
    with small.cloud.started("state.orchestrate", "orch.upgrade"):
        until(lambda: small.reached("server"))
    small.let_go("server")
    result = small.upgrade()
    assert result.code == 0, result.err
    assert small.releases() == small.releases("front") == dict.fromkeys(HOSTS, NEW)
    assert f"contract {NEW}" in small.done()


@pytest.mark.upgrades
def test_a_host_that_dies_half_way_is_named_and_the_others_go_back(small):
    small.set_pillar(NEW)
    small.hold("server")
    with small.cloud.started("state.orchestrate", "orch.upgrade", stderr=subprocess.PIPE) as run:
        until(lambda: small.reached("server"))
        small.cloud.kill("two")
        small.let_go("server")
        _, said = run.communicate(timeout=180)
    last_block = Result(run.returncode, "", said.decode()).last_block
    assert run.returncode == 1
    assert "silent: its minion does not answer" in last_block
    assert "Went back to what they came from: store on one, three." in last_block
    assert "store on two" in last_block.partition("Not back:")[2]
    assert small.releases() == small.releases("front") == dict.fromkeys(HOSTS, OLD)
    small.cloud.restart("two")
    until(lambda: "two" in small.cloud.up())
    result = small.upgrade()
    assert result.code == 0, result.err
    assert small.releases() == small.releases("front") == dict.fromkeys(HOSTS, NEW)


@pytest.mark.upgrades
def test_some_hosts_go_first_and_nothing_is_contracted_until_all_have_moved(small):
    small.set_pillar(NEW)
    without_first = small.upgrade(hosts=["two"])
    assert without_first.code == 1
    assert "its upgrade begins on one" in without_first.last_block
    moved = {**dict.fromkeys(HOSTS, OLD), "one": NEW}
    canary = small.upgrade(hosts=["one"])
    assert canary.code == 0, canary.err
    assert small.releases() == small.releases("front") == moved
    assert "this run leaves out store on two, three" in canary.err
    assert "the upgrade of store, front is not finished" in small.cloud.deploy().last_block
    back = small.rollback()
    assert back.code == 0, back.err
    assert small.releases() == small.releases("front") == dict.fromkeys(HOSTS, OLD)
    assert small.upgrade(hosts=["one"]).code == 0
    # A later failure takes all of them back, also those of the run before.
    small.set_pillar(NEW, front={"broken_on": ["three"]})
    assert small.upgrade().code == 1
    assert small.releases() == small.releases("front") == dict.fromkeys(HOSTS, OLD)
    small.set_pillar(NEW)
    assert small.upgrade(hosts=["one", "two"]).code == 0
    assert f"contract {NEW}" not in small.done()
    assert small.upgrade().code == 0
    assert f"contract {NEW}" in small.done()
    assert small.releases() == small.releases("front") == dict.fromkeys(HOSTS, NEW)


@pytest.mark.upgrades
def test_what_cannot_be_done_is_refused_before_anything_changes(small):
    small.set_pillar(NEW)
    assert small.upgrade(services=["stor"]).code == 1
    assert small.upgrade().code == 0
    small.set_pillar(OLD)
    small.done()
    down = small.upgrade()
    assert down.code == 1
    assert "2026.1 is older than 2026.2" in down.last_block
    assert small.done() == []
    assert small.releases() == dict.fromkeys(HOSTS, NEW)


@pytest.mark.upgrades
def test_a_cloud_that_is_not_well_is_mended_first(small):
    small.api.stop(f"{PREFIX}two-front", timeout=1)
    small.set_pillar(NEW)
    result = small.upgrade(services=["store"])
    assert result.code == 0, result.err
    small.api.stop(f"{PREFIX}three-store", timeout=1)
    result = small.upgrade()
    assert result.code == 1
    assert "store" in result.last_block
    assert "salt-run saltern.status" in result.last_block


def test_a_changed_option_is_taken_back_days_later(small):
    small.set_pillar(OLD, front={"colour": "green"})
    assert small.cloud.deploy().code == 0
    assert "COLOUR=green" in small.environment("two", "front")
    unnamed = small.rollback()
    assert unnamed.code == 1
    assert "no service is named" in unnamed.last_block
    result = small.rollback(services=["front"])
    assert result.code == 0, result.err
    assert "COLOUR=red" in small.environment("two", "front")
    first = small.rollback(services=["store"])
    assert first.code == 1
    assert "keeps no earlier revision" in first.last_block
    listed = small.cloud.run("saltern.plan", "--out=json")
    assert json.loads(listed.out)
