"""How every run ends: with a line that says how many tests passed and how many did not."""

from __future__ import annotations

import pytest


def pytest_unconfigure(config: pytest.Config) -> None:
    """Print that line after everything else; a test that could not be prepared or cleaned up has failed."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if not reporter or not reporter.stats or config.option.collectonly:
        return
    passed, failed, error = (
        len(reporter.stats.get(outcome, ())) for outcome in ("passed", "failed", "error")
    )
    reporter.write_line(f"{passed} passed, {failed + error} failed")
