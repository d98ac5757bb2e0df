"""The all-in-one cloud of this machine, deployed as an operator does it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml

from saltern.containers.dockerapi import LABEL_ONCE

ROOT = Path(__file__).parents[2]
ETC = Path("/etc/saltern")


class Cloud:
    """What an operator has: the commands, the pillar, the containers."""

    def __init__(self) -> None:
        self.docker = docker.from_env()

    def run(
        self, *command: str, check: bool = True, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command from the checkout; on failure the whole output is the assertion's text."""
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, **more
        )
        if check:
            assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done

    def salt_run(self, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a runner through the Saltfile, without flags."""
        return self.run(str(Path(sys.executable).with_name("salt-run")), *arguments, **more)

    def orch(self, name: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run an orchestration; keyword ``pillar`` goes to it as YAML."""
        pillar = more.pop("pillar", None)
        extra = [f"pillar={json.dumps(pillar)}"] if pillar else []
        return self.salt_run("state.orchestrate", f"orch.{name}", *extra, **more)

    def openstack(self, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run the command that post_deploy installs."""
        return self.run("openstack", "--os-cloud", "saltern", *arguments, **more)

    def containers(self) -> dict[str, str]:
        """Return name and id of every container that serves: no task, nothing that a change left."""
        mine = {"label": ["saltern.service", "saltern.prefix="]}
        found = self.docker.containers.list(all=True, filters=mine)
        return {
            one.name: one.id
            for one in found
            if "." not in one.name and LABEL_ONCE not in one.labels
        }

    def secrets(self) -> dict[str, dict[str, Any]]:
        """Return all generated secrets."""
        return yaml.safe_load((ETC / "secrets.yml").read_text())

    @contextmanager
    def pillar(self, **changes: Any) -> Iterator[None]:
        """Add top-level keys to the operator's pillar, and take them away again."""
        own = ETC / "pillar/cloud.sls"
        before = own.read_text() if own.exists() else None
        data = yaml.safe_load(before or (ROOT / "pillar/cloud.sls").read_text())
        own.parent.mkdir(exist_ok=True)
        own.write_text(yaml.safe_dump(data | changes))
        try:
            yield
        finally:
            if before is None:
                own.unlink()
            else:
                own.write_text(before)

    def settings(self, **changes: Any) -> AbstractContextManager[None]:
        """Add keys to ``saltern`` of the operator's pillar, and take them away again."""
        own = ETC / "pillar/cloud.sls"
        data = yaml.safe_load((own if own.exists() else ROOT / "pillar/cloud.sls").read_text())
        return self.pillar(saltern=data["saltern"] | changes)


@pytest.fixture(scope="session")
def cloud() -> Iterator[Cloud]:
    """Return the deployed cloud: what ``make deploy`` does after the set-up."""
    if not shutil.which("dockerd") or not (ETC / "salt/master").exists():
        pytest.fail("This machine is not set up: run make setup")
    cloud = Cloud()
    # What tests break they look at, and mend themselves; test_remediation.py switches it on.
    with cloud.settings(remediation={"enabled": False}):
        cloud.run("make", "deploy")
        yield cloud
