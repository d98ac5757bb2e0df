"""How long remediation takes from a fault to a healthy container: a master and three minions of its own, real Docker.

Prints a table and adds its figures to ``build/bench.json``. Run by ``make bench-remediation``; what it starts is its
own and goes again. The container itself is healthy within a second or two of its start.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import docker

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "build/bench.json"
sys.path.insert(0, str(ROOT))

from tests.orchestration import test_remediation as tests  # noqa: E402
from tests.orchestration.conftest import HOSTS, Cloud, running, until  # noqa: E402
from tests.orchestration.test_health import image_of  # noqa: E402

ROUNDS = 5
PATIENCE = 300


def killed(page: tests.Page) -> Callable[[], bool]:
    """End a container's process, which Docker does not start again, as a crash does."""
    page.kill("one")
    return lambda: page.healthy("one")


def removed(page: tests.Page) -> Callable[[], bool]:
    """Remove a container by hand."""
    old = page.inspect("two")["Id"]
    page.api.remove_container(old, force=True)
    return lambda: page.healthy("two") and page.inspect("two")["Id"] != old


def configuration(page: tests.Page) -> Callable[[], bool]:
    """Delete a generation of configuration."""
    folder = page.generation("three")
    shutil.rmtree(folder)
    return lambda: (folder / "page.conf").is_file() and page.healthy("three")


def crowd(page: tests.Page) -> Callable[[], bool]:
    """End all containers of all hosts."""
    places = [(host, name) for host in HOSTS for name in tests.ALL]
    for host, name in places:
        page.kill(host, name)
    return lambda: all(page.healthy(*place) for place in places)


CASES = {
    "kill": killed,
    "remove": removed,
    "configuration_deleted": configuration,
    "all_killed": crowd,
}


def measure(page: tests.Page) -> dict[str, dict[str, float]]:
    """Return case to the median and the longest of its times in seconds."""
    figures = {}
    for case, fault in CASES.items():
        took = []
        for _ in range(ROUNDS):
            page.quiet()
            began = time.monotonic()
            until(fault(page), PATIENCE)
            took.append(time.monotonic() - began)
        figures[case] = {
            "median_s": round(statistics.median(took), 2),
            "max_s": round(max(took), 2),
        }
        print(
            f"{case:24} median {figures[case]['median_s']:7.2f} s   longest {max(took):7.2f} s",
            flush=True,
        )
    return figures


def main() -> None:
    """Start all, measure, write the figures."""
    api = docker.APIClient(version="auto")
    with running(engines=True) as daemons, image_of(api) as namespace:
        page = tests.Page(Cloud(*daemons), api, namespace)
        page.set_pillar()
        page.deploy()
        try:
            figures = measure(page)
        finally:
            page.cloud.run(
                "state.orchestrate", "orch.destroy", services=["page"], confirm="yes", wait=120
            )
    known = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(known | {"remediation": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
