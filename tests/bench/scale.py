"""Measure how Saltern grows with its hosts: one pillar at up to 10,000, up to a hundred minions of one master.

Prints a table and adds its figures to ``build/bench.json``. Run by ``make bench-scale``; what it starts is its
own and ends with it.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import pillars
import salt.config
import salt.pillar
from bed import ROOT, Bed
from rich.console import Console
from rich.table import Table

RESULT = ROOT / "build/bench.json"
COUNTS = (3, 10, 30, 100)
# Kolla-Ansible on such a machine: one run of its most trivial role over 100 hosts.
PEER = {"hosts": 100, "wall_s": 360.0, "cpu_s": 559.0}
# A service that every host of the bed runs, and an option that changes one of its files on each.
SERVICE, OPTION = "ovn-controller", "probe_interval"


class Timed:
    """What a command took.

    :ivar wall: Seconds.
    :ivar cpu: CPU seconds by who used them: ``command``, ``master``, ``minions``, ``dockerd``.
    :ivar out: What it wrote.
    """

    def __init__(self, bed: Bed, *words: str) -> None:
        before, own, start = bed.cpu(), _children(), time.monotonic()
        done = subprocess.run(bed.command(*words), capture_output=True, text=True, check=False)
        self.wall = round(time.monotonic() - start, 1)
        after = bed.cpu()
        self.cpu = {name: round(after[name] - before[name], 1) for name in after}
        self.cpu["command"] = round(_children() - own, 1)
        self.out = done.stdout
        if done.returncode:
            sys.exit(f"{' '.join(words)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def pillar_s(bed: Bed) -> float:
    """Return the CPU seconds in which one process of the master compiles the pillars of all hosts."""
    opts = salt.config.master_config(bed.command()[2] + "/master")
    salt.pillar.Pillar(opts, {"id": bed.running[0]}, bed.running[0], "base").compile_pillar()
    start = time.process_time()
    for host in bed.running:
        pillar = salt.pillar.Pillar(opts, {"id": host}, host, "base").compile_pillar()
        if "formulas" not in pillar.get("cloud", {}):
            sys.exit(f"the pillar of {host} is wrong: {pillar}")
    return round(time.process_time() - start, 2)


def measure(bed: Bed) -> dict[str, Any]:
    """Return the figures of the bed as large as it is."""
    count = len(bed.running)
    plan = Timed(bed, "saltern.plan", "--out=json")
    wrong = {host: one for host, one in json.loads(plan.out)["plan"].items() if one}
    if wrong:
        sys.exit(f"a plan after a highstate has changes: {json.dumps(wrong, indent=1)[:3000]}")
    noop = Timed(bed, "state.orchestrate", "orch.deploy")
    bed.set_pillar(**{SERVICE: {OPTION: 60 + count}})
    change = Timed(bed, "state.orchestrate", "orch.deploy", "--out=json")
    if f"Changed 1 service on {count} hosts." not in change.out:
        sys.exit(f"a changed option did not reach all hosts:\n{change.out[-3000:]}")
    figures: dict[str, Any] = {"pillar_s": pillar_s(bed)}
    for name, timed in (("plan", plan), ("noop", noop), ("change", change)):
        figures |= {f"{name}_s": timed.wall, f"{name}_cpu_s": timed.cpu}
    return figures | {"master_mb": bed.master_mb()}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts", type=int, nargs="*", help=f"hosts; default: {COUNTS}")
    parser.add_argument("--pillar", action="store_true", help="measure no minions, pillars alone")
    given = parser.parse_args()
    console = Console()
    with console.status("pillars"):
        scale = {str(count): pillars.measure(count) for count in pillars.COUNTS}
    note("scale_pillar", scale)
    show("One pillar by the number of hosts", scale, console)
    if not given.pillar:
        minions(sorted(given.counts or COUNTS), console)


def minions(counts: list[int], console: Console) -> None:
    """Measure master and minions with so many hosts, print and write."""
    scale: dict[str, dict[str, Any]] = {}
    with Bed(counts[-1]) as bed:
        for count in counts:
            with console.status(f"{count} hosts"):
                bed.grow(count)
                scale[str(count)] = measure(bed)
            console.print(f"{count} hosts: {scale[str(count)]}")
            note("scale", scale)
    show("Saltern by the number of its hosts, on this machine", scale, console)
    compare(scale, console)


def note(name: str, scale: dict[str, dict[str, Any]]) -> None:
    """Add the figures to those of the other benchmarks."""
    RESULT.parent.mkdir(exist_ok=True)
    figures = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    figures[name] = figures.get(name, {}) | scale
    RESULT.write_text(json.dumps(figures, indent=2) + "\n")


def show(title: str, scale: dict[str, dict[str, Any]], console: Console) -> None:
    """Print the figures, a column a number of hosts."""
    table = Table("hosts", *scale, title=title)
    for name in next(iter(scale.values())):
        cells = [one[name] for one in scale.values()]
        table.add_row(
            name, *(str(sum(c.values())) if isinstance(c, dict) else str(c) for c in cells)
        )
    console.print(table)


def compare(scale: dict[str, dict[str, Any]], console: Console) -> None:
    """Print how a change at the peer's number of hosts compares with it."""
    ours = scale.get(str(PEER["hosts"]))
    if ours:
        wall, cpu = ours["change_s"], sum(ours["change_cpu_s"].values())
        console.print(
            f"One changed option on {PEER['hosts']} hosts: {wall} s and {cpu:.0f} CPU seconds. "
            f"Kolla-Ansible's most trivial role: {PEER['wall_s']:g} s and {PEER['cpu_s']:g}: "
            f"{PEER['wall_s'] / wall:.0f} times the wall clock, {PEER['cpu_s'] / cpu:.0f} times the CPU."
        )


if __name__ == "__main__":
    main()
