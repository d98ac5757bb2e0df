"""Revisions of this host's services: what their containers were made from, and the way back to that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from saltern import paths
from saltern.containers import revisions
from saltern.containers.engine import Engine
from saltern.containers.host import Host
from saltern.containers.spec import ABOUT_REPLACING
from saltern.errors import SalternError
from saltern.host import facts
from saltern.host.adapter import salt_errors
from saltern.service import states, tasks

__func_alias__ = {"list_": "list"}


def list_(services: list[str] | None = None) -> dict[str, list[dict[str, Any]]]:
    """Return the revisions that this host keeps, service to ``id``, ``release`` and ``images``, newest last.

    :param services: Names of services; None is all of this host.

    CLI Example:

    .. code-block:: bash

        salt aio revision.list services='[glance]'
    """
    with salt_errors():
        return {
            name: [
                {
                    "id": one["id"],
                    "release": one["release"],
                    "images": sorted({each["image"] for each in one["containers"].values()}),
                }
                for one in revisions.read(_path(name))
            ]
            for name in _services(services)
        }


def note(services: list[str] | None = None) -> dict[str, str]:
    """Keep what services run now as their newest revision.

    :param services: Names of services; None is all of this host.
    :returns: Service to the id of what it runs; services without containers are left out.

    CLI Example:

    .. code-block:: bash

        salt aio revision.note services='[glance]'
    """
    ids = {}
    with salt_errors():
        for name in _services(services):
            revision = _now(name)
            if revision["containers"]:
                revisions.note(_path(name), revision)
                ids[name] = revision["id"]
    return ids


def restore(revision: dict[str, str]) -> dict[str, list[str]]:
    """Bring the containers of services back to a revision: its images, configuration and options.

    The last container of a service goes first, as its API is the last one to move on. A container that does not
    come up leaves the present one in place; those that the revision does not have are removed.

    :param revision: Service to the id of one of its revisions.
    :returns: Service to the containers that were replaced or removed.
    :raises CommandExecutionError: A revision, an image or a configuration is not on this host any more, or a
        container did not come up.

    CLI Example:

    .. code-block:: bash

        salt aio revision.restore '{glance: 1f0c5d2a77b3}'
    """
    done = {}
    with salt_errors():
        chosen = _services(list(revision))
        # All that can be seen to be missing is seen before the first container is touched.
        goals = {name: _goal(name, revision[name]) for name in chosen}
        for name in reversed(chosen):
            changed = _restore(name, *goals[name])
            if changed:
                done[name] = changed
    return done


def _goal(service: str, id_: str) -> tuple[revisions.Revision, dict[str, Any]]:
    """Return a revision and the spec of each of its containers."""
    found = revisions.find(revisions.read(_path(service)), id_, service)
    snapshot = _host().snapshot()
    for name, one in found["containers"].items():
        folder = _generation(service, one["config"])
        if folder and not Path(folder["path"]).is_dir():
            raise SalternError(
                f"{name}: its configuration {folder['path']} is not on this host any more"
            )
    return found, {
        name: revisions.wanted(name, one, snapshot, _about_replacing(service, name))
        for name, one in found["containers"].items()
    }


def _about_replacing(service: str, name: str) -> dict[str, Any]:
    """Return how a container is replaced by what the pillar says now; nothing if it does not know it."""
    cloud = _cloud()
    declared = cloud["formulas"][service].get("containers", {}).get(name)
    if not declared:
        return {}
    context = facts.context(service, __pillar__, __opts__, __grains__)
    now = states.container(service, name, declared, cloud, context)
    return {key: now.get(key) for key in ABOUT_REPLACING}


def _restore(service: str, revision: revisions.Revision, specs: dict[str, Any]) -> list[str]:
    here = _host()
    changed = []
    for name, one in reversed(revision["containers"].items()):
        plan = here.running(specs[name], service, _generation(service, one["config"]))
        if plan.changes:
            changed.append(name)
    present = here.snapshot().current().values()
    for name in [one.name for one in present if one.service == service and not one.once]:
        if name not in specs:
            here.absent(name)
            changed.append(name)
    for name, marker in revision["once"].items():
        __salt__["once.done"](name, marker, list(marker))
    revisions.note(_path(service), revision)
    return changed


def _now(service: str) -> revisions.Revision:
    formula = _cloud()["formulas"].get(service, {})
    names = [
        tasks.container_name(service, name)
        for name, task in tasks.of_phase(formula, "deploy").items()
        if task.get("skip_on_upgrade")
    ]
    ran = __salt__["once.list"]() if names else {}
    once = {name: ran[name] for name in names if name in ran}
    # The run's own listing: at the end of each service of a highstate, another one would be dear.
    rows = __salt__["container.snapshot"]()
    return revisions.now(rows, service, formula.get("containers", {}), once)


def _generation(service: str, digest: str) -> dict[str, str] | None:
    if not digest:
        return None
    path = Path(paths.root("etc", __opts__), "services", service, digest)
    return {"digest": digest, "path": str(path)}


def _path(service: str) -> Path:
    return revisions.file(paths.root("var", __opts__), service)


def _services(chosen: list[str] | None) -> list[str]:
    return [name for name in _cloud()["formulas"] if chosen is None or name in chosen]


def _cloud() -> Any:
    return facts.fresh_cloud(__pillar__, __opts__, __grains__, __context__)


def _host() -> Host:
    """Return this host, to change it."""
    prefix = __opts__.get("saltern", {}).get("prefix", "")
    return Host(Engine(), prefix, locks=Path(paths.root("var", __opts__), "locks"))
