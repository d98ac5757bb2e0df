"""The Docker daemon: started where nothing else does it."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
from pathlib import Path

from steps import Outcome, SetupError, processes
from steps.settings import Settings

SOCKET = "/var/run/docker.sock"
PATIENCE = 60  # seconds for dockerd to answer
PID_FILES = {
    Path("/var/run/docker.pid"): "dockerd",
    Path("/var/run/docker/containerd/containerd.pid"): "containerd",
}


def info() -> dict | None:
    """The daemon's own description (GET /info), or nothing if it does not answer."""
    connection = http.client.HTTPConnection("localhost", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(10)
    try:
        connection.sock.connect(SOCKET)
        connection.request("GET", "/info")
        answer = connection.getresponse()
        return json.loads(answer.read()) if answer.status == 200 else None
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def start(config: Settings) -> Outcome:
    """Make sure that a daemon answers."""
    changed = False
    found = info()
    if not found:
        changed = True
        if processes.systemd():
            _start_unit()
        else:
            _start_detached(config)
        found = info()
    text = f"Docker {found['ServerVersion']}, {found['Driver']}, cgroup v{found['CgroupVersion']}"
    if found["Driver"] != "overlay2":
        text += f"; WARNING: storage driver {found['Driver']} is slow, overlay2 is wanted"
    return Outcome(("started: " if changed else "answers: ") + text, changed)


def ours(config: Settings) -> list[int]:
    """The daemon that set-up itself started, if it still runs."""
    note = config.stamps / "dockerd.pid"
    if not note.exists():
        return []
    pid = int(note.read_text())
    return [pid] if pid in processes.find("dockerd") else []


def _start_unit() -> None:
    done = subprocess.run(
        ["systemctl", "enable", "--now", "docker"], capture_output=True, text=True, check=False
    )
    if done.returncode or not processes.wait(lambda: info() is not None, PATIENCE):
        raise SetupError(
            f"Docker does not come up: {done.stderr.strip()}\nsee: journalctl --unit docker"
        )


def _start_detached(config: Settings) -> None:
    for path, program in PID_FILES.items():
        # dockerd refuses to start while the pid in its file belongs to any process at all
        if path.exists() and path.read_text().strip() not in map(str, processes.find(program)):
            path.unlink()
    log = config.log / "dockerd.log"
    daemon = processes.start(["dockerd"], log)
    config.stamps.mkdir(parents=True, exist_ok=True)
    (config.stamps / "dockerd.pid").write_text(f"{daemon.pid}\n")
    processes.wait(lambda: info() is not None or daemon.poll() is not None, PATIENCE)
    if info() is None:
        raise SetupError(
            f"dockerd does not come up; the end of {log}:\n{processes.last_lines(log)}"
        )
