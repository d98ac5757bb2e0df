"""What kills an upgrade at each of its steps: the same command again ends well, or the way back does.

The steps are those of ``salt/orch/upgrade.sls``: a gate stands before each of them. Those in which hosts work are met
in the midst of that, too. Docker is a daemon of the test's own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
import yaml

from tests.dockerd import Machine

from ..conftest import HOSTS, PREFIX, ROOT, Cloud, until
from .conftest import NEW, OLD, Small

pytestmark = [
    pytest.mark.docker,
    pytest.mark.upgrades,
    pytest.mark.skipif(os.geteuid() != 0, reason="a Docker daemon needs root"),
]

PHASES = yaml.safe_load((ROOT / "salt/orch/upgrade.sls").read_text())
# Before each phase but the first one, when nothing has begun.
GATES = list(PHASES)[1:]
# In the midst of what hosts do.
WORK = ["upgrade_check", "expand", "migrate", "server", "contract"]
AT = pytest.mark.parametrize(
    "moments", [pytest.param(GATES, id="before_phases"), pytest.param(WORK, id="in_the_midst")]
)
# The host that does it.
FIRST = HOSTS[0]
GATE_STATE = """
import time
from pathlib import Path


def passed(name, log):
    if Path(log, f"hold-{name}").exists():
        Path(log, f"reached-{name}").touch()
    while Path(log, f"hold-{name}").exists():
        time.sleep(0.1)
    return {"name": name, "result": True, "changes": {}, "comment": ""}
"""


@pytest.fixture(scope="module")
def machine(daemons) -> Iterator[Machine]:
    """A daemon of the test's own, to which all minions speak."""
    root = Path(tempfile.mkdtemp(prefix="saltern-", dir="/tmp"))
    machine, cloud = Machine(root), Cloud(*daemons)
    with pytest.MonkeyPatch.context() as patch:
        machine.set_up()
        patch.setenv("DOCKER_HOST", machine.url)
        restart(cloud, HOSTS)
        yield machine
    restart(cloud, HOSTS)
    machine.end()
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def api(machine: Machine) -> docker.APIClient:
    """Return the SDK for that daemon."""
    return docker.APIClient(machine.url, version="auto")


@pytest.fixture(scope="module", autouse=True)
def gates(daemons) -> Iterator[None]:
    """Put a gate before each phase."""
    folder, _ = daemons
    state, table = folder / "salt/_states/gate.py", folder / "salt/orch/upgrade.sls"
    original = table.read_text()
    state.write_text(GATE_STATE)
    gated = {}
    for title, phase in PHASES.items():
        if title in GATES:
            gated[f"Gate: {title}"] = {
                "gate.passed": [{"name": title}, {"log": str(folder / "log")}]
            }
        gated[title] = phase
    table.write_text(f"#!yaml|phases\n{yaml.safe_dump(gated, sort_keys=False)}")
    yield
    table.write_text(original)
    state.unlink()


def restart(cloud: Cloud, hosts: tuple[str, ...]) -> None:
    """Restart minions and wait for their answers."""
    for host in hosts:
        cloud.restart(host)
    until(lambda: set(hosts) <= set(cloud.up()), 120)


def kill_the_command(small: Small, machine: Machine, command: subprocess.Popen) -> None:
    command.kill()
    command.wait()


def kill_the_master(small: Small, machine: Machine, command: subprocess.Popen) -> None:
    small.cloud.kill("master")
    small.cloud.restart("master")
    until(small.cloud.listens)
    until(lambda: set(small.cloud.up()) == set(HOSTS), 120)


def restart_a_minion(small: Small, machine: Machine, command: subprocess.Popen) -> None:
    restart(small.cloud, (FIRST,))


def restart_docker(small: Small, machine: Machine, command: subprocess.Popen) -> None:
    machine.crash()
    machine.set_up()


def is_whole(small: Small, release: str) -> None:
    """Assert that both services run a release with their old data, and that nothing is left of what was killed."""
    assert small.releases() == small.releases("front") == dict.fromkeys(HOSTS, release)
    services = ("store", "front")
    assert small.names() == {f"{PREFIX}{host}-{one}" for host in HOSTS for one in services}
    assert small.born() == {OLD}
    assert small.revisions() == small.revisions("front") == {release}
    assert not small.unfinished


def goes_on(small: Small, held: set[str], kill: Callable[[subprocess.Popen], None]) -> None:
    """Run the upgrade until all moments have been met, with a kill at each; it may fail after a kill, never before."""
    for moment in held:
        small.hold(moment)
    log = small.cloud.folder / "killed.log"
    while held:
        killed = []
        with (
            log.open("w") as screen,
            small.cloud.started("state.orchestrate", "orch.upgrade", stderr=screen) as command,
        ):
            while moment := _met(small, held, command):
                kill(command)
                small.let_go(moment)
                held.remove(moment)
                killed.append(moment)
        assert killed, log.read_text()


def _met(small: Small, held: set[str], command: subprocess.Popen) -> str | None:
    """Wait until one of the moments has come, and return it; nothing if the command has ended."""
    found: list[str] = []

    def met() -> bool:
        found[:] = [one for one in held if small.reached(one)]
        return bool(found) or command.poll() is not None

    until(met, 180)
    return found[0] if found else None


@pytest.mark.parametrize(
    "kill", [kill_the_command, kill_the_master, restart_a_minion, restart_docker]
)
@AT
def test_the_same_command_again_ends_well(small: Small, machine: Machine, kill, moments):
    small.set_pillar(NEW)

    goes_on(small, set(moments), lambda command: kill(small, machine, command))

    result = small.upgrade()
    assert result.code == 0, result.err
    is_whole(small, NEW)
    assert "Nothing to change." in small.cloud.deploy().err


@AT
def test_until_contract_begins_a_killed_upgrade_goes_back(small: Small, moments):
    small.set_pillar(NEW)
    for moment in [one for one in moments if one != "contract"]:
        _killed_at(small, moment)
        begun = small.unfinished

        result = small.rollback()

        assert result.code == (0 if begun else 1), f"{moment}: {result.err}"
        assert begun or "no upgrade is unfinished" in result.last_block
        is_whole(small, OLD)


def test_a_killed_contract_has_no_way_back_but_the_backup(small: Small):
    small.set_pillar(NEW)
    _killed_at(small, "contract")

    refused = small.rollback()

    assert refused.code == 1
    assert "the way back is the backup" in refused.last_block
    assert small.upgrade().code == 0
    is_whole(small, NEW)


def _killed_at(small: Small, moment: str) -> None:
    small.hold(moment)
    with small.cloud.started("state.orchestrate", "orch.upgrade"):
        until(lambda: small.reached(moment), 180)
    small.let_go(moment)
