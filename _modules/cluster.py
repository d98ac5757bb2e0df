"""Members of clusters on this host: what they hold, and whether they form a cluster at their next start.

Which containers those are, and by which files one tells, is in ``service.yml`` under ``clusters``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from saltern.containers import inside
from saltern.host import facts as host
from saltern.host.adapter import salt_errors
from saltern.images.names import image_name
from saltern.service import tasks, templates


def members(services: list[str] | None = None) -> dict[str, dict[str, dict[str, bool]]]:
    """Return what this host's members of clusters are like.

    :param services: Names of services; None is all of this host.
    :returns: Service to container to ``data``, ``alone``, ``marked``, ``running``, ``healthy``, see
        :class:`saltern.run.formation.Member`.

    CLI Example:

    .. code-block:: bash

        salt '*' cluster.members
    """
    found = __salt__["container.list"]()
    facts: dict[str, dict[str, dict[str, bool]]] = {}
    for service, formula in _clusters(services).items():
        for container, cluster in formula["clusters"].items():
            there = {
                name: bool(path and path.exists())
                for name, path in _paths(formula, container, cluster).items()
            }
            running = found.get(container, {}).get("state") == "running"
            facts.setdefault(service, {})[container] = {
                "data": there["data"],
                "alone": there.get("alone", False),
                "marked": there["form"],
                "running": running,
                "healthy": running and __salt__["container.check"](container)["healthy"],
            }
    return facts


def prepare(form: list[str] | None = None, start: list[str] | None = None) -> dict[str, str]:
    """Mark members that form their cluster at their next start, and start stopped ones without waiting.

    :param form: Containers to mark.
    :param start: Containers to start; one that is not there is left to the states.
    :returns: Container to what was done.
    :raises CommandExecutionError: It could not be done.

    CLI Example:

    .. code-block:: bash

        salt control1 cluster.prepare form='[mariadb]'
    """
    done = {}
    for container in form or []:
        service, formula = _owner(container)
        _touch(service, formula, container, formula["clusters"][container]["form"])
        done[container] = "marked"
    there = __salt__["container.list"]()
    for container in [one for one in start or [] if one in there]:
        __salt__["container.start"](container, wait=False)
        done[container] = "started"
    return done


def forget(lost: dict[str, list[str]]) -> dict[str, str]:
    """Make clusters forget other hosts, whose members are stopped for good or have lost their data.

    :param lost: Container on this host, whose member must be healthy, to the minion ids of the hosts
        that its own cluster forgets.
    :returns: Container to what it said.
    :raises CommandExecutionError: A cluster refuses, such as for a member that runs.

    CLI Example:

    .. code-block:: bash

        salt control1 cluster.forget '{"rabbitmq": ["control3"]}'
    """
    said: dict[str, str] = {}
    for container, hosts in lost.items():
        service, formula = _owner(container)
        commands = [
            templates.resolve(task["command"], host.context(service, *_dunders()))
            for task in tasks.of_phase(formula, "host_removed").values()
            if task["container"] == container
        ]
        if not commands:
            continue
        (command,) = commands
        addresses = [_cloud()["hosts"][name]["address"] for name in hosts]
        done = __salt__["container.exec"](container, _for_each(command, addresses), timeout=300)
        if done["retcode"] != 0:
            raise CommandExecutionError(f"{container}: {done['stderr'].strip()}")
        said[container] = done["stdout"].strip()
    return said


def unmark(container: str) -> bool:
    """Take the mark from a member, so that it joins at its next start; return whether it had one.

    CLI Example:

    .. code-block:: bash

        salt control1 cluster.unmark mariadb
    """
    _, formula = _owner(container)
    mark = _paths(formula, container, formula["clusters"][container])["form"]
    if not mark or not mark.exists():
        return False
    mark.unlink()
    return True


def _for_each(command: list[str], addresses: list[str]) -> list[str]:
    """Return a command with each word that holds ``{address}`` once for every address."""
    return [
        word.replace("{address}", address)
        for word in command
        for address in (addresses if "{address}" in word else [""])
    ]


def _touch(service: str, formula: Mapping[str, Any], container: str, path: str) -> None:
    """Make a file in the container's volumes, by a container: so a new volume gets its owner."""
    spec = formula["containers"][container]
    result = __salt__["container.run"](
        f"{container}-mark",
        service=service,
        image=image_name(_cloud(), spec["image"]),
        command=["touch", path],
        volumes=templates.resolve(spec["volumes"], host.context(service, *_dunders())),
        timeout=120,
    )
    if result["retcode"] != 0:
        raise CommandExecutionError(f"{path} of {container}: {result['stderr'].strip()}")


def _paths(
    formula: Mapping[str, Any], container: str, cluster: Mapping[str, Any]
) -> dict[str, Path | None]:
    """Return the files of a cluster as paths of the host; None while there is no volume."""
    volumes = {name: one["path"] for name, one in __salt__["container.volumes"]().items()}
    mounted = formula["containers"][container].get("volumes", [])
    return {
        key: inside.on_host(cluster[key], mounted, volumes)
        for key in ("data", "alone", "form")
        if key in cluster
    }


def _owner(container: str) -> tuple[str, Mapping[str, Any]]:
    for service, formula in _clusters(None).items():
        if container in formula["clusters"]:
            return service, formula
    raise CommandExecutionError(f"{container} is no container of a cluster on this host")


def _clusters(services: list[str] | None) -> dict[str, Mapping[str, Any]]:
    return {
        name: formula
        for name, formula in _cloud()["formulas"].items()
        if formula.get("clusters") and (services is None or name in services)
    }


def _dunders() -> tuple[Any, Any, Any]:
    return __pillar__, __opts__, __grains__


@salt_errors()
def _cloud() -> Mapping[str, Any]:
    return host.fresh_cloud(__pillar__, __opts__, __grains__, __context__)
