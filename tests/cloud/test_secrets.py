"""No generated secret stands where somebody else could read it."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from saltern import masking

SALT = (Path("/var/lib/saltern"), Path("/var/log/saltern"))


def leaks(cloud, text: str, where: str) -> list[str]:
    """Return the names of the secrets that a text holds."""
    return [
        f"{service}.{name} in {where}"
        for service, values in cloud.secrets().items()
        for name, value in values.items()
        for one in masking.values({name: value})
        if one in text
    ]


def test_no_secret_in_any_command_line_or_environment_that_docker_shows(cloud):
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += leaks(cloud, path.read_text(errors="replace"), str(path))
        except OSError:
            continue  # the process has ended
    for container in cloud.docker.containers.list(all=True):
        found += leaks(cloud, json.dumps(container.attrs), f"inspect {container.name}")
    assert found == []


def test_no_secret_in_container_logs(cloud):
    found = []
    for container in cloud.docker.containers.list(all=True, filters={"label": "saltern.service"}):
        found += leaks(cloud, container.logs().decode(errors="replace"), f"log {container.name}")
    assert found == []


def test_no_secret_in_images(cloud):
    found = []
    for image in cloud.docker.images.list(filters={"label": "saltern.hash"}):
        text = json.dumps([image.attrs, image.history()])
        found += leaks(cloud, text, f"image {image.tags}")
    assert found == []


def test_no_secret_in_job_cache_logs_or_caches_of_salt(cloud):
    found = []
    for root in SALT:
        for path in root.rglob("*"):
            if path.is_file() and "keyrings" not in path.parts and path.stat().st_size < 50 << 20:
                found += leaks(cloud, path.read_bytes().decode(errors="replace"), str(path))
    assert found == []


def test_no_secret_in_a_plan_that_changes_one(cloud):
    with cloud.pillar(keystone={"config": {"keystone.conf": {"database": {"max_pool_size": 7}}}}):
        plan = cloud.salt_run("saltern.plan").stdout
    assert "max_pool_size" in plan
    assert leaks(cloud, plan, "plan") == []


def test_files_that_hold_secrets_are_closed(cloud):
    open_ = []
    for root in (Path("/etc/saltern"), Path("/var/lib/saltern/keyrings")):
        for path in root.rglob("*"):
            if path.is_file() and path.stat().st_mode & (stat.S_IRWXO | stat.S_IWGRP):
                text = path.read_text(errors="replace")
                open_ += leaks(cloud, text, f"{path} {path.stat().st_mode:o}")
    assert open_ == []
