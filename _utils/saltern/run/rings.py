"""Rings of keys: rotated on the master, and brought to every host of their service before the next rotation."""

from __future__ import annotations

from pathlib import Path

from saltern.cloud import secrets
from saltern.run.fleet import Run
from saltern.run.progress import Phase
from saltern.run.rotation import Rotation


def rotate(run: Run, phase: Phase, path: str | Path, ring: Rotation, deadline: float) -> int:
    """Rotate a ring; return how many keys it has then.

    All hosts get the present ring first: the key that becomes the primary one must be everywhere before it is used,
    also where an earlier run was killed between rotation and delivery.

    :param path: The secrets file.
    :param deadline: Seconds a host has for each step.
    :raises RolloutError: A host is silent or fails.
    """
    _deliver(run, phase, ring, deadline)
    _reencrypt(run, phase, ring, deadline)
    stored = secrets.read(path)
    keys = secrets.rotate(stored[ring.service][ring.name], ring.size(run.cloud))
    stored[ring.service][ring.name] = keys
    secrets.write(path, stored)
    _deliver(run, phase, ring, deadline)
    _reencrypt(run, phase, ring, deadline)
    return len(keys)


def _deliver(run: Run, phase: Phase, ring: Rotation, deadline: float) -> None:
    service = ring.service
    for name, one in run.cloud.catalog[service].get("keyrings", {}).items():
        if one["secret"] == ring.name:
            state = {"fun": "keyring.present", "name": name, "service": service}
            calls = dict.fromkeys(run.cloud.placement[service], state)
            run.fleet.call(phase, "state.single", calls, deadline)


def _reencrypt(run: Run, phase: Phase, ring: Rotation, deadline: float) -> None:
    """Bring what a ring protects to its primary key: a key that is still in use would be lost in time."""
    if ring.declaration.get("rotate", {}).get("reencrypt"):
        first = run.cloud.placement[ring.service][0]
        call = {first: {"phase": "reencrypt", "services": [ring.service]}}
        run.fleet.call(phase, "phase.run", call, deadline)
