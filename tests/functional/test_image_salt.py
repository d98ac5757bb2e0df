"""The runner of images as the master loads it. Minions have none: only Python reaches them, no tree of images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import salt.config
import salt.loader
import yaml

from .conftest import CHECKOUT

pytestmark = pytest.mark.docker
NAMESPACE = "saltern-test-never-built"


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Any]:
    """Return a function that calls a runner with the pillar of a cloud of one host."""
    host = {"address": "127.0.9.1", "roles": ["control"]}
    described = {"saltern": {"internal_address": "127.0.9.2", "external_address": "127.0.9.3"}}
    described["saltern"]["hosts"] = {"one": host}
    (tmp_path / "pillar").mkdir()
    (tmp_path / "pillar/top.sls").write_text("base: {'*': [cloud]}\n")
    (tmp_path / "pillar/cloud.sls").write_text(yaml.safe_dump(described))
    saltern = {"formulas": [str(CHECKOUT / "formulas")], "images": str(CHECKOUT / "images")}
    opts = salt.config.master_config(None)
    opts.update(
        id="test_master",
        root_dir=str(tmp_path),
        cachedir=str(tmp_path / "cache"),
        sock_dir=str(tmp_path / "sock"),
        extension_modules=str(tmp_path / "extmods"),
        module_dirs=[str(CHECKOUT / "salt")],
        pillar_roots={"base": [str(tmp_path / "pillar")]},
        ext_pillar=[{"saltern": saltern}],
        file_client="local",
        saltern={"etc": str(tmp_path / "etc"), "var": str(tmp_path / "var"), "prefix": ""},
    )
    runners = salt.loader.runner(opts)
    return lambda function, *names, **options: runners[function](*names, **options)


def failed(answer: dict[str, Any]) -> str:
    """Return what a person reads of a run that failed."""
    assert answer["retcode"] == 1
    return answer["data"]["failed"]


def test_the_tree_starts_with_the_root_file_system(run):
    lines = run("image.tree").splitlines()
    assert lines[0] == "rootfs"
    assert any("keystone" in line for line in lines)


def test_dockerfiles_are_returned_or_written(run, tmp_path):
    text = run("image.render", "keystone", base="rocky", install_type="binary")["keystone"]
    assert "dnf" in text
    written = run("image.render", "keystone", directory=str(tmp_path / "out"))
    assert (tmp_path / "out/keystone/Dockerfile").read_text().startswith("FROM ")
    assert set(written) == {"keystone"}


def test_a_mistake_is_one_clear_message(run):
    assert "Did you mean 'base'" in failed(run("image.build", bse="ubuntu"))
    assert "Did you mean 'keystone'" in failed(run("image.build", "keyston"))


def test_the_plan_says_what_would_be_built_and_why(run):
    # With a mirror that no image here was built from: the same image under another name is not built.
    mirror = "http://mirror.example.org/debian"
    found = run("image.plan", "base", namespace=NAMESPACE, apt_mirror=mirror)
    assert found == {"base": "missing", "rootfs": "missing"}


def test_the_plan_without_names_is_that_of_the_cloud_and_all_is_of_every_image(run):
    of_cloud = run("image.plan", namespace=NAMESPACE)
    assert "keystone" in of_cloud
    assert "tempest" not in of_cloud
    assert "tempest" in run("image.plan", "all", namespace=NAMESPACE)
