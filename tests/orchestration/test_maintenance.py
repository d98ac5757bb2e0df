"""A host that somebody works on is left alone, named, and no alarm."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def disk(cloud):
    """A cloud whose host two is in maintenance."""
    done = cloud.run("saltern.maintenance", "host=two", "reason=disk change", "hours=2")
    assert done.code == 0, done.err
    assert "two is in maintenance until" in done.out and "disk change" in done.out
    return cloud


def test_runs_leave_it_out_and_say_so_until_it_has_ended(disk):
    cloud = disk
    plan = cloud.run("saltern.plan", "--out=json")
    assert set(json.loads(plan.out)["plan"]) == {"one", "three"}
    first = cloud.deploy()
    assert first.code == 0, first.err
    everything = ["alpha", "beta", "gamma"]
    assert cloud.written() == {"one": everything, "two": [], "three": everything}
    assert "Left out: two is in maintenance until" in first.out
    # Who names the host means it.
    assert cloud.deploy(hosts=["two"], services=["alpha"]).code == 0
    assert cloud.written()["two"] == ["alpha"]
    ended = cloud.run("saltern.maintenance", "host=two", "end=True")
    assert "Nothing is in maintenance" in ended.out
    assert cloud.deploy().code == 0
    assert cloud.written()["two"] == everything
    history = json.loads(cloud.run("saltern.history", "--out=json").out)["history"]
    assert "End the maintenance: two" in json.dumps(history)


def test_the_pillar_can_have_runs_refuse(disk):
    cloud = disk
    cloud.set_pillar(settings={"maintenance": "refuse"})
    for limits in ({}, {"hosts": ["two"]}):
        refused = cloud.deploy(**limits)
        assert refused.code == 1
        assert "disk change" in refused.last_block
        assert "salt-run saltern.maintenance host=two end=True" in refused.last_block
    assert cloud.written() == {host: [] for host in cloud.hosts}
    # A run that does not concern it goes on.
    assert cloud.deploy(hosts=["one"]).code == 0


def test_an_upgrade_does_not_begin(disk):
    refused = disk.run("state.orchestrate", "orch.upgrade")
    assert refused.code == 1
    assert "two is in maintenance" in refused.last_block


def test_a_silent_host_in_maintenance_is_no_alarm(disk):
    cloud = disk
    with cloud.silent("two"):
        status = cloud.run("saltern.status", "--out=json")
        shown = json.loads(status.out)
        assert [one["host"] for one in shown["silenced"]] == ["two"]
        assert "two" not in {one["host"] for one in shown["findings"]}
        (one,) = shown["maintenance"]
        assert (one["host"], one["reason"]) == ("two", "disk change")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["host=tow", "reason=x"], "Did you mean 'two'?"),
        (["host=two"], "reason: say why"),
        (["host=two", "reason=x", "hours=0"], "hours: 0 is not a number of hours above 0"),
        (["host=two", "reason=x", "services=[alfa]"], "Did you mean 'alpha'?"),
        (["host=two", "end=True"], "two is not in maintenance"),
    ],
)
def test_a_wrong_word_is_named_and_nothing_is_noted(cloud, words, said):
    wrong = cloud.run("saltern.maintenance", *words)
    assert wrong.code == 1
    assert said in wrong.out + wrong.err
    assert "Nothing is in maintenance" in cloud.run("saltern.maintenance").out
