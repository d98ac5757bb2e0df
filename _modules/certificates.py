"""Certificates of a host's services: delivered as files that running containers see, and reread."""

from __future__ import annotations

import os
import ssl
import time
from pathlib import Path

from salt.exceptions import CommandExecutionError

from saltern import files, paths
from saltern.host import facts
from saltern.host.adapter import salt_errors
from saltern.service import certificates, tasks
from saltern.tls import pem

# Seconds for a server to take a new certificate; a loaded host starts Keystone in a minute.
_PATIENCE = 180
# Seconds for one to show what it has: what does not speak TLS yet may say nothing at all.
_GLANCE = 10


def differences(service: str) -> dict[str, str]:
    """Return what differs on disk from what the master has, file to ``new``, ``changed`` or ``removed``.

    :param service: Name of the formula.
    :raises CommandExecutionError: A certificate does not exist, or the pillar is wrong.

    CLI Example:

    .. code-block:: bash

        salt aio certificates.differences haproxy
    """
    folder, wanted, uid = _wanted(service)
    there = {path.name for path in folder.glob("*")}
    found = dict.fromkeys(there - wanted.keys(), "removed")
    for name, (text, mode) in wanted.items():
        path = folder / name
        if name not in there:
            found[name] = "new"
        elif path.read_text() != text or _owner(path) != (mode, uid):
            found[name] = "changed"
    return found


def write(service: str) -> dict[str, str]:
    """Write the certificates of a service and make its running containers read them.

    :returns: What has changed, see :func:`differences`.
    :raises CommandExecutionError: A container cannot be made to read them.

    CLI Example:

    .. code-block:: bash

        salt aio certificates.write haproxy
    """
    folder, wanted, uid = _wanted(service)
    found = differences(service)
    if not found:
        return found
    running = _running(service, f"{folder}:{paths.TLS}:ro")
    renewed = running and found.get("host.pem") == "changed"
    shown = [port for port in _tls_ports(service) if _shown(port)] if renewed else []
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    os.chown(folder, uid, uid)
    for name, what in found.items():
        if what == "removed":
            (folder / name).unlink()
        else:
            text, mode = wanted[name]
            # Servers that watch the folder must not see unfinished files.
            files.write(folder / name, text, mode, uid, scratch=folder.parent)
    if found.keys() - {"bundle.pem"}:
        _reload(service, running)
    for port in shown:
        _await(port, pem.first(wanted["host.pem"][0]), service)
    return found


def deliver(services: list[str] | None = None) -> dict[str, dict[str, str]]:
    """Write the certificates of this host's services, and wait until they are shown; nothing is restarted.

    :param services: Names of services; None is all of this host.
    :returns: Service to what has changed, see :func:`differences`.

    CLI Example:

    .. code-block:: bash

        salt aio certificates.deliver
    """
    with salt_errors():
        formulas = facts.fresh_cloud(__pillar__, __opts__, __grains__, __context__)["formulas"]
    chosen = [
        name
        for name, formula in formulas.items()
        if "certificates" in formula and (services is None or name in services)
    ]
    changed = {name: write(name) for name in chosen}
    return {name: found for name, found in changed.items() if found}


def _running(service: str, mount: str) -> set[str]:
    """Return the service's running containers that see the certificates."""
    return {
        one["name"]
        for one in __salt__["container.snapshot"]()
        if one["service"] == service
        and not one["part"]
        and one["state"] == "running"
        and mount in (one["spec"] or {}).get("volumes", [])
    }


def _reload(service: str, running: set[str]) -> None:
    """Run what makes containers read new certificates in those that have them."""
    formula = facts.cloud(__pillar__, __opts__)["formulas"][service]
    for task in tasks.of_phase(formula, "reload").values():
        container = task["container"]
        if container not in running:
            continue
        done = __salt__["container.exec"](container, task["command"])
        if done["retcode"]:
            said = f"{done['stdout']}\n{done['stderr']}".strip()
            raise CommandExecutionError(f"{container} did not take its new certificate: {said}")


def _tls_ports(service: str) -> list[tuple[str, int]]:
    """Return where the service shows its host's certificate to HAProxy."""
    cloud = facts.cloud(__pillar__, __opts__)
    ports = cloud["services"][service]["ports"].values() if cloud["tls"]["backend"] else []
    return [
        (cloud["host"]["address"], port[key])
        for port in ports
        for key in ("port", "spare")
        if port.get("tls") and key in port
    ]


def _shown(port: tuple[str, int]) -> str:
    """Return the certificate that is shown there in PEM form, empty if there is none."""
    try:
        return ssl.get_server_certificate(port, timeout=_GLANCE)
    except OSError:
        return ""


def _await(port: tuple[str, int], certificate: bytes, service: str) -> None:
    """Wait until a new certificate is shown: servers start new processes for it."""
    end = time.monotonic() + _PATIENCE
    while pem.first(_shown(port)) != certificate:
        if time.monotonic() > end:
            address = ":".join(map(str, port))
            raise CommandExecutionError(
                f"{service} does not show its new certificate on {address} within {_PATIENCE} s. "
                "Read the log of its container"
            )
        time.sleep(0.5)


def _wanted(service: str) -> tuple[Path, dict[str, tuple[str, int]], int]:
    """Return the folder of a service's certificates, its files with their modes, and their owner."""
    with salt_errors():
        cloud = facts.cloud(__pillar__, __opts__)
        wanted = certificates.delivery(cloud, service)
    folder = Path(paths.root("var", __opts__), "certificates", service)
    return folder, wanted, cloud["formulas"][service]["uid"]


def _owner(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mode & 0o777, found.st_uid
