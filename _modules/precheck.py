"""Checks of one host before a deployment: what it can do, and whether its configuration is right."""

from __future__ import annotations

import functools
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from salt.exceptions import CommandExecutionError

from saltern import masking, space
from saltern.errors import SalternError
from saltern.host import facts, prechecks
from saltern.host.adapter import salt_errors
from saltern.host.checks import Check, check
from saltern.host.prechecks import Listener
from saltern.images.names import image_name
from saltern.service import states, tasks, templates
from saltern.tls import store

try:
    import docker
except ImportError:
    docker = None

_LAST_LINES = 15
# The second is what systemd-resolved asks; Docker takes it where the first names only that.
_RESOLVERS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))


def hosts(services: list[str] | None = None) -> list[Check]:
    """Check that this host can run its services: ports, disk, memory, Docker, addresses, names, images,
    network interfaces, and the paths that services need.

    :param services: Unused; passed by ``rollout.called``: a host is checked as a whole.
    :returns: One row a check: ``check``, ``ok``, ``found``, ``remedy``.

    CLI Example:

    .. code-block:: bash

        salt aio precheck.hosts
    """
    cloud = _cloud()
    limits = cloud["limits"]
    client, error = _docker()
    info = client.info() if client else {}
    cgroup = f"cgroup v{info.get('CgroupVersion', '1')} ({info.get('CgroupDriver', '?')})"
    folder = space.existing(info.get("DockerRootDir", "/var/lib/docker"))
    present = (
        [tag for image in client.images() for tag in image["RepoTags"] or ()] if client else []
    )
    return [
        prechecks.docker(info.get("ServerVersion", ""), cgroup, error),
        prechecks.disk(str(folder), shutil.disk_usage(folder).free, limits["disk_gb"]),
        prechecks.memory(psutil.virtual_memory().total / 1e6, limits["memory_mb"]),
        prechecks.address(cloud, _addresses()),
        prechecks.vip(cloud, [network for _, network in facts.networks()]),
        prechecks.interfaces(cloud["interfaces"], psutil.net_if_addrs()),
        *prechecks.declared(cloud["formulas"], os.path.exists, _holds, _runs()),
        *prechecks.certificates(cloud, store.now()),
        prechecks.names(cloud, {name: _resolve(name) for name in _names(cloud)}),
        prechecks.dns(*_resolvers(client, info)),
        prechecks.ports(cloud, _listeners(client)),
        prechecks.images(cloud, present),
    ]


def config(services: list[str] | None = None) -> list[Check]:
    """Check the wanted configuration with each service's own checker, in its image.

    The configuration is written, as by ``orch.genconfig``; nothing that runs takes it.

    :param services: Names of services; None is all of this host.
    :returns: One row a service that has a checker, see :func:`hosts`.

    CLI Example:

    .. code-block:: bash

        salt aio precheck.config services='[keystone]'
    """
    cloud = _cloud()
    rows = []
    for name, formula in cloud["formulas"].items():
        if services is not None and name not in services:
            continue
        for task in tasks.of_phase(formula, "check").values():
            ok, found = _check_config(name, formula, task, cloud)
            found = masking.mask(found, cloud.get("secrets", {}))
            remedy = f"Correct the pillar {name}:config, or formulas/{name}/files"
            rows.append(check(name, ok, found, remedy))
    return rows


def _check_config(
    name: str, formula: dict[str, Any], task: dict[str, Any], cloud: dict[str, Any]
) -> tuple[bool, str]:
    """Return whether a service's checker is content, and what it says."""
    try:
        context = facts.context(name, __pillar__, __opts__, __grains__)
        if "certificates" in formula and not Path(context["certificates"], name).exists():
            __salt__["certificates.write"](name)
        # Their compiled Python is among them: without, the checker compiles all of it each time.
        mounts = {"volumes": templates.resolve(task.get("volumes", []), context)}
        done = __salt__["container.run"](
            f"{name}-check",
            service=name,
            image=image_name(cloud, task["image"]),
            command=templates.resolve(task["command"], context),
            config_dir=formula["config_dir"],
            generation={
                **__salt__["generation.path"](name),
                "path": __salt__["generation.write"](name),
            },
            tmpfs=["/tmp"],
            timeout=120,
            **states.trusting(mounts, name, formula, context),
        )
    except (SalternError, CommandExecutionError) as error:
        return False, str(error)
    said = f"{done['stdout']}\n{done['stderr']}".strip().splitlines()
    if done["retcode"] == 0:
        return True, "configuration is valid"
    return False, "\n".join([f"exit code {done['retcode']}", *said[-_LAST_LINES:]])


