"""Clouds for the render tests: the real formulas under the example pillars, with made-up secrets."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import yaml

from saltern import cloud, formulas, secrets

ROOT = Path(__file__).parents[2]
# The example pillars, and both with the other one of what exists twice.
_EXAMPLES = {
    "all-in-one": ROOT / "pillar/cloud.sls",
    "multinode": ROOT / "pillar/examples/multinode.sls",
}
_OPENVSWITCH = {"neutron": {"backend": "openvswitch"}}
TOPOLOGIES = {
    name + suffix: yaml.safe_load(path.read_text()) | changes
    for name, path in _EXAMPLES.items()
    for suffix, changes in {"": {}, "-openvswitch": _OPENVSWITCH}.items()
}


@functools.cache
def load(topology: str) -> cloud.Cloud:
    """Return the cloud of a topology."""
    catalog = formulas.load([ROOT / "formulas"])
    return cloud.load(TOPOLOGIES[topology], catalog, cloud.releases(ROOT / "images"))


@functools.cache
def view(topology: str, host: str) -> dict[str, Any]:
    """Return the pillar key ``cloud`` of a host, with new secrets."""
    stored, _ = secrets.fill(load(topology).catalog, {})
    users = yaml.safe_load((ROOT / "images/users.yml").read_text())
    return load(topology).view(host, stored, users)


def placements() -> list[tuple[str, str, str]]:
    """Return every topology, service and host that runs it."""
    return [
        (topology, service, host)
        for topology in TOPOLOGIES
        for service in load(topology).services
        for host in load(topology).placement[service]
    ]


def source(service: str):
    """Return a finder of a service's templates, as the minion has it."""

    def find(name: str) -> str | None:
        for folder in (ROOT / "formulas" / service / "files", ROOT / "formulas/_common"):
            if (folder / name).is_file():
                return (folder / name).read_text()
        return None

    return find
