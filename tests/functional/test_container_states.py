"""The states `container.*`: as Salt loads them, and through a real salt-call."""

from __future__ import annotations

import json
import subprocess

import pytest
import yaml

pytestmark = pytest.mark.docker


@pytest.fixture
def state(salt_loaded):
    """Return a function that applies a state as a new job would."""

    def apply(function, test=False, **kwargs):
        salt_loaded.context.clear()
        salt_loaded.opts["test"] = test
        for loader in (salt_loaded.states, salt_loaded.modules):
            loader.opts["test"] = test
        return salt_loaded.states[f"container.{function}"](**kwargs)

    return apply


@pytest.fixture
def task(image):
    """Return the arguments of a once-task that succeeds."""
    return {
        "name": "task",
        "service": "web",
        "image": image,
        "command": ["sh", "-c", "echo ran >>/data/runs"],
        "volumes": ["data:/data"],
    }


def test_running_reports_changes_and_then_none(state, web):
    """Created, unchanged, changed in test mode, failed."""
    created = state("running", **web)
    assert created["result"] is True
    assert created["changes"] == {"container": {"old": None, "new": web["image"]}}
    assert state("running", **web)["changes"] == {}
    changed = state("running", test=True, **{**web, "memory": "32m"})
    assert changed["result"] is None
    assert changed["changes"] == {"memory": {"old": None, "new": 32 << 20}}
    failed = state("running", **{**web, "command": ["sh", "-c", "echo broken; exit 1"]})
    assert failed["result"] is False
    assert "broken" in failed["comment"]
    assert failed["changes"] == {}


def test_running_takes_a_whole_change_and_its_return(state, web):
    """An image that is missing is an error for a real run and a note in test mode."""
    missing = {**web, "image": "saltern-test/none:1"}
    assert state("running", test=True, **missing)["result"] is None
    failed = state("running", **missing)
    assert failed["result"] is False
    assert "build it" in failed["comment"]


def test_what_is_as_wanted_but_not_up_is_a_finding_and_no_change(state, call, web):
    """Docker says `starting` for a whole interval; the check itself says what is true."""
    state("running", **web)
    up = state("running", test=True, **web)
    assert (up["result"], up["changes"]) == (True, {})
    call("container.exec", "web", ["busybox", "rm", "/tmp/up"])
    down = state("running", test=True, **web)
    assert (down["result"], down["changes"]) == (None, {})
    assert down["comment"].startswith("is not up: web is starting: exit code 1")
    assert call("container.checks", ["web"]) == {"web": {"healthy": False, "output": "exit code 1"}}
    failed = state("running", **{**web, "deadline": 1})
    assert failed["result"] is False and "is not healthy after 1 s" in failed["comment"]


def test_what_a_failed_replacement_left_goes_when_the_mistake_is_undone(state, call, web):
    """Test mode names it; the state removes it, and touches nothing else."""
    state("running", **web)
    wrong = {**web, "command": ["sh", "-c", "exit 1"]}
    assert state("running", **wrong)["result"] is False
    parts = {one["part"]: one["id"] for one in call("container.snapshot")}
    assert set(parts) == {"", "failed"}
    planned = state("running", test=True, **web)
    assert planned["result"] is None and list(planned["changes"]) == ["failed"]
    undone = state("running", **web)
    assert undone["result"] is True and list(undone["changes"]) == ["failed"]
    assert [(one["part"], one["id"]) for one in call("container.snapshot")] == [("", parts[""])]


def test_stopped_and_absent_are_done_once(state, web):
    """Test mode says so first; a second run changes nothing."""
    state("running", **web)
    for function in ("stopped", "absent"):
        assert state(function, test=True, name="web")["result"] is None
        assert state(function, name="web")["changes"]
        again = state(function, name="web")
        assert (again["result"], again["changes"]) == (True, {})


def test_ran_runs_once_for_each_image(state, call, task, other_image):
    """The marker holds the image's id; another image runs it again."""
    before = state("ran", test=True, **task)
    assert (before["result"], before["changes"]) == (
        None,
        {"ran": {"old": None, "new": "for the first time"}},
    )
    assert state("ran", **task)["result"] is True
    again = state("ran", **task)
    assert (again["result"], again["changes"]) == (True, {})
    task["image"] = other_image
    planned = state("ran", test=True, **task)
    assert planned["result"] is None
    assert list(planned["changes"]) == ["image"]
    assert state("ran", **task)["changes"]
    assert list(call("once.list")["task"]) == ["image"]
    seen = call("container.run", **{**task, "name": "look", "command": ["cat", "/data/runs"]})
    assert seen["stdout"].split() == ["ran", "ran"]


def test_ran_that_fails_is_tried_again(state, call, task):
    """Its last lines are in the comment, and there is no marker."""
    bad = {**task, "command": ["sh", "-c", "echo no such table >&2; exit 2"]}
    failed = state("ran", **bad)
    assert failed["result"] is False
    assert "exited with code 2" in failed["comment"]
    assert "no such table" in failed["comment"]
    assert state("ran", **task)["changes"]
    assert call("once.forget", "task") is True
    assert state("ran", test=True, **task)["result"] is None


def test_ran_refuses_an_unknown_reason(state, task):
    """The message has the nearest one."""
    failed = state("ran", rerun_on=["imag"], **task)
    assert failed["result"] is False
    assert "did you mean 'image'?" in failed["comment"]


def test_a_highstate_of_a_real_salt_call(salt_call, tmp_path, web, prefix, api):
    """Test mode, create, no-op and a wrong field, as an operator sees them."""
    del web["healthcheck"]
    srv = tmp_path / "srv"
    srv.mkdir()

    def apply(*arguments, **fields):
        listed = [{key: value} for key, value in {**web, **fields}.items()]
        sls = {"Run web": {"container.running": listed}}
        (srv / "web.sls").write_text(yaml.safe_dump(sls))
        command = [*salt_call, "state.apply", "web", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return next(iter(json.loads(done.stdout)["local"].values()))

    planned = apply("test=True")
    assert planned["result"] is None, planned
    assert not api.containers(all=True, filters={"name": f"^/{prefix}"})
    created = apply()
    assert (created["result"], list(created["changes"])) == (True, ["container"])
    same = apply()
    assert (same["result"], same["changes"]) == (True, {})
    wrong = apply(memori="1g")
    assert wrong["result"] is False
    assert "unknown field 'memori'; did you mean 'memory'?" in wrong["comment"]
