"""Volumes in files: who may have them saved while an instance uses them, and which of them grow."""

from __future__ import annotations

import copy

import pytest
import yaml
from clouds import source, view

from saltern.service import generation, scope

MACHINE = scope.Machine(cpus=4, memory_mb=8192)
ROLE = "nova_and_cinder_admin"


def policy(service: str, backends: list[str]) -> dict[str, str]:
    """Return policy.yaml of a service with some backends of Cinder."""
    cloud = copy.deepcopy(view("all-in-one", "aio"))
    cloud["services"]["cinder"]["options"]["backends"] = backends
    names = scope.Context(cloud, service, MACHINE)
    written = generation.render(service, cloud["formulas"][service], source(service), names)
    return yaml.safe_load(written.files["policy.yaml"].text) or {}


@pytest.mark.parametrize("service", ["nova", "cinder"])
def test_cinders_role_has_its_right_only_where_volumes_are_files(service):
    assert ROLE in policy(service, ["rbd", "file"])["context_is_admin"]
    assert "context_is_admin" not in policy(service, ["rbd"])


@pytest.mark.parametrize(
    ("backends", "refused"), [(["file"], True), (["file", "rbd"], False), (["rbd"], False)]
)
def test_growing_a_volume_in_use_is_refused_at_once_where_no_backend_can(backends, refused):
    assert (policy("cinder", backends).get("volume:extend_attached_volume") == "!") is refused
