"""Mend what hosts have told of, on the master: the queue outlives any restart. docs/remediation.md."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any


def start() -> None:
    """Work until the master ends."""
    # The queue is on the disk, the lock is the kernel's: there is nothing to tidy up.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    parent = os.getppid()
    # Here, as the master's parent process imports this module and would keep the library as it was.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "_utils"))
    from saltern.errors import SalternError
    from saltern.run import command, incidents
    from saltern.run.mender import Mender

    # Taken here: in threads Salt's dunders are empty.
    run = __runners__["state.orchestrate"]

    def orchestrate(name: str, pillar: dict[str, Any]) -> None:
        done = run(f"orch.{name}", pillar=pillar)
        if done.get("retcode"):
            again = command.text(f"state.orchestrate orch.{name}", pillar)
            raise SalternError(f"{again} failed; run it to see why and to go on")

    journal = incidents.Journal(incidents.file(__opts__))
    Mender(__opts__, orchestrate, journal).run(lambda: os.getppid() != parent)
    os._exit(0)
