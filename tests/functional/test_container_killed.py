"""A replacement killed at any step: the next run finishes or undoes it."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from salt.exceptions import CommandExecutionError

pytestmark = pytest.mark.docker

# Replaces a container and dies when the step argv[2] is done, the argv[3]-th time.
KILLED = """
import json, os, sys
from saltern.containers.engine import Engine
from saltern.containers.host import Host
from saltern.containers.spec import Spec
prefix, kill_at, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
seen = []
def progress(step):
    seen.append(step)
    if seen.count(kill_at) == times:
        os._exit(77)
Host(Engine(), prefix, progress).running(Spec.from_dict(json.load(sys.stdin)), "web")
"""


@pytest.fixture
def killed(prefix, pytestconfig):
    """Return a function that replaces in a process of its own, which dies at a step."""

    def runner(spec, step, times=1):
        fields = {key: value for key, value in spec.items() if key != "service"}
        process = subprocess.run(
            [sys.executable, "-c", KILLED, prefix, step, str(times)],
            input=json.dumps(fields),
            text=True,
            env={**os.environ, "PYTHONPATH": str(pytestconfig.rootpath / "_utils")},
            check=False,
            capture_output=True,
        )
        assert process.returncode == 77, process.stderr

    return runner


STEPS = ["created", "stopped", "set aside", "named", "started", "healthy"]


@pytest.mark.parametrize("step", STEPS)
def test_the_next_run_ends_with_the_wanted_container(call, api, prefix, web, killed, step):
    """Whatever was left: the new container runs, and nothing else is there."""
    call("container.running", **web)
    new = {**web, "environment": {"NEW": "1"}}
    killed(new, step)
    call("container.running", **new)
    assert _names(api, prefix) == {"web": "running"}
    assert "NEW=1" in api.inspect_container(f"{prefix}web")["Config"]["Env"]


@pytest.mark.parametrize("step", STEPS)
def test_the_next_run_can_go_back_to_the_old_container(call, api, prefix, web, killed, step):
    """The pillar was put back after the crash: the old spec runs, and nothing else is there."""
    call("container.running", **web)
    killed({**web, "environment": {"NEW": "1"}}, step)
    call("container.running", **web)
    assert _names(api, prefix) == {"web": "running"}
    env = api.inspect_container(f"{prefix}web")["Config"]["Env"] or []
    assert "NEW=1" not in env


@pytest.mark.parametrize(
    ("step", "times"),
    [("named", 1), ("started", 1), ("failed", 1), ("restored", 1), ("started", 2)],
)
def test_a_failing_replacement_that_was_killed_ends_with_the_old_container(
    call, api, prefix, web, killed, step, times
):
    """The next run tries once more, fails, and the old container runs: the very same."""
    call("container.running", **web)
    old = api.inspect_container(f"{prefix}web")["Id"]
    bad = {**web, "command": ["sh", "-c", "echo bad; sleep 1; exit 5"]}
    killed(bad, step, times)
    with pytest.raises(CommandExecutionError, match="exited with code 5"):
        call("container.running", **bad)
    assert _names(api, prefix) == {"web": "running", "web.failed": "exited"}
    assert api.inspect_container(f"{prefix}web")["Id"] == old


@pytest.mark.parametrize("step", ["created", "named", "started", "healthy"])
def test_a_first_creation_that_was_killed_is_finished(call, api, prefix, web, killed, step):
    """There is no old container to go back to."""
    killed(web, step)
    call("container.running", **web)
    assert _names(api, prefix) == {"web": "running"}


BESIDE = ["created", "started beside", "used", "told to leave", "left", "stopped", "set aside"]


@pytest.mark.parametrize("step", [*BESIDE, "named", "started", "healthy"])
@pytest.mark.parametrize("wanted", ["new", "old"])
def test_of_two_side_by_side_one_is_left(call, api, prefix, paired, killed, step, wanted):
    """Also when the pillar was put back after the crash; and it has its work again."""
    call("container.running", **paired)
    new = {**paired, "environment": {"NEW": "1"}}
    killed(new, step)
    spec = new if wanted == "new" else paired
    call("container.running", **spec)
    assert _names(api, prefix) == {"web": "running"}
    found = api.inspect_container(f"{prefix}web")
    assert ("NEW=1" in found["Config"]["Env"]) is (wanted == "new")
    assert call("container.exec", "web", ["test", "-e", "/tmp/leaving"])["retcode"] == 1
    assert found["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"


def test_an_old_container_that_was_told_to_leave_has_its_work_again(
    call, api, prefix, paired, killed
):
    """Its successor died with the replacement, and what is wanted now cannot be made."""
    call("container.running", **paired)
    killed({**paired, "environment": {"NEW": "1"}}, "told to leave")
    assert call("container.exec", "web", ["test", "-e", "/tmp/leaving"])["retcode"] == 0
    api.kill(f"{prefix}web.next")
    with pytest.raises(CommandExecutionError, match="not on this host"):
        call("container.running", **{**paired, "image": "saltern-test/none:1"})
    assert _names(api, prefix) == {"web": "running"}
    assert call("container.exec", "web", ["test", "-e", "/tmp/leaving"])["retcode"] == 1


def test_a_stop_takes_both_that_a_killed_replacement_has_left(call, api, prefix, paired, killed):
    call("container.running", **paired)
    killed({**paired, "environment": {"NEW": "1"}}, "used")
    assert call("container.stopped", "web") is True
    assert _names(api, prefix) == {"web": "exited", "web.next": "exited"}
    call("container.running", **paired)
    assert _names(api, prefix) == {"web": "running"}


def test_one_that_fails_beside_the_old_one_leaves_it_alone(call, api, prefix, paired):
    """The old container is the very same, and was never stopped."""
    call("container.running", **paired)
    old = api.inspect_container(f"{prefix}web")
    bad = {**paired, "command": ["sh", "-c", "echo bad; exit 5"], "restart_policy": "no"}
    with pytest.raises(CommandExecutionError, match="was not touched"):
        call("container.running", **bad)
    assert _names(api, prefix) == {"web": "running", "web.failed": "exited"}
    found = api.inspect_container(f"{prefix}web")
    assert found["State"]["StartedAt"] == old["State"]["StartedAt"]


def test_a_plan_tells_of_the_interrupted_replacement(call, web, killed):
    """Test mode says what the next run would do first."""
    call("container.running", **web)
    killed({**web, "environment": {"NEW": "1"}}, "set aside")
    plan = call("container.plan", **web)
    assert plan["action"] == "start"
    assert plan["changes"]["replacement"]["old"] == "interrupted"


@pytest.mark.parametrize("step", ["stopped", "set aside", "named"])
def test_the_old_container_runs_again_if_the_next_run_cannot_create(
    call, api, prefix, web, killed, step
):
    """The image went away between the runs: the service must not stay down for that."""
    call("container.running", **web)
    killed({**web, "environment": {"NEW": "1"}}, step)
    with pytest.raises(CommandExecutionError, match="not on this host"):
        call("container.running", **{**web, "image": "saltern-test/none:1"})
    assert _names(api, prefix) == {"web": "running"}


def test_absent_takes_away_what_was_left(call, api, prefix, web, killed):
    """Also the parts of an interrupted replacement."""
    call("container.running", **web)
    killed({**web, "environment": {"NEW": "1"}}, "named")
    assert len(call("container.absent", "web")) == 2
    assert _names(api, prefix) == {}


@pytest.fixture
def paired(web):
    """Return the arguments of a container that runs beside its successor."""
    tell = {"leave": ["sh", "-c", "echo >/tmp/leaving"], "stay": ["sh", "-c", "rm -f /tmp/leaving"]}
    return {**web, "places": ["a", "b"], "drain": 0, **tell}


def test_two_runs_never_change_one_container_at_once(call, web, prefix, salt_loaded):
    """The second one says so; a no-op is no change and goes on."""
    del web["healthcheck"]
    call("container.running", **web)
    lock = Path(salt_loaded.opts["saltern"]["var"], "locks", f"{prefix}web.lock")
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert call("container.running", **web)["action"] == "nothing"
        with pytest.raises(CommandExecutionError, match=f"another run is changing {prefix}web"):
            call("container.running", **{**web, "memory": "32m"})
    assert call("container.running", **{**web, "memory": "32m"})["action"] == "replace"


def _names(api, prefix):
    """Return the containers of this test: name without prefix to state."""
    found = api.containers(all=True, filters={"name": f"^/{prefix}"})
    return {one["Names"][0].removeprefix(f"/{prefix}"): one["State"] for one in found}