@salt_errors()
def _cloud() -> dict[str, Any]:
    return facts.fresh_cloud(__pillar__, __opts__, __grains__, __context__)


def _docker() -> tuple[Any, str]:
    """Return a client of Docker, or None and why not."""
    if docker is None:
        return None, "the Python package docker is missing in Salt's Python"
    try:
        return docker.APIClient(version="auto", timeout=30), ""
    except docker.errors.DockerException as error:
        return None, f"Docker does not answer: {error}"


def _addresses() -> list[str]:
    found = psutil.net_if_addrs().values()
    return [one.address.partition("%")[0] for addresses in found for one in addresses]


def _holds(service: str, expression: str) -> bool:
    return templates.holds(expression, facts.context(service, __pillar__, __opts__, __grains__))


def _runs() -> Callable[[str], bool]:
    """Return whether a program is one of the host's own, as a function of its name."""

    @functools.cache
    def programs() -> set[str]:
        return {one.info["name"] for one in psutil.process_iter(["name"]) if _on_the_host(one.pid)}

    return lambda name: name in programs()


def _on_the_host(pid: int) -> bool:
    """Return whether a process has the host's root file system; control groups tell less: libvirt leaves its own."""
    try:
        return os.path.samestat(os.stat(f"/proc/{pid}/root"), os.stat("/"))  # noqa: PTH116
    except OSError:  # it has ended
        return False


def _names(cloud: dict[str, Any]) -> list[str]:
    others = [name for name in cloud["hosts"] if name != cloud["host"]["id"]]
    urls = [cloud["internal_name"], cloud["external_name"]]
    return [socket.gethostname(), "localhost", *others, *urls]


def _resolve(name: str) -> str | None:
    try:
        return socket.getaddrinfo(name, None)[0][4][0]
    except OSError:
        return None


def _listeners(client: Any) -> list[Listener]:
    """Return the listening TCP sockets."""
    ours = _ours(client)
    found = []
    for one in psutil.net_connections(kind="tcp"):
        if one.status != psutil.CONN_LISTEN:
            continue
        owner = "an unknown process"
        if one.pid:
            try:
                owner = f"{psutil.Process(one.pid).name()} (pid {one.pid})"
            except psutil.Error:
                continue
        held = bool(one.pid) and ours(one.pid)
        found.append(Listener(one.laddr.ip, one.laddr.port, owner, held))
    return found


def _resolvers(client: Any, info: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
    """Return the host's files of DNS servers, and container to its own, of those that have the host's network."""
    own = [path.read_text() for path in _RESOLVERS if path.exists()]
    running = client.containers(filters={"label": "saltern.service"}) if client else []
    files = {
        one["Names"][0].lstrip("/"): Path(
            info["DockerRootDir"], f"containers/{one['Id']}/resolv.conf"
        )
        for one in running
        if one["HostConfig"]["NetworkMode"] == "host"
    }
    return own, {name: path.read_text() for name, path in files.items() if path.exists()}


def _ours(client: Any) -> Callable[[int], bool]:
    """Return whether a process is one of our containers', told by its control group."""
    found = client.containers(filters={"label": "saltern.service"}) if client else []
    ids = [one["Id"] for one in found]

    def ours(pid: int) -> bool:
        try:
            group = Path(f"/proc/{pid}/cgroup").read_text()
        except OSError:  # it has ended
            return False
        return any(id_ in group for id_ in ids)

    return ours
