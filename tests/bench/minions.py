"""Starts minions as forks of one warmed-up parent: their common pages are in memory once.

    python minions.py < homes, one a line

A home holds ``etc/salt/minion`` and ``docker.sock``. When standard input ends, so do the minions, however
the one that wrote it has ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import sys
from pathlib import Path

# What a minion has in memory before its first job.
import cryptography.x509  # noqa: F401
import docker  # noqa: F401
import salt.cli.daemons

_PR_SET_PDEATHSIG = 1


def start(home: Path) -> int:
    """Start the minion of a home; return its process id, which is its process group's, too."""
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    # Not even a killed parent leaves minions behind.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    out = os.open(home / "out", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    null = os.open(os.devnull, os.O_RDONLY)
    for number, file in enumerate((null, out, out)):
        os.dup2(file, number)
    os.environ["DOCKER_HOST"] = f"unix://{home}/docker.sock"
    sys.argv = ["salt-minion", "-c", str(home / "etc/salt"), "--disable-keepalive"]
    try:
        salt.cli.daemons.Minion().start()
    finally:
        os._exit(0)


def main() -> None:
    """Start what is asked for; end all of it with standard input."""
    gc.collect()
    gc.freeze()
    started = [start(Path(line.strip())) for line in sys.stdin]
    for pid in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
