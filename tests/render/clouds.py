"""Clouds for the render tests: the real formulas under the example pillars, with made-up secrets."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import yaml

from saltern.cloud import demand, formulas, loading, model, secrets, validate
from saltern.cloud.view import host_view
from saltern.images.options import Options
from saltern.images.tags import tags
from saltern.tls import authority, store

ROOT = Path(__file__).parents[2]
# Of images that are the same for every release.
TAGS = tags(ROOT / "images", Options())
# The example pillars, and both with the other one of what exists twice.
_EXAMPLES = {
    "all-in-one": ROOT / "pillar/cloud.sls",
    "multinode": ROOT / "pillar/examples/multinode.sls",
    "tls": ROOT / "pillar/examples/tls.sls",
}
# Each role on hosts of its own, and what is off by default.
_APART = {
    "saltern": {
        "internal_address": "10.0.0.9",
        "external_address": "10.0.0.10",
        "services": {"chrony": {"enabled": True}},
        "hosts": {
            f"{role}{number}": {"address": f"10.0.0.{20 * index + number + 10}", "roles": [role]}
            for index, role in enumerate(validate.ROLES)
            for number in range(1, 1 + {"control": 3, "network": 2}.get(role, 1))
        },
    },
    "cinder": {"backends": ["rbd", "file"]},
    "cinder-volume": {"backup": "ceph", "config": {"ceph.conf": "[global]\n"}},
    "libvirt": {"ceph": True},
    "nova-compute": {"config": {"ceph.conf": "[global]\n"}},
}
_PILLARS = {
    **{name: yaml.safe_load(path.read_text()) for name, path in _EXAMPLES.items()},
    "roles-apart": _APART,
}
_OPENVSWITCH = {"neutron": {"backend": "openvswitch"}}
TOPOLOGIES = {
    name + suffix: pillar | changes
    for name, pillar in _PILLARS.items()
    for suffix, changes in {"": {}, "-openvswitch": _OPENVSWITCH}.items()
}


@functools.cache
def load(topology: str) -> model.Cloud:
    """Return the cloud of a topology."""
    catalog = formulas.load([ROOT / "formulas"])
    return loading.load(TOPOLOGIES[topology], catalog, loading.releases(ROOT / "images"))


def grown(topology: str, computes: int) -> model.Cloud:
    """Return the cloud of a topology with so many compute hosts."""
    pillar = TOPOLOGIES[topology]
    hosts = {
        name: one
        for name, one in pillar["saltern"]["hosts"].items()
        if "compute" not in one["roles"]
    }
    for number in range(computes):
        address = f"10.1.{number // 250}.{number % 250 + 1}"
        hosts[f"compute{number + 1}"] = {"address": address, "roles": ["compute"]}
    pillar = {**pillar, "saltern": {**pillar["saltern"], "hosts": hosts}}
    catalog = formulas.load([ROOT / "formulas"])
    return loading.load(pillar, catalog, loading.releases(ROOT / "images"))


@functools.cache
def view(topology: str, host: str) -> dict[str, Any]:
    """Return the pillar key ``cloud`` of a host, with new secrets."""
    stored, _ = secrets.fill(load(topology).catalog, {})
    stored["libvirt"]["ceph_key"] = "AQBaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=="
    stored["certificates"] = _certificates(topology)
    users = yaml.safe_load((ROOT / "images/users.yml").read_text())
    return host_view(load(topology), host, stored, users, TAGS)


def image(name: str, namespace: str = "saltern") -> str:
    """Return the full name of an image."""
    return Options(namespace=namespace).name(name, TAGS.get(name, ""))


@functools.cache
def _certificates(topology: str) -> dict[str, str]:
    """Return the certificates of a cloud, made by an authority of its own; none without TLS."""
    needed, now = demand.wanted(load(topology)), store.now()
    reasons = store.plan(needed, {}, "", now, 0)
    return authority.make(reasons, needed, {}, "", now) if reasons else {}


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
