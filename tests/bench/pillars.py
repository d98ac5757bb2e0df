"""What one host's pillar costs a master by the number of hosts: CPU seconds and size, no minion needed."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import salt.config
import salt.payload
import salt.pillar
import yaml
from bed import Settings, write_master

COUNTS = (10, 100, 1_000, 10_000)
# What is not compute, as each role has hosts of its own in tests/render/clouds.py.
_APART = {"control": 3, "network": 2, "storage": 1, "monitoring": 1}
# Pillars of which the cheapest counts: this machine may do other things as well.
_TIMES = 3


def measure(count: int) -> dict[str, float]:
    """Return what a pillar costs in a cloud of so many hosts.

    ``cpu_s`` and ``kb`` are a compute host's in a master that has made pillars of others before, ``first_cpu_s``
    those of the very first one; the pillar is compiled by Salt as for a minion. ``control_`` are a control host's.
    """
    with (
        tempfile.TemporaryDirectory(prefix="saltern-pillars-") as folder,
        multiprocessing.get_context("fork").Pool(1) as process,
    ):
        return process.apply(_measure, (Path(folder), count))


def _measure(folder: Path, count: int) -> dict[str, float]:
    parts = {name: folder / name for name in ("checkout", "etc", "var", "log", "run")}
    master = Settings(**parts)
    write_master(master)
    (master.etc / "pillar/cloud.sls").write_text(yaml.safe_dump(_pillar(count), sort_keys=False))
    opts = salt.config.master_config(str(master.config_dir / "master"))
    figures: dict[str, float] = {}
    # Salt's own modules have been imported long before a master makes its first pillar.
    salt.pillar.Pillar({**opts, "ext_pillar": []}, {}, opts["id"], "base").compile_pillar()
    figures["first_cpu_s"], figures["kb"] = _compile(opts, "compute1")
    figures["cpu_s"] = min(_compile(opts, f"compute{one}")[0] for one in range(1, 1 + _TIMES))
    control = [_compile(opts, f"control{one}") for one in range(1, 1 + _TIMES)]
    figures["control_cpu_s"], figures["control_kb"] = min(one for one, _ in control), control[0][1]
    return figures


def _compile(opts: dict[str, Any], host: str) -> tuple[float, float]:
    """Return the CPU seconds and the kilobytes of a host's pillar."""
    start = time.process_time()
    pillar = salt.pillar.Pillar(opts, {"id": host}, host, "base").compile_pillar()
    spent = time.process_time() - start
    if "formulas" not in pillar.get("cloud", {}):
        raise ValueError(f"the pillar of {host} is wrong: {str(pillar)[:3000]}")
    return round(spent, 3), round(len(salt.payload.dumps(pillar)) / 1000, 1)


def _pillar(count: int) -> dict[str, Any]:
    hosts = {
        name: {"address": f"10.1.{number // 250}.{number % 250 + 1}", "roles": [role]}
        for number, (name, role) in enumerate(_names(count))
    }
    return {"saltern": {"internal_address": "10.9.0.1", "hosts": hosts}}


def _names(count: int) -> Iterator[tuple[str, str]]:
    """Yield minion id and role of so many hosts."""
    roles = _APART | {"compute": count - sum(_APART.values())}
    for role, hosts in roles.items():
        yield from ((f"{role}{number}", role) for number in range(1, hosts + 1))
