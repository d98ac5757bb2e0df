"""What holds for all tiers: who runs beside whom, and the line with which every run ends."""

from __future__ import annotations

from pathlib import Path

import pytest

# Their tests share daemons, containers or the machine's own cloud: one process runs them in turn.
SERIAL = ("functional", "orchestration", "cloud", "cluster")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep each of those tiers in one process where several run tests (``pytest -n 2``)."""
    for item in items:
        tier = item.path.relative_to(Path(__file__).parent).parts[0]
        if tier in SERIAL:
            item.add_marker(pytest.mark.xdist_group(tier))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Print how many passed after everything else; what could not be prepared or cleaned up has failed."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if not reporter or not reporter.stats or config.option.collectonly:
        return
    passed, failed, error = (
        len(reporter.stats.get(outcome, ())) for outcome in ("passed", "failed", "error")
    )
    reporter.write_line(f"{passed} passed, {failed + error} failed")
