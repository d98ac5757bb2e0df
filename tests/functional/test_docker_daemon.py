"""Docker's daemon as set-up runs it: a daemon of the test's own, which crashes and comes back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from saltern.containers.engine import Engine
from saltern.containers.host import Host
from saltern.containers.spec import Spec
from steps import SetupError
from steps import docker as step
from tests.dockerd import Machine

from .conftest import CHECKOUT, busybox_root

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(os.geteuid() != 0, reason="a Docker daemon needs root"),
]

OFF = ("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false")
SLEEPER = {
    "name": "sleeper",
    "image": "busybox:1",
    "command": ["sleep", "100000"],
    "stop_timeout": 1,
    "deadline": 20,
}


def sleeper(machine: Machine) -> dict[str, Any]:
    """Let the product run the container; return its state."""
    api = docker.APIClient(machine.url)
    if not api.images():
        api.import_image_from_data(busybox_root("test"), "busybox", "1")
    engine = Engine(machine.url)
    Host(engine).running(Spec.from_dict(SLEEPER), "test")
    return engine.inspect("sleeper")["State"]


@pytest.fixture
def root() -> Iterator[Path]:
    """Return a folder with a short name: sockets lie in it."""
    folder = Path(tempfile.mkdtemp(prefix="saltern-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def machine(root: Path) -> Iterator[Machine]:
    """Return a machine on which Docker has never run."""
    made = Machine(root)
    yield made
    made.end()


@pytest.fixture
def served(root: Path) -> Iterator[Machine]:
    """Return a machine on which a daemon runs already, with other settings than ours."""
    made = Machine(root, OFF)
    made.file.write_text("{}")
    step.start(made.config, made.daemon)
    yield made
    made.end()


def test_containers_outlive_a_daemon_that_crashes(machine: Machine):
    machine.set_up()
    before = sleeper(machine)

    machine.crash()
    assert machine.set_up().startswith("started")

    after = Engine(machine.url).inspect("sleeper")["State"]
    assert (after["Status"], after["Pid"]) == ("running", before["Pid"])


def test_a_new_daemon_gets_what_bootstrapped_hosts_get(machine: Machine):
    machine.set_up()

    assert json.loads(machine.file.read_text()) == {
        "live-restore": True,
        "log-driver": "json-file",
        "log-opts": {"max-size": "50m", "max-file": "5"},
        "bridge": "none",
        "iptables": False,
        "ip6tables": False,
        "ip-forward": False,
    }
    assert step.configure(machine.config, machine.daemon).changed is False
    assert step.start(machine.config, machine.daemon).changed is False


def test_a_running_daemon_takes_live_restore_without_a_restart(served: Machine):
    pid = served.pid()

    assert served.set_up().startswith("live-restore switched on")

    assert served.pid() == pid
    assert step.info(served.daemon)["LiveRestoreEnabled"] is True
    # Its network may serve others.
    assert set(json.loads(served.file.read_text())) == {"live-restore", "log-driver", "log-opts"}
    before = sleeper(served)
    served.crash()
    served.set_up()
    assert Engine(served.url).inspect("sleeper")["State"]["Pid"] == before["Pid"]


def test_a_crash_without_live_restore_is_mended_by_the_next_run(root: Path):
    """Docker notes then that the container was stopped by hand, and no restart policy starts it."""
    machine = Machine(root)
    machine.file.write_text('{"live-restore": false}')
    try:
        machine.set_up()
        sleeper(machine)
        machine.crash()
        machine.set_up()
        assert Engine(machine.url).inspect("sleeper")["State"]["Status"] == "exited"

        assert sleeper(machine)["Status"] == "running"
    finally:
        machine.end()


def test_a_start_waits_for_a_task_that_docker_has_lost(root: Path):
    """After a crash containerd may still hold the task of a container that Docker takes for stopped."""
    machine = Machine(root)
    machine.file.write_text('{"live-restore": false}')
    try:
        machine.set_up()
        left = sleeper(machine)["Pid"]
        machine.crash()
        record = next(machine.daemon.data.glob("containers/*/config.v2.json"))
        text = json.loads(record.read_text())
        text["State"].update(Running=False, Pid=0)
        record.write_text(json.dumps(text))
        machine.set_up()
        end = threading.Timer(2, os.kill, (left, signal.SIGKILL))
        end.start()

        state = sleeper(machine)

        end.join()
        assert state["Status"] == "running"
        assert state["Pid"] != left
    finally:
        machine.end()


@pytest.mark.parametrize(
    "own",
    [
        {"log-driver": "journald", "live-restore": False, "data-root": "/srv/docker"},
        {"log-opts": {"max-size": "1g"}, "dns": ["192.0.2.1"]},
    ],
)
def test_the_operators_settings_win_and_come_back(root: Path, own: dict[str, Any]):
    machine = Machine(root)
    machine.file.write_text(json.dumps(own))

    step.configure(machine.config, machine.daemon)

    made = json.loads(machine.file.read_text())
    assert made | own == made
    assert not {"log-driver", "log-opts"} & (made.keys() - own.keys())
    step.restore(machine.config, machine.daemon)
    assert json.loads(machine.file.read_text()) == own


def test_what_set_up_alone_wrote_is_gone_with_it(root: Path):
    machine = Machine(root)
    machine.file.touch()  # as a power cut leaves it: Docker refuses to start with it

    step.configure(machine.config, machine.daemon)
    assert json.loads(machine.file.read_text())["live-restore"] is True

    step.restore(machine.config, machine.daemon)
    assert not machine.file.exists()


def test_settings_that_are_no_json_are_named_and_kept(root: Path):
    machine = Machine(root)
    machine.file.write_text("{live-restore")

    with pytest.raises(SetupError, match=f"{machine.file} is no JSON"):
        step.configure(machine.config, machine.daemon)

    assert machine.file.read_text() == "{live-restore"


def test_a_member_of_a_swarm_stays_without_live_restore(root: Path):
    machine = Machine(root)
    state = machine.daemon.data / "swarm/docker-state.json"
    state.parent.mkdir(parents=True)
    state.touch()

    step.configure(machine.config, machine.daemon)

    assert "live-restore" not in json.loads(machine.file.read_text())


def test_mounts_are_shared_as_systemd_does_it():
    """Else Docker fails once, at boot, to start what mounts the host's network namespaces."""
    code = "from steps.docker import share as s; print(s(None).changed, s(None).changed)"
    alone = ["unshare", "--mount", "--propagation=private", sys.executable, "-B", "-c", code]
    said = subprocess.check_output(alone, cwd=CHECKOUT / "setup", text=True)

    assert said.split() == ["True", "False"]


def test_a_damaged_note_of_the_daemon_is_no_daemon(root: Path):
    machine = Machine(root)
    note = machine.config.stamps / "dockerd.pid"
    note.parent.mkdir(parents=True)
    note.touch()

    assert step.ours(machine.config) == []
