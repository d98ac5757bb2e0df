"""Old configuration and images go, and what is used, wanted or leads back stays."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Cloud

pytestmark = pytest.mark.docker

NAMESPACE = f"saltern-test-prune-{os.getpid()}"
OTHER = f"{NAMESPACE}-other/web:1"
PRUNE = ("state.orchestrate", "orch.prune")


def docker(*words: str, **options) -> str:
    """Run docker and return its output."""
    done = subprocess.run(["docker", *words], capture_output=True, check=True, **options)
    return done.stdout.decode().strip()


def tags() -> set[str]:
    """Return the tags that there are of the image of the test."""
    return set(docker("images", "--format", "{{.Tag}}", f"{NAMESPACE}/web").split())


@pytest.fixture
def host(cloud: Cloud) -> Iterator[Path]:
    """One host of the cloud, with images of its name and another's, each newer than the one before; its folder."""
    cloud.set_pillar(settings={"images": {"namespace": NAMESPACE}})
    tar = subprocess.run(["tar", "-C", "/", "-c", "bin/busybox"], capture_output=True, check=True)
    names = [f"{NAMESPACE}/web:{tag}" for tag in ("used", "recorded", "old", "previous", "2026.2")]
    for name in (OTHER, *names):
        # Docker counts seconds, and which is older matters.
        time.sleep(1.1)
        docker("import", "--change", f"LABEL test={name}", "-", name, input=tar.stdout)
    docker("create", "--name", f"{NAMESPACE}-stopped", names[0], "/bin/busybox", "true")
    home = cloud.folder / "minions/two"
    records = home / "var/revisions"
    records.mkdir(parents=True, exist_ok=True)
    (id_,) = docker("images", "--quiet", "--no-trunc", names[1]).split()
    container = {"image": names[1], "image_id": id_, "config": "named"}
    record = {"id": "0a1b", "release": "", "containers": {"web": container}, "once": {}}
    (records / "web.json").write_text(json.dumps([record]))
    for age, name in enumerate(("newest", "older", "named", "oldest"), 1):
        folder = home / "etc/services/web" / name
        folder.mkdir(parents=True)
        (folder / "web.conf").write_text("x" * 1000)
        os.utime(folder, (time.time() - age * 1000,) * 2)
    yield home
    docker("rm", "-f", f"{NAMESPACE}-stopped")
    left = docker("images", "--format", "{{.Repository}}:{{.Tag}}", f"{NAMESPACE}*/web").split()
    docker("rmi", *left)
    shutil.rmtree(records)
    shutil.rmtree(home / "etc/services")


def test_old_configuration_and_images_go_and_what_leads_back_stays(cloud: Cloud, host: Path):
    tested = cloud.run(*PRUNE, "test=True", hosts=["two"])
    assert tested.code == 0, tested.err
    would = "2 generations of configuration, 1 image (web older, oldest; "
    assert f"{would}{NAMESPACE}/web:old)" in tested.err
    assert "two: would free at least" in tested.err
    assert "Would free at least" in tested.out
    assert len(tags()) == 5 and len(list((host / "etc/services/web").iterdir())) == 4

    done = cloud.run(*PRUNE, hosts=["two"])
    assert done.code == 0, done.err
    assert f"{would}{NAMESPACE}/web:old)" in done.err
    assert "two: freed" in done.err
    assert tags() == {"used", "recorded", "previous", "2026.2"}
    assert docker("images", "-q", OTHER)
    assert {one.name for one in (host / "etc/services/web").iterdir()} == {"newest", "named"}

    again = cloud.run(*PRUNE, hosts=["two"])
    assert again.code == 0, again.err
    assert again.out.startswith("Nothing to remove.")
    kept = json.loads(cloud.run("saltern.history", "run=last", "--out=json").out)
    kept = kept.get("data", kept)["run"]
    assert (kept["command"], kept["result"]) == (
        """salt-run state.orchestrate orch.prune pillar='{"hosts": ["two"]}'""",
        "done",
    )
