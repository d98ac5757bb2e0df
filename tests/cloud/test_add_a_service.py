"""docs/add-a-service.md, walked as written: its files become a running service without Python."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OVERRIDES = Path("/etc/saltern/overrides")
# A path that ends a line, and the file's text below.
BLOCK = re.compile(r"`((?:formulas|images|tests)/[^`]+)`:\n\n```\w*\n(.*?)^```", re.M | re.S)
SERVICES = ["valkey", "barbican"]


@pytest.fixture
def written(cloud):
    """Write the page's files into the overrides, and take all of it away again."""
    blocks = dict(BLOCK.findall((ROOT / "docs/add-a-service.md").read_text()))
    for name, text in blocks.items():
        if not name.startswith("tests/"):
            path = OVERRIDES / name.removeprefix("formulas/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    yield blocks
    cloud.orch("destroy", pillar={"confirm": "yes", "services": SERVICES}, check=False)
    for service in SERVICES:
        shutil.rmtree(OVERRIDES / service)
        shutil.rmtree(OVERRIDES / "images" / service)
    # What stays elsewhere, as the removal says; and the frontend.
    for kind in ("service", "user"):
        cloud.openstack(kind, "delete", "barbican", check=False)
    sql = ["mariadb", "--defaults-file=/etc/mysql/galera.cnf", "-e"]
    cloud.docker.containers.get("mariadb").exec_run(
        [*sql, "DROP DATABASE barbican; DROP USER barbican"]
    )
    cloud.orch("deploy")


def test_the_page_gives_running_services(cloud, written):
    assert len(written) == 12
    before = cloud.containers()
    cloud.salt_run("saltern.genpwd")
    cloud.salt_run("image.build", *SERVICES)
    plan = cloud.salt_run("saltern.plan").stdout
    assert [name for name in SERVICES if name not in plan] == []
    cloud.orch("deploy")
    valkey = cloud.docker.containers.get("valkey")
    code, _ = valkey.exec_run(["healthcheck", "tcp", "127.0.0.1", "6379"])
    assert code == 0
    assert valkey.exec_run(["id", "-u"]).output.strip() != b"0"
    code, answer = valkey.exec_run(["valkey-cli", "-h", "127.0.0.1", "ping"])
    assert b"NOAUTH" in answer, "the password from the secrets is in force"
    names: dict[str, object] = {}
    exec(written["tests/cloud/test_barbican.py"], names)
    names["test_a_secret_is_kept"](cloud)
    checked = cloud.orch("validate_config", pillar={"services": ["barbican"]}).stdout
    assert "FAILED" not in checked
    # HAProxy reads its new frontend; no container is touched.
    assert {name: cloud.containers()[name] for name in before} == before


def test_the_page_is_short():
    """Of a whole service of OpenStack no more than sixty lines are ours."""
    blocks = BLOCK.findall((ROOT / "docs/add-a-service.md").read_text())
    ours = [
        line for name, text in blocks if "barbican" in name for line in text.splitlines() if line
    ]
    assert len(ours) <= 60
