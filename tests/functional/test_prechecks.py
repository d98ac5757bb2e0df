"""What prechecks see of a host: programs of its own, told from those of containers."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .conftest import CHECKOUT


@pytest.fixture(scope="module")
def precheck():
    """Return the execution module."""
    spec = importlib.util.spec_from_file_location("precheck", CHECKOUT / "_modules/precheck.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def running(*command: str) -> Iterator[None]:
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            process.stdout.readline()  # it has become what it is
            yield
        finally:
            process.kill()


def test_a_container_keeps_the_dns_servers_of_its_start_and_is_found(
    precheck, call, api, web, prefix
):
    call("container.running", **web)
    name = f"{prefix}web"
    own, found = precheck._resolvers(api, api.info())
    assert precheck.prechecks.dns(own, {name: found[name]})["ok"]
    changed = ["nameserver 192.0.2.77"]  # as after a change of the host's file
    assert name in precheck.prechecks.dns(changed, {name: found[name]})["found"]


SHELL = ["-c", "echo; read line"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_program_of_the_host_is_told_from_that_of_a_container(precheck, tmp_path: Path, image):
    name = "saltern-probe-d"
    (tmp_path / "bin").mkdir()
    shutil.copy("/bin/busybox", tmp_path / "bin/sh")
    shutil.copy("/bin/bash", tmp_path / name)
    shutil.copy("/bin/busybox", tmp_path / "bin" / name)

    # As libvirtd: in the host's process namespace and control groups, on a container's file system.
    rename = f"echo {name} >/proc/$$/comm; echo; read line"
    mounted = ["chroot", str(tmp_path), "/bin/sh"]
    subprocess.run(["mkdir", "-p", str(tmp_path / "proc")], check=True)
    subprocess.run(["mount", "--bind", "/proc", str(tmp_path / "proc")], check=True)
    try:
        with running(*mounted, "-c", rename):
            assert not precheck._runs()(name)
    finally:
        subprocess.run(["umount", str(tmp_path / "proc")], check=True)

    with running(str(tmp_path / name), *SHELL):
        assert precheck._runs()(name)
