"""The Docker daemon: its settings, and its start where nothing else does it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saltern.bootstrap import dockerd
from saltern.containers.mounts import is_shared
from steps import Outcome, SetupError, processes
from steps.settings import Settings, write

PATIENCE = 60  # seconds for dockerd to answer
# What set-up has added to daemon.json, for `make clean`.
ADDED = "docker.json"
MOUNTS = Path("/proc/self/mountinfo")


@dataclass(frozen=True)
class Daemon:
    """A Docker daemon: the machine's own, unless a test has another one."""

    config: Path = Path("/etc/docker/daemon.json")
    socket: str = "/var/run/docker.sock"
    run: Path = Path("/var/run")
    data: Path = Path("/var/lib/docker")
    command: tuple[str, ...] = ("dockerd",)

    @property
    def pid_files(self) -> dict[Path, str]:
        """Where it and its containerd note their process ids."""
        return {
            self.run / "docker.pid": "dockerd",
            self.run / "docker/containerd/containerd.pid": "containerd",
        }


MACHINE = Daemon()


def info(daemon: Daemon = MACHINE) -> dict | None:
    """The daemon's own description (GET /info), or nothing if it does not answer."""
    connection = http.client.HTTPConnection("localhost", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(10)
    try:
        connection.sock.connect(daemon.socket)
        connection.request("GET", "/info")
        answer = connection.getresponse()
        return json.loads(answer.read()) if answer.status == 200 else None
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def configure(config: Settings, daemon: Daemon = MACHINE) -> Outcome:
    """Add to daemon.json what the operator has left open, before Docker is installed, which starts it.

    Docker's network is left alone where Docker has run before: somebody may use it.
    """
    there = _read(daemon.config)
    flags = dockerd.flags(word for pid in _running(daemon) for word in _arguments(pid))
    data = Path(there.get("data-root", daemon.data))
    new = dockerd.missing(
        {*there, *flags},
        network=not (data / "network").exists(),
        # A member of a swarm refuses to start with it.
        live_restore=not (data / "swarm/docker-state.json").exists(),
    )
    if not new:
        return Outcome(f"as wanted: {daemon.config}")
    note = config.stamps / ADDED
    write(note, _text(_read(note) | new), 0o640)
    daemon.config.parent.mkdir(parents=True, exist_ok=True)
    write(daemon.config, _text(there | new), 0o644)
    return Outcome(f"added to {daemon.config}: {', '.join(new)}", changed=True)


def added(config: Settings) -> bool:
    """Whether :func:`configure` has added something."""
    return (config.stamps / ADDED).exists()


def restore(config: Settings, daemon: Daemon = MACHINE) -> None:
    """Take out of daemon.json what :func:`configure` has added, as far as nobody has changed it since."""
    left = dockerd.without(_read(daemon.config), _read(config.stamps / ADDED))
    if left:
        write(daemon.config, _text(left), 0o644)
    else:
        daemon.config.unlink(missing_ok=True)


def start(config: Settings, daemon: Daemon = MACHINE) -> Outcome:
    """Make sure that a daemon answers, with live-restore where its settings say so."""
    changed = False
    found = info(daemon)
    verb = "answers"
    if not found:
        changed, verb = True, "started"
        if processes.systemd() and daemon == MACHINE:
            _start_unit(daemon)
        else:
            _start_detached(config, daemon)
        found = info(daemon)
    elif _read(daemon.config).get("live-restore") and not found["LiveRestoreEnabled"]:
        changed, verb = True, "live-restore switched on"
        _reload(daemon)
    text = f"Docker {found['ServerVersion']}, {found['Driver']}, cgroup v{found['CgroupVersion']}"
    if found["Driver"] != "overlay2":
        text += f"; WARNING: storage driver {found['Driver']} is slow, overlay2 is wanted"
    return Outcome(f"{verb}: {text}", changed)


def share(config: Settings) -> Outcome:
    """Make all mounts shared, as systemd does at boot: before Docker starts containers that rely on it.

    Docker tries once to start what mounts the host's network namespaces, and only does if those are shared.
    """
    if is_shared("/run/netns", MOUNTS.read_text()):
        return Outcome("shared")
    done = subprocess.run(
        ["mount", "--make-rshared", "/"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SetupError(f"the machine's mounts cannot be shared: {done.stderr.strip()}")
    return Outcome("made shared, as systemd does it", changed=True)


def ours(config: Settings) -> list[int]:
    """The daemon that set-up itself started, if it still runs."""
    note = config.stamps / "dockerd.pid"
    pid = note.read_text().strip() if note.exists() else ""
    return [int(pid)] if pid in map(str, processes.find("dockerd")) else []


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text()
        found = json.loads(text) if text.strip() else {}
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise SetupError(f"{path} is no JSON ({error}): correct it, or remove it") from error
    if not isinstance(found, dict):
        raise SetupError(f"{path} is no JSON object: correct it, or remove it")
    return found


def _text(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=2) + "\n"


def _running(daemon: Daemon) -> list[int]:
    known = {path.read_text().strip() for path in daemon.pid_files if path.exists()}
    return [pid for pid in processes.find("dockerd") if str(pid) in known]


def _arguments(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def _reload(daemon: Daemon) -> None:
    for pid in _running(daemon):
        os.kill(pid, signal.SIGHUP)
    if not processes.wait(lambda: (info(daemon) or {}).get("LiveRestoreEnabled"), PATIENCE):
        raise SetupError(
            f"dockerd has not taken over live-restore from {daemon.config}: read its log; containers would end "
            "with it"
        )


def _start_unit(daemon: Daemon) -> None:
    done = subprocess.run(
        ["systemctl", "enable", "--now", "docker"], capture_output=True, text=True, check=False
    )
    if done.returncode or not processes.wait(lambda: info(daemon) is not None, PATIENCE):
        raise SetupError(
            f"Docker does not come up: {done.stderr.strip()}\nsee: journalctl --unit docker"
        )


def _start_detached(config: Settings, daemon: Daemon) -> None:
    for path, program in daemon.pid_files.items():
        # dockerd refuses to start while the pid in its file belongs to any process at all
        if path.exists() and path.read_text().strip() not in map(str, processes.find(program)):
            path.unlink()
    log = config.log / "dockerd.log"
    process = processes.start([*daemon.command], log)
    write(config.stamps / "dockerd.pid", f"{process.pid}\n", 0o640)
    processes.wait(lambda: info(daemon) is not None or process.poll() is not None, PATIENCE)
    if info(daemon) is None:
        raise SetupError(
            f"dockerd does not come up; the end of {log}:\n{processes.last_lines(log)}"
        )
