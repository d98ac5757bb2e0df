"""Mend what hosts have told of, on the master: the queue outlives any restart. docs/remediation.md."""

from __future__ import annotations

import functools
import os
import signal
import sys
from pathlib import Path


def start() -> None:
    """Work until the master ends."""
    # The queue is on the disk, the lock is the kernel's: there is nothing to tidy up.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    parent = os.getppid()
    # Here, as the master's parent process imports this module and would keep the library as it was.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "_utils"))
    from saltern.run import command, incidents
    from saltern.run.mender import Mender

    # Taken here: in threads Salt's dunders are empty.
    orchestrate = functools.partial(command.orchestrate, __runners__["state.orchestrate"])
    journal = incidents.Journal(incidents.file(__opts__))
    Mender(__opts__, orchestrate, journal).run(lambda: os.getppid() != parent)
    os._exit(0)
