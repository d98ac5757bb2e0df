"""Measure what operators wait for, on the deployed all-in-one of this machine.

Prints a table and adds its figures to ``build/bench.json``. Run by ``make bench``; nothing of the cloud is
changed unless ``--destroy`` is given, which takes it down to measure a whole deploy.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import docker
import psutil
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
RESULT = ROOT / "build/bench.json"
# Seconds measured for Kolla and Kolla-Ansible on a machine like CI's (wall; genconfig in CPU).
PEER = {"image_render_s": 9.0, "image_noop_build_s": 16.0, "genconfig_cpu_s": 225.0}


def daemons(program: str) -> list[psutil.Process]:
    """Return the processes of a Salt daemon of this set-up."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if program in line.lower() and "/etc/saltern/salt" in line:
            found.append(process)
    return [*found, *(child for one in found for child in one.children(recursive=True))]


def cpu_of_daemons() -> float:
    """Return CPU seconds that master and minion and their ended children have used."""
    total = 0.0
    for process in {*daemons("salt-master"), *daemons("salt-minion")}:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def memory_mb(program: str) -> float:
    """Return the proportional set size of a daemon's processes in MB (shared pages once)."""
    total = 0
    for process in set(daemons(program)):
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return round(total / 1e6, 1)


def measure(*command: str, runs: int = 3) -> tuple[float, float]:
    """Return the median wall and CPU seconds of a command, the daemons' share included."""
    walls, cpus = [], []
    for _ in range(runs):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        daemon, start = cpu_of_daemons(), time.monotonic()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        walls.append(time.monotonic() - start)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        cpus.append(own + max(0.0, cpu_of_daemons() - daemon))
        if done.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return round(statistics.median(walls), 2), round(statistics.median(cpus), 2)


def idle(seconds: float = 60) -> dict[str, Any]:
    """Return what the cloud costs while nobody uses it: memory and CPU of all its containers.

    :param seconds: How long CPU time is counted.
    """
    api = docker.APIClient(version="auto")
    ours = {"label": ["saltern.service", "saltern.prefix="]}

    def now() -> dict[str, tuple[float, float]]:
        """Return MB of memory (without reclaimable file cache) and CPU seconds of each container."""
        found = {}
        for one in api.containers(filters=ours):
            stats = api.stats(one["Id"], stream=False, one_shot=True)
            memory = stats["memory_stats"]
            cache = memory["stats"].get("total_inactive_file", memory["stats"].get("inactive_file"))
            used = (memory["usage"] - cache) / 1e6
            cpu = stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9
            found[one["Names"][0].lstrip("/")] = used, cpu
        return found

    before, start = now(), time.monotonic()
    time.sleep(seconds)
    after, passed = now(), time.monotonic() - start
    spent = sum(cpu - before[name][1] for name, (_, cpu) in after.items() if name in before)
    return {
        "idle_memory_mb": round(sum(memory for memory, _ in after.values()), 1),
        "idle_cpu_percent": round(100 * spent / passed, 1),
        "idle_containers": len(after),
        "idle_memory_by_container_mb": {name: round(mb, 1) for name, (mb, _) in after.items()},
    }


def machine() -> dict[str, float]:
    """Return seconds from the order of the demo's machine until it is ACTIVE, and serves its page.

    The demo's image must be built (``make demo`` does it); the machine is removed again.
    """
    orchestrate = [str(BIN / "salt-run"), "state.orchestrate"]
    found: dict[str, float] = {}
    for words in (["orch.demo_destroy"], ["orch.demo", "--out=json"], ["orch.demo_destroy"]):
        done = subprocess.run(
            [*orchestrate, *words], cwd=ROOT, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"{' '.join(words)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        for name in ("vm_active_s", "vm_reachable_s"):
            if told := re.search(rf'"{name}": ([0-9.]+)', done.stdout):
                found[name] = float(told[1])
    return found


def sizes() -> dict[str, Any]:
    """Return the sizes of all images in bytes as ``image.sizes`` has them."""
    command = [str(BIN / "salt-run"), "--out=json", "image.sizes"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--destroy", action="store_true", help="measure a whole deploy as well")
    arguments = parser.parse_args()
    salt_run = str(BIN / "salt-run")
    orchestrate = (salt_run, "state.orchestrate")
    figures: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {}

    figures["image_render_s"], _ = measure(salt_run, "image.render")
    figures["image_noop_build_s"], _ = measure(salt_run, "image.build")
    if arguments.destroy:
        confirm = 'pillar={"confirm": "yes"}'
        measure(*orchestrate, "orch.destroy", confirm, runs=1)
        figures["deploy_s"], _ = measure(*orchestrate, "orch.deploy", runs=1)
        measure(*orchestrate, "orch.post_deploy", runs=1)
        figures |= machine()
    figures["genconfig_s"], figures["genconfig_cpu_s"] = measure(*orchestrate, "orch.genconfig")
    noop = measure(*orchestrate, "orch.deploy")
    figures["noop_deploy_s"], figures["noop_deploy_cpu_s"] = noop
    figures["master_rss_mb"] = memory_mb("salt-master")
    figures["minion_rss_mb"] = memory_mb("salt-minion")
    figures |= idle()
    found = sizes()
    figures["images_total_mb"] = round(found["total"] / 1e6, 1)
    figures["image_mb"] = {
        name: round(image["size"] / 1e6, 1) for name, image in found["images"].items()
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(figures, indent=2) + "\n")
    show(figures)


def show(figures: dict[str, Any]) -> None:
    """Print the figures, as ratios where a peer's figure is known."""
    table = Table("figure", "value", "against Kolla", title="Saltern on this machine")
    for name, value in figures.items():
        if isinstance(value, dict):
            continue
        ratio = f"{PEER[name] / value:.0f} times less" if PEER.get(name) and value else ""
        table.add_row(name, str(value), ratio)
    for name, size in sorted(figures["image_mb"].items(), key=lambda one: -one[1]):
        table.add_row(f"image {name}, MB", str(size), "")
    for name, used in sorted(
        figures["idle_memory_by_container_mb"].items(), key=lambda one: -one[1]
    ):
        table.add_row(f"idle memory of {name}, MB", str(used), "")
    Console().print(table)


if __name__ == "__main__":
    main()
