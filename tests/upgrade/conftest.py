"""The all-in-one cloud of this machine, made anew with the older release."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from tests.cloud.conftest import ETC, ROOT, Cloud

# From which release to which: RELEASES="2025.1 2026.1" make upgrade-test
FROM, TO = os.environ.get("RELEASES", "2026.1 2026.2").split()


@dataclass
class Upgraded(Cloud):
    """The cloud, with an instance that can be reached.

    :ivar server: The instance's id.
    :ivar address: Its floating IP.
    """

    server: str = ""
    address: str = ""

    def __post_init__(self) -> None:
        super().__init__()

    def demo(self) -> None:
        """Boot the instance."""
        done = self.run("make", "demo")
        found = re.search(r"answers at http://([0-9.]+)/", done.stdout + done.stderr)
        assert found, done.stdout + done.stderr
        self.address = found[1]
        shown = self.openstack("server", "show", "demo", "-f", "value", "-c", "id")
        self.server = shown.stdout.strip()

    def set(self, **changes: Any) -> None:
        """Write the operator's pillar: the one of the checkout, changed."""
        pillar = yaml.safe_load((ROOT / "pillar/cloud.sls").read_text())
        pillar["saltern"] |= changes.pop("saltern", {})
        own = ETC / "pillar/cloud.sls"
        own.parent.mkdir(exist_ok=True)
        own.write_text(yaml.safe_dump(pillar | changes))

    def releases(self) -> dict[str, set[str]]:
        """Return the releases of OpenStack's images that run, each with its containers."""
        found: dict[str, set[str]] = {}
        mine = {"label": ["saltern.service", "saltern.prefix="]}
        for one in self.docker.containers.list(filters=mine):
            release = one.attrs["Config"]["Image"].rpartition(":")[2]
            if re.fullmatch(r"\d{4}\.\d", release):
                found.setdefault(release, set()).add(one.name)
        return found


@pytest.fixture(scope="session")
def old() -> Iterator[Upgraded]:
    """Return a new cloud of the older release; the images of the newer one are there, too."""
    if not shutil.which("dockerd") or not (ETC / "salt/master").exists():
        pytest.fail("This machine is not set up: run make setup")
    own = ETC / "pillar/cloud.sls"
    before = own.read_text() if own.exists() else None
    cloud = Upgraded()
    if cloud.containers():
        if os.environ.get("CONFIRM") != "yes":
            pytest.fail(
                "It deploys an older release in place of this machine's cloud, with its data: "
                "make upgrade-test CONFIRM=yes"
            )
        # One of the older release is what is wanted.
        if set(cloud.releases()) != {FROM}:
            cloud.orch("destroy", pillar={"confirm": "yes"})
    cloud.salt_run("image.build", f"release={TO}")
    cloud.set(saltern={"release": FROM})
    cloud.run("make", "deploy")
    cloud.demo()
    yield cloud
    if before is None:
        own.unlink()
    else:
        own.write_text(before)
