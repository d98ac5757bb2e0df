"""Finding, starting and stopping our own daemons where systemd does not run."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# What a daemon may see of the environment of whoever started it: the machine's proxies and
# certificates, and nothing personal.
KEPT_SUFFIXES = ("_proxy", "_PROXY", "_CERT", "_CA_BUNDLE")
KEPT_PREFIXES = ("SSL_CERT_", "PIP_", "LC_")


def systemd() -> bool:
    """Whether systemd manages this machine (sd_booted(3))."""
    return Path("/run/systemd/system").is_dir()


def find(program: str, *words: str) -> list[int]:
    """Process ids, lowest first, whose command line has a program of this name and these words.

    The process table instead of pid files: those outlive their process. Containers' processes stand in
    it as well, and a host of the test bed runs the very same daemons: they are none of ours.
    """
    return sorted(
        pid
        for pid, arguments in _command_lines()
        if any(Path(word).name == program for word in arguments[:3])
        and all(word in arguments for word in words)
    )


def _command_lines() -> Iterator[tuple[int, list[str]]]:
    own = Path("/proc/self/ns/pid").readlink()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if (entry / "ns/pid").readlink() != own:
                continue
            # setproctitle(3) replaces the NULs between arguments by spaces
            line = (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if line:
            yield int(entry.name), line.replace("\0", " ").split()


def start(command: list[str], log: Path) -> subprocess.Popen:
    """Start a daemon that outlives this process, its shell and its terminal."""
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640), "ab") as out:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=_environment(),
            start_new_session=True,
        )


def _environment() -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.endswith(KEPT_SUFFIXES) or name.startswith(KEPT_PREFIXES)
    }
    return {"HOME": "/root", "LANG": "C.UTF-8", **kept, "PATH": PATH}


def salt(config_dir: Path, role: str) -> list[int]:
    """All processes of the Salt master or minion of one configuration, the parent first."""
    return find(f"salt-{role}", f"--config-dir={config_dir}")


def stop(running: Callable[[], list[int]], patience: float = 20) -> None:
    """End processes: the first (the parent of the others) is asked, then all are, then all are killed.

    Args:
        running: tells which still run.
        patience: seconds to wait at each of the three.
    """
    for number, some in ((signal.SIGTERM, 1), (signal.SIGTERM, None), (signal.SIGKILL, None)):
        for pid in running()[:some]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if wait(lambda: not running(), patience):
            return


def wait(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll until a condition holds; whether it did in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def last_lines(log: Path, number: int = 15) -> str:
    """The end of a log file, for an error message."""
    if not log.exists():
        return f"({log} does not exist)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-number:])
