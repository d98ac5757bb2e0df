"""What holds for all tiers: who runs beside whom, and the line with which every run ends."""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# Their tests share daemons, containers or the machine's own cloud: one process runs them in turn. The longest first, so
# that no process is left with one alone.
SERIAL = (
    "cloud",
    "orchestration",
    "functional",
    "functional/openstack",
    "orchestration/upgrade",
    "cluster",
)


def tier(nodeid: str) -> str:
    """Return the serial tier of a test; nothing if it has none.

    :param nodeid: Such as ``tests/cloud/test_cloud.py::test_name``.
    """
    mine = (one for one in SERIAL if nodeid.startswith(f"tests/{one}/"))
    return max(mine, key=len, default="")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes run tests: those that stand alone first, then the tiers in their order."""
    if hasattr(config, "workerinput"):
        order = ("", *SERIAL)
        items.sort(key=lambda item: order.index(tier(item.nodeid)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Keep each of those tiers in one process where several run tests (``pytest -n 2``)."""
    return Tiers(config, log)


class Tiers(LoadScopeScheduling):
    """Tests of a serial tier are one piece of work, each other test is one of its own."""

    def _split_scope(self, nodeid: str) -> str:
        return tier(nodeid) or nodeid


def pytest_unconfigure(config: pytest.Config) -> None:
    """Print how many passed after everything else; what could not be prepared or cleaned up has failed."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if not reporter or not reporter.stats or config.option.collectonly:
        return
    passed, failed, error = (
        len(reporter.stats.get(outcome, ())) for outcome in ("passed", "failed", "error")
    )
    reporter.write_line(f"{passed} passed, {failed + error} failed")
