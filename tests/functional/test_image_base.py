"""What every image has: a health check that sees its own container, and a way for servers to outlive theirs."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container

from saltern.images.options import Options
from saltern.images.workshop import Workshop, failure

pytestmark = pytest.mark.docker
ROOT = Path(__file__).parents[2] / "images"
GROUPS = Path("/sys/fs/cgroup")


@pytest.fixture(scope="module")
def base() -> str:
    """Return the name of the base image of this checkout, built if it is not."""
    shop = Workshop(ROOT, Options())
    results = shop.build(["base"], lambda event: None)
    assert not failure(results), failure(results)
    return shop.name("base")


@pytest.fixture
def start(base: str, prefix: str) -> Callable[..., Container]:
    """Return what starts a container that sees the host's processes; `prefix` removes it."""
    client = docker.from_env()

    def start(name: str, script: str, **more) -> Container:
        """Run a script of bash."""
        strict = {"cap_drop": ["ALL"], "read_only": True, "network_mode": "none"}
        host = {"pid_mode": "host", "cgroupns": "host", "entrypoint": ["bash", "-c", script]}
        return client.containers.run(
            base, name=prefix + name, detach=True, **strict, **host, **more
        )

    return start


@pytest.fixture
def group(prefix: str) -> Iterator[str]:
    """Return the name of a control group, whose processes end with the test."""
    yield prefix
    # Version 1 has one in each hierarchy.
    for folder in [GROUPS / prefix, *GROUPS.glob(f"*/{prefix}")]:
        with contextlib.suppress(FileNotFoundError):
            for pid in (folder / "cgroup.procs").read_text().split():
                process = os.pidfd_open(int(pid))
                signal.pidfd_send_signal(process, signal.SIGKILL)
                # It can be read when the process has ended.
                assert select.select([process], [], [], 30)[0]
            folder.rmdir()


def line(container: Container) -> str:
    """Return the first line that a container writes."""
    return next(container.logs(stream=True)).decode().strip()


def test_packages_are_not_installed_from_what_is_left_of_an_index(start):
    container = start(
        "apt",
        "apt-get -q -o APT::Sandbox::User=root update 2>&1",
        tmpfs={"/var/lib/apt/lists": "", "/tmp": ""},
    )
    assert container.wait()["StatusCode"] == 100
    assert "E: Failed to fetch http" in container.logs().decode()


def test_a_server_outlives_its_container(start, group):
    script = f"outlive /run/cgroup {group} bash -c 'echo $$; exec sleep 3600' & exec sleep 3600"
    groups = [f"{GROUPS}:/run/cgroup"]
    container = start("agent", script, volumes=groups, cap_add=["DAC_OVERRIDE"])
    server = Path("/proc", line(container))
    container.remove(force=True)
    assert server.joinpath("cmdline").read_bytes() == b"sleep\x003600\x00"
    assert f"/{group}" in server.joinpath("cgroup").read_text()


def test_other_processes_end_with_the_container_and_are_not_its_health(start):
    script = "echo $$; exec -a salterntest sleep 3600"
    container, other = start("one", script), start("two", "echo $$; exec sleep 3600")
    pid = line(container)
    assert line(other)
    check = ["healthcheck", "process", "salterntest"]
    assert container.exec_run(check).exit_code == 0
    assert other.exec_run(check).exit_code == 1
    container.remove(force=True)
    assert not Path("/proc", pid).exists()
