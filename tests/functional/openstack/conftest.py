"""The small cloud of the tests of OpenStack's services."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import clouds
import docker
import pytest
import yaml

from .small_cloud import CHECKOUT, EXTERNAL, HOST, INTERNAL, PREFIX, SERVICES, SmallCloud


@pytest.fixture(scope="session")
def small_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallCloud]:
    """Deploy MariaDB, memcached, HAProxy, the toolbox, Keystone and Glance once for all tests."""
    root = tmp_path_factory.mktemp("small")
    api = docker.APIClient(version="auto")
    missing = [one for one in SERVICES if not api.images(clouds.image(one))]
    if missing:
        pytest.skip(f"images are not built: {', '.join(missing)}; run salt-run image.build")
    hosts = {"small": {"address": HOST, "roles": ["control"]}}
    settings = {
        "internal_address": INTERNAL,
        "external_address": EXTERNAL,
        "hosts": hosts,
        # It waits for compute hosts, and there are none.
        "services": {"nova-cells": {"enabled": False}},
    }
    one = SmallCloud(root, api, {"saltern": settings})
    one.destroy()
    for folder in ("config", "pillar"):
        (root / folder).mkdir()
    (root / "pillar/top.sls").write_text("base: {'*': [view]}\n")
    config = {
        "id": "small",
        "file_client": "local",
        "root_dir": str(root),
        "cachedir": str(root / "cache"),
        "extension_modules": str(root / "extmods"),
        "module_dirs": [str(CHECKOUT)],
        "file_roots": {"base": [str(CHECKOUT / "salt"), str(CHECKOUT / "formulas")]},
        "pillar_roots": {"base": [str(root / "pillar")]},
        "saltern": {"etc": str(root / "etc"), "var": str(root / "var"), "prefix": PREFIX},
        "log_level": "critical",
        "enable_fqdns_grains": False,
        "enable_gpu_grains": False,
    }
    (root / "config/minion").write_text(yaml.safe_dump(config))
    try:
        one.deploy(*SERVICES)
        one.wait_for_glance()
        yield one
    finally:
        one.destroy()


@pytest.fixture
def kept_cloud(small_cloud: SmallCloud) -> Iterator[SmallCloud]:
    """Return the small cloud and put its pillar and secrets back after the test."""
    pillar, stored = copy.deepcopy(small_cloud.pillar), copy.deepcopy(small_cloud.secrets)
    yield small_cloud
    small_cloud.pillar, small_cloud.secrets = pillar, stored
    small_cloud.deploy("keystone", "glance")
