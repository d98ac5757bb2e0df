"""docs/add-a-service.md, walked as written: its files become a running service without Python."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OVERRIDES = Path("/etc/saltern/overrides")
BLOCK = re.compile(r"^`((?:formulas|images)/[^`]+)`:\n\n```\w*\n(.*?)^```", re.M | re.S)


@pytest.fixture
def written(cloud):
    """Write the page's files into the overrides, and take all of it away again."""
    blocks = BLOCK.findall((ROOT / "docs/add-a-service.md").read_text())
    folders = set()
    for name, text in blocks:
        path = OVERRIDES / name.removeprefix("formulas/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        depth = 2 if name.startswith("images/") else 1
        folders.add(OVERRIDES.joinpath(*path.relative_to(OVERRIDES).parts[:depth]))
    yield [name for name, _ in blocks]
    cloud.orch("destroy", pillar={"confirm": "yes", "services": ["valkey"]}, check=False)
    for folder in folders:
        shutil.rmtree(folder)


def test_the_page_gives_a_running_service(cloud, written):
    assert len(written) == 5
    before = cloud.containers()
    cloud.salt_run("saltern.genpwd")
    cloud.salt_run("image.build", "valkey")
    assert "valkey" in cloud.salt_run("saltern.plan").stdout
    cloud.orch("deploy")
    valkey = cloud.docker.containers.get("valkey")
    code, _ = valkey.exec_run(["healthcheck", "tcp", "127.0.0.1", "6379"])
    assert code == 0
    assert valkey.exec_run(["id", "-u"]).output.strip() != b"0"
    code, answer = valkey.exec_run(["valkey-cli", "-h", "127.0.0.1", "ping"])
    assert b"NOAUTH" in answer, "the password from the secrets is in force"
    assert {name: cloud.containers()[name] for name in before} == before
