"""The master as a process: gone, another one, or unknown."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from saltern.errors import SalternError
from saltern.run.master import Master


def test_a_master_that_ends_or_is_restarted_is_told_from_silent_hosts(tmp_path: Path):
    pidfile = tmp_path / "master.pid"
    with subprocess.Popen(["sleep", "100"]) as first, subprocess.Popen(["sleep", "100"]) as second:
        try:
            pidfile.write_text(f"{first.pid}\n")
            master = Master({"pidfile": str(pidfile)})
            master.check()
            assert master.age < 60
            first.kill()
            first.wait()
            with pytest.raises(SalternError, match="has ended during this run"):
                master.check()
            pidfile.write_text(str(second.pid))
            with pytest.raises(SalternError, match="was restarted during this run"):
                master.check()
        finally:
            first.kill()
            second.kill()


@pytest.mark.parametrize("text", ["", "no number", "4194305"])
def test_a_master_that_nobody_knows_stops_no_run(tmp_path: Path, text: str):
    pidfile = tmp_path / "master.pid"
    pidfile.write_text(text)
    for opts in ({"pidfile": str(pidfile)}, {"pidfile": str(tmp_path / "none")}, {}):
        master = Master(opts)
        master.check()
        assert master.age == float("inf")
