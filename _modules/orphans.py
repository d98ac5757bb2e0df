"""What this host has of instances, networks and volumes that may be no more; :mod:`saltern.run.orphans` decides."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from salt.exceptions import CommandExecutionError

from saltern.host import facts
from saltern.host.adapter import salt_errors
from saltern.service import scope

_FAILED = ".failed"


def found(services: list[str] | None = None) -> list[dict[str, Any]]:
    """Return all things of this host that could be left over, whether or not they are.

    :param services: Names of services; None is all of this host.
    :returns: ``service``, ``kind``, ``name``, ``minutes`` (age, None if not known), ``belongs_to`` and
        ``remedy`` of each; see ``leftovers`` in ``service.yml``.
    :raises CommandExecutionError: A command that lists them fails.

    CLI Example:

    .. code-block:: bash

        salt '*' orphans.found
    """
    things = []
    running = {
        name for name, one in __salt__["container.list"]().items() if one["state"] == "running"
    }
    for service, kind, declared in _declared(services):
        if declared["container"] not in running:
            continue
        for line in _run(declared, declared["list"]).splitlines():
            name, _, since = line.partition(" ")
            things.append(
                {
                    "service": service,
                    "kind": kind,
                    "name": name,
                    "minutes": int((time.time() - float(since)) / 60) if since else None,
                    "belongs_to": declared["belongs_to"],
                    "remedy": "" if "remove" in declared else declared["remedy"],
                }
            )
    return things + _containers(services)


def known() -> dict[str, Any]:
    """Return what services such as Nova know; runs where their client does.

    :raises CommandExecutionError: One of them does not answer.

    CLI Example:

    .. code-block:: bash

        salt control1 orphans.known
    """
    done = _ask(*_cloud()["services"])
    if done["retcode"] != 0:
        raise CommandExecutionError(done["stderr"].strip()[-2000:])
    return json.loads(done["stdout"])


def remove(things: list[dict[str, Any]]) -> list[str]:
    """Remove things that nobody owns.

    :param things: ``service``, ``kind`` and ``name`` of each, as the master has judged them.
    :returns: What was removed.
    :raises CommandExecutionError: One could not be removed; the others were.

    CLI Example:

    .. code-block:: bash

        salt aio orphans.remove '[{"service": "libvirt", "kind": "domain", "name": "0d6c..."}]'
    """
    declared = {(service, kind): one for service, kind, one in _declared(None)}
    removed, refused = [], []
    for one in things:
        try:
            what = f"{one['kind']} {one['name']}"
            if one["kind"] == "container" and one["name"].endswith(_FAILED):
                __salt__["container.remove_failed"](one["name"].removesuffix(_FAILED))
            elif not one["host"]:
                _delete(one["kind"], one["name"])
            else:
                how = declared[one["service"], one["kind"]]
                _run(how, [word.replace("{name}", one["name"]) for word in how["remove"]])
            removed.append(what)
        except CommandExecutionError as error:
            refused.append(f"{what}: {error}")
    if refused:
        raise CommandExecutionError("\n".join(refused))
    return removed


def _containers(services: list[str] | None) -> list[dict[str, Any]]:
    """Return what replacements that failed have kept for inspection."""
    return [
        {
            "service": one["service"],
            "kind": "container",
            "name": one["name"] + _FAILED,
            "minutes": None,
            "belongs_to": {"none": "(.*)"},
            "remedy": "",
        }
        for one in __salt__["container.snapshot"]()
        if one["part"] == "failed" and (services is None or one["service"] in services)
    ]


def _ask(*arguments: str) -> dict[str, Any]:
    client = scope.provider(_cloud(), "client")
    return __salt__["container.exec"](client, ["known-resources", *arguments], timeout=250)


def _delete(kind: str, identifier: str) -> None:
    done = _ask("--delete", kind, identifier)
    if done["retcode"] != 0:
        raise CommandExecutionError(done["stderr"].strip()[-2000:])


def _run(declared: Mapping[str, Any], command: list[str]) -> str:
    # Root of the container has its capabilities and no others.
    done = __salt__["container.exec"](declared["container"], command, user="0", timeout=120)
    if done["retcode"] != 0:
        raise CommandExecutionError(f"{declared['container']}: {done['stderr'].strip()[-1000:]}")
    return done["stdout"]


def _declared(services: list[str] | None) -> list[tuple[str, str, Mapping[str, Any]]]:
    return [
        (service, kind, one)
        for service, formula in _cloud()["formulas"].items()
        if services is None or service in services
        for kind, one in formula.get("leftovers", {}).items()
    ]


@salt_errors()
def _cloud() -> Mapping[str, Any]:
    return facts.fresh_cloud(__pillar__, __opts__, __grains__, __context__)
