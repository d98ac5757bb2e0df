"""Run OpenStack's own tests against the cloud of this machine: run.py [AREA ...], see docs/tempest.md.

Tempest runs in a container; this starts it, shows the results and adds them to ``build/bench.json``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import docker
import yaml
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "build/tempest"
BENCH = ROOT / "build/bench.json"
CLOUDS = Path("/etc/saltern/clouds.yaml")
OUTCOMES = ("passed", "failed", "skipped")


def dashboard() -> str:
    """Return the address of the dashboard."""
    cloud = yaml.safe_load(CLOUDS.read_text())["clouds"]["saltern"]
    host = urlsplit(cloud["auth"]["auth_url"]).hostname
    formula = yaml.safe_load((ROOT / "formulas/horizon/service.yml").read_text())
    return f"http://{host}:{formula['apis']['horizon']['port']}/"


def run(areas: list[str]) -> int:
    """Run the suite in its container; return the exit code."""
    toolbox = docker.from_env().containers.get("toolbox")
    command = ["docker", "run", "--rm", "--name=tempest", "--interactive"]
    command += ["--network=host", "--read-only"]
    # Root of the container owns what it writes; it may send pings, and nothing else that root may.
    command += ["--user=0:0", "--cap-drop=ALL", "--cap-add=NET_RAW"]
    command += ["--security-opt=no-new-privileges", "--tmpfs=/tmp", "--env=HOME=/tmp"]
    command += ["--env=OS_CLOUD=saltern", f"--env=DASHBOARD={dashboard()}"]
    command += [f"--volume={CLOUDS}:/etc/openstack/clouds.yaml:ro"]
    command += [f"--volume={Path(__file__).parent}:/suite:ro", f"--volume={RESULTS}:/results"]
    command += ["--volume=tempest-pyc:/var/cache/python"]
    command += [toolbox.attrs["Config"]["Image"].replace("/toolbox:", "/tempest:")]
    return subprocess.run([*command, "python3", "/suite/suite.py", *areas], check=False).returncode


def show(results: list[dict[str, Any]], minutes: float) -> dict[str, int]:
    """Print what failed or was skipped and why, then a table; return the totals."""
    console = Console(soft_wrap=True)
    for one in results:
        if one["outcome"] != "passed":
            last = one["text"].strip().splitlines()[-1:] or [""]
            console.print(f"{one['outcome']}: {one['test']}\n    {last[0]}", markup=False)
    table = Table("area", *OUTCOMES, title=f"Tempest, {minutes:.1f} minutes")
    for area in dict.fromkeys(one["area"] for one in results):
        counts = Counter(one["outcome"] for one in results if one["area"] == area)
        table.add_row(area, *(str(counts[outcome]) for outcome in OUTCOMES))
    console.print(table)
    total = Counter(one["outcome"] for one in results)
    return {outcome: total[outcome] for outcome in OUTCOMES}


def main() -> int:
    """Run, show, write."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    RESULTS.chmod(0o700)
    (RESULTS / "results.json").unlink(missing_ok=True)
    begin = time.monotonic()
    code = run(sys.argv[1:])
    if not (RESULTS / "results.json").exists():
        return code or 1
    results = json.loads((RESULTS / "results.json").read_text())
    totals = show(results, (time.monotonic() - begin) / 60)
    if not sys.argv[1:]:  # the figure is that of all areas
        figures = json.loads(BENCH.read_text()) if BENCH.exists() else {}
        BENCH.write_text(json.dumps(figures | {"tempest": totals}, indent=2) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
