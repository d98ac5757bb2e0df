"""The Salt master as a process: whether it runs, since when, and whether it is still the same one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from saltern.errors import SalternError


class Master:
    """The master that runs when this is made.

    :param opts: ``__opts__`` of a runner or of a state in an orchestration.
    """

    def __init__(self, opts: Mapping[str, Any]) -> None:
        self._pidfile = Path(opts.get("pidfile", ""))
        self._seen = self._process()

    @property
    def age(self) -> float:
        """Seconds since it started; without end if nobody knows."""
        return time.time() - self._seen.create_time() if self._seen else float("inf")

    def check(self) -> None:
        """Stop a run whose master is gone: answers of hosts are lost then, which does not make hosts silent.

        :raises SalternError: It has ended, or is another one.
        """
        if self._seen and not _lives(self._seen):
            state = "was restarted" if self._process() else "has ended"
            raise SalternError(
                f"the Salt master {state} during this run; hosts finish the service they are at. See that it "
                "runs (make setup starts it), then run this again"
            )

    def _process(self) -> psutil.Process | None:
        try:
            found = psutil.Process(int(self._pidfile.read_text()))
        except (OSError, ValueError, psutil.Error):
            return None
        return found if _lives(found) else None


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
