"""Salt's master and minion: units under systemd, detached processes elsewhere."""

from __future__ import annotations

import hashlib
import socket
import subprocess
from pathlib import Path

import psutil

from steps import Outcome, SetupError, code, processes, saltconfig
from steps.settings import Settings, write

PATIENCE = 60  # seconds for a daemon to come up


def master(config: Settings) -> Outcome:
    """The master, running with the present configuration, packages and code."""
    return _running(config, "master", _check_ports)


def minion(config: Settings) -> Outcome:
    """The minion, likewise.

    A minion forks for every job and so takes new modules as soon as they are synchronised: only code
    that its parent process loads wants a restart (it takes 10 s). A master's workers keep what they
    imported (the library under ext_pillar), so any code wants one there.
    """
    return _running(config, "minion", lambda config: None)


def _running(config: Settings, role: str, check) -> Outcome:
    note = config.stamps / f"{role}.stamp"
    wanted = _stamp(config, role)
    alive = processes.salt(config.config_dir, role)
    if alive and note.exists() and note.read_text() == wanted:
        return Outcome(f"running, process {alive[0]}")
    if alive and not processes.systemd():
        processes.stop(lambda: processes.salt(config.config_dir, role))
    if not processes.salt(config.config_dir, role):
        check(config)
    program = config.virtualenv / "bin" / f"salt-{role}"
    log = config.log / f"{role}.log"
    if processes.systemd():
        _start_unit(config, role, program)
        processes.wait(lambda: bool(processes.salt(config.config_dir, role)), PATIENCE)
    else:
        # quiet: what it logs goes to its log file, once; what Python says on a crash goes there too
        command = [str(program), f"--config-dir={config.config_dir}", "--log-level=quiet"]
        # of one that was killed: Salt would take any process of that number for it, and end
        (config.run / f"{role}.pid").unlink(missing_ok=True)
        daemon = processes.start(command, log)
        up = {"master": _master_up, "minion": _minion_up}[role]
        processes.wait(lambda: up(config) or daemon.poll() is not None, PATIENCE)
        if daemon.poll() is not None or not up(config):
            raise SetupError(
                f"salt-{role} does not come up; the end of {log}:\n{processes.last_lines(log)}"
            )
    write(note, wanted, 0o640)
    verb = "restarted (configuration, packages or code changed)" if alive else "started"
    return Outcome(f"{verb}, process {processes.salt(config.config_dir, role)[0]}", changed=True)


def _stamp(config: Settings, role: str) -> str:
    parts = (
        (config.config_dir / role).read_text(),
        (config.virtualenv / "saltern.stamp").read_text(),
        code.digest(config) if role == "master" else code.loaded_by_parent(config),
        str(config.virtualenv),
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _start_unit(config: Settings, role: str, program: Path) -> None:
    unit = f"saltern-{role}"
    values = {"role": role, "program": program, "config_dir": config.config_dir}
    text = saltconfig.fill("salt.service", values)
    write(Path(f"/etc/systemd/system/{unit}.service"), text, 0o644)
    for command in (["daemon-reload"], ["enable", unit], ["restart", unit]):
        done = subprocess.run(["systemctl", *command], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SetupError(
                f"systemctl {' '.join(command)} failed: {done.stderr.strip()}\n"
                f"see: journalctl --unit {unit}"
            )


def _master_up(config: Settings) -> bool:
    return all(_connects(config.master_address, port) for port in _ports(config).values())


def _minion_up(config: Settings) -> bool:
    return bool(processes.salt(config.config_dir, "minion"))


def _ports(config: Settings) -> dict[str, int]:
    return {"PUBLISH_PORT": config.publish_port, "RET_PORT": config.ret_port}


def _connects(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=2):
            return True
    except OSError:
        return False


def _check_ports(config: Settings) -> None:
    """Refuse to start a master on a port or address that it cannot have, and say why."""
    for variable, port in _ports(config).items():
        family = socket.AF_INET6 if ":" in config.address else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((config.address, port))
            except OSError as error:
                raise SetupError(_taken(config, variable, port, error)) from None


def _taken(config: Settings, variable: str, port: int, error: OSError) -> str:
    for found in psutil.net_connections("tcp"):
        if found.status == psutil.CONN_LISTEN and found.laddr.port == port and found.pid:
            holder = " ".join(psutil.Process(found.pid).cmdline())[:100]
            return (
                f"port {port} is taken by process {found.pid} ({holder}): "
                f"stop it, or choose another port: make setup {variable}=..."
            )
    return (
        f"the master cannot listen on {config.address}:{port} ({error.strerror}): "
        "give an address of this host: make setup ADDRESS=..."
    )
