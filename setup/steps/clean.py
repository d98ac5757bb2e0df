"""Takes away what set-up and deploy made, and nothing else."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from concurrent import futures
from pathlib import Path
from urllib.parse import quote

from steps import SetupError, docker, processes, settings
from steps.settings import Settings

ROLES = ("minion", "master")
# what of Docker's is ours, the test bed included: kind -> labels, in the order in which they can be removed
LABELS = {
    "containers": ("saltern.service", "saltern.bed"),
    "volumes": ("saltern.service", "saltern.bed"),
    "networks": ("saltern.bed",),
    "images": ("saltern.hash",),
}
# what orch.post_deploy puts on the PATH, and how it says that it did (_utils/saltern/host/clients.py)
COMMAND = Path("/usr/local/bin/openstack")
MARK = "# Written by Saltern"


def main() -> int:
    """Say what would go; take it away when CONFIRM=yes."""
    config = settings.load()
    if os.geteuid() != 0:
        raise SetupError("what set-up made belongs to root: run this as root")
    found = survey(config)
    if not any(found.values()):
        print("Nothing of Saltern is here.")
        return 0
    confirmed = os.environ.get("CONFIRM") == "yes"
    print("Taking away:" if confirmed else "This would take away:")
    for kind, names in found.items():
        if names:
            print(f"  {kind:<12} {', '.join(map(str, names))}")
    if not confirmed:
        print("Debian's packages stay. To do it: make clean CONFIRM=yes")
        return 1
    unseen = _has_docker(config) and docker.info() is None
    remove(config, found)
    if unseen:
        print(
            "Docker did not run: what it holds of Saltern stays. Take it away, too: make setup, and this again."
        )
    print("Done. Debian's packages stay.")
    return 0


def survey(config: Settings) -> dict[str, list]:
    """What is here of ours, by kind."""
    labels = LABELS if _has_docker(config) else {}
    return {
        "daemons": [f"salt-{role}" for role in ROLES if processes.salt(config.config_dir, role)]
        + ["dockerd (started by set-up)"] * bool(docker.ours(config)),
        **{
            kind: [name for label in ours for name in _names(kind, label)]
            for kind, ours in labels.items()
        },
        "commands": [COMMAND] * (bool(labels) and _written_by_us(COMMAND)),
        "settings": [docker.MACHINE.config] * (bool(labels) and docker.added(config)),
        "folders": [place for place in _folders(config) if place.exists()],
        "units": [unit for role in ROLES if (unit := _unit(role)).exists()],
    }


def remove(config: Settings, found: dict[str, list]) -> None:
    """Take away what :func:`survey` found: daemons before their files, containers before images."""
    for role in ROLES:
        if _unit(role).exists():
            subprocess.run(["systemctl", "disable", "--now", _unit(role).name], check=False)
            _unit(role).unlink()
        processes.stop(lambda role=role: processes.salt(config.config_dir, role))
    for kind in LABELS:
        _delete(kind, found.get(kind, []))
    processes.stop(lambda: docker.ours(config))
    if found["settings"]:
        docker.restore(config)
    for command in found["commands"]:
        command.unlink()
    for place in _folders(config):
        shutil.rmtree(place, ignore_errors=True)


def _has_docker(config: Settings) -> bool:
    # Docker's objects belong to the machine's one cloud, not to a set-up under other roots (a test's).
    return config.etc == Settings().etc


def _folders(config: Settings) -> list[Path]:
    return [
        config.etc,
        config.var,
        config.log,
        config.run,
        config.virtualenv,
        config.checkout / "build",
    ]


def _written_by_us(path: Path) -> bool:
    return path.is_file() and MARK in path.read_text(errors="replace")


def _unit(role: str) -> Path:
    return Path(f"/etc/systemd/system/saltern-{role}.service")


def _names(kind: str, label: str) -> list[str]:
    filters = quote(json.dumps({"label": [label]}))
    path = {"containers": "containers/json?all=true&", "images": "images/json?"}
    answer = _docker("GET", f"/{path.get(kind, f'{kind}?')}filters={filters}")
    if kind == "containers":
        return sorted(one["Names"][0].lstrip("/") for one in answer or [])
    if kind == "volumes":
        return sorted(one["Name"] for one in (answer or {}).get("Volumes") or [])
    if kind == "networks":
        return sorted(one["Name"] for one in answer or [])
    # Newest first, as Docker lists them: what is made from an image goes before it.
    return [name for one in answer or [] for name in _tags(one) or [one["Id"]]]


def _tags(image: dict) -> list[str]:
    return [tag for tag in image["RepoTags"] or [] if tag != "<none>:<none>"]


def _delete(kind: str, names: list[str]) -> None:
    if kind == "containers":
        _stop(names)
    for name in names:
        _docker("DELETE", f"/{kind}/{quote(name, safe='/:')}?force=true")


def _stop(names: list[str]) -> None:
    """Stop containers all at once, but services that have to end something on the host last, one by one."""
    labels = {name: _labels(name) for name in names}
    teardowns = {
        name: json.loads(of.get("saltern.spec.json", "{}")).get("teardown")
        for name, of in labels.items()
    }
    late = {labels[name].get("saltern.service") for name, command in teardowns.items() if command}
    last = [name for name in names if labels[name].get("saltern.service") in late]
    with futures.ThreadPoolExecutor(16) as pool:
        # list: so that a failure is raised
        list(pool.map(_stop_one, [name for name in names if name not in last]))
    for name in last:
        if command := teardowns[name]:
            # fails where the container does not run: then there is nothing to end
            subprocess.run(["docker", "exec", name, *command], check=False, capture_output=True)
        _stop_one(name)


def _stop_one(name: str) -> None:
    # a grace period: a database should not be killed, even to be removed
    _docker("POST", f"/containers/{name}/stop?t=30")


def _labels(name: str) -> dict[str, str]:
    found = _docker("GET", f"/containers/{name}/json") or {}
    return found.get("Config", {}).get("Labels") or {}


def _docker(verb: str, path: str):
    connection = http.client.HTTPConnection("localhost", timeout=120)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(120)
    try:
        connection.sock.connect(docker.MACHINE.socket)
    except OSError:
        return None  # no daemon, so nothing of ours runs in it
    try:
        connection.request(verb, path)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status >= 400 and answer.status not in (404, 409):
        raise SetupError(f"Docker: {verb} {path}: {body.decode(errors='replace').strip()}")
    return json.loads(body) if body and answer.status == 200 else None


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        sys.exit(main())
    except SetupError as error:
        sys.exit(f"clean: {error}")
