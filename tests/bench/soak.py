"""Use the deployed cloud of this machine without pause: soak.py [MINUTES], run by ``make soak``.

Three projects make, use and delete networks, routers, floating IPs, instances, volumes and snapshots. Prints a line a
minute, then errors by kind, memory of each container against that after ten minutes, and orphans, and adds them to
``build/bench.json``. What it has made it takes away again, also after Ctrl-C.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import docker
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "build/bench.json"
SALT_RUN = str(Path(sys.executable).with_name("salt-run"))
# Runs in the toolbox, a process a project; prints a line of JSON for each operation.
WORKER = Path(__file__).with_name("soak_worker.py")
PROJECTS = 3
# Containers have warmed up by then; a shorter run takes half of its time.
WARM_MINUTES = 10


def memory(api: docker.APIClient) -> dict[str, float]:
    """Return MB of memory of each container, without what the kernel can take back at once."""
    found = {}
    for one in api.containers(filters={"label": ["saltern.service", "saltern.prefix="]}):
        stats = api.stats(one["Id"], stream=False, one_shot=True)["memory_stats"]
        if stats:
            cache = stats["stats"].get("inactive_file", 0)
            found[one["Names"][0].lstrip("/")] = round((stats["usage"] - cache) / 1e6, 1)
    return found


class Worker(threading.Thread):
    """One project, in the toolbox: follows what its process says."""

    def __init__(self, number: int, minutes: float) -> None:
        super().__init__(daemon=True)
        self.operations: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        command = ["docker", "exec", "-i", "toolbox", "python3", "-", f"soak{number}", str(minutes)]
        with WORKER.open() as program:
            # A session of its own: Ctrl-C is for this program, which asks the worker to end.
            self.process = subprocess.Popen(
                command,
                stdin=program,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )

    def run(self) -> None:
        """Count operations and errors until the process ends."""
        for line in self.process.stdout or ():
            with contextlib.suppress(ValueError):
                said = json.loads(line)
                self.operations[said["operation"]] += 1
                if said["error"]:
                    self.errors[f"{said['operation']}: {said['error']}"] += 1
        if self.process.wait():
            self.errors[f"worker: {(self.process.stderr.read() or '').strip()[-300:]}"] += 1


def stop(number: int) -> None:
    """Ask a project to end: it takes away what it has made."""
    mark = ["docker", "exec", "toolbox", "touch", f"/tmp/soak{number}.stop"]
    subprocess.run(mark, check=False)


def orphans() -> list[dict[str, Any]] | None:
    """Return the orphans that ``saltern.orphans`` finds, of whatever age; None if it fails."""
    command = [SALT_RUN, "--out=json", "saltern.orphans", "minutes=0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout)["data"]["orphans"]
    except (ValueError, KeyError):
        print(f"saltern.orphans failed: {done.stdout}{done.stderr}", file=sys.stderr)
        return None


def total(workers: list[Worker], what: str) -> Counter[str]:
    """Return a counter of all workers."""
    return sum((getattr(one, what) for one in workers), Counter())


def soak(minutes: float) -> dict[str, Any]:
    """Run; return the figures."""
    api = docker.APIClient(version="auto")
    warm = min(WARM_MINUTES, minutes / 2)
    began, first = time.monotonic(), memory(api)
    workers = [Worker(number, minutes) for number in range(PROJECTS)]
    warmed: dict[str, float] = {}
    try:
        for one in workers:
            one.start()
        next_line = began + 60
        while any(one.is_alive() for one in workers):
            time.sleep(1)
            now = time.monotonic()
            if not warmed and now - began >= 60 * warm:
                warmed = memory(api)
            if now >= next_line:
                next_line += 60
                done, failed = total(workers, "operations"), total(workers, "errors")
                passed = (now - began) / 60
                print(
                    f"{passed:4.0f} min  {done.total()} operations, {failed.total()} errors",
                    flush=True,
                )
    except KeyboardInterrupt:
        print("Ends, and takes away what it has made; this takes a few minutes", flush=True)
        for number in range(PROJECTS):
            stop(number)
        for one in workers:
            one.join(600)
    used = round((time.monotonic() - began) / 60, 1)
    last, before = memory(api), warmed or first
    growth = {name: round(last[name] - before[name], 1) for name in last if name in before}
    left = orphans()
    show(total(workers, "operations"), total(workers, "errors"), before, growth, left or [])
    return {
        "minutes": used,
        "operations": total(workers, "operations").total(),
        "errors": dict(total(workers, "errors")),
        "growth_mb": growth,
        "orphans": None if left is None else len(left),
    }


def show(
    operations: Counter[str],
    errors: Counter[str],
    before: dict[str, float],
    growth: dict[str, float],
    left: list[dict[str, Any]],
) -> None:
    """Print what was done, what failed, who has grown by more than a tenth, and what is left."""
    console = Console(soft_wrap=True)
    table = Table("operation", "times", "errors", title="Soak")
    for name, count in sorted(operations.items()):
        failed = sum(times for kind, times in errors.items() if kind.startswith(f"{name}: "))
        table.add_row(name, str(count), str(failed or ""))
    console.print(table)
    for kind, count in errors.most_common():
        console.print(f"{count} times  {kind}", markup=False)
    table = Table("container", "MB at first", "growth", title="Grown by more than a tenth")
    for name, more in sorted(growth.items(), key=lambda one: -one[1]):
        if more > before[name] / 10:
            table.add_row(name, str(before[name]), f"+{more}")
    console.print(table)
    for one in left:
        console.print(f"orphan: {one['host']} {one['kind']} {one['name']}", markup=False)


def main() -> int:
    """Run and write; the exit code is 1 if anything failed or is left."""
    figures = soak(float(sys.argv[1]) if sys.argv[1:] else 60)
    known = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(known | {"soak": figures}, indent=2) + "\n")
    return 1 if figures["errors"] or figures["orphans"] != 0 else 0


if __name__ == "__main__":
    sys.exit(main())
