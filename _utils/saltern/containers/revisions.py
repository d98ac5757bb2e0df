"""Revisions: what all containers of a service were made from, noted whenever it is as wanted: its way back.

A host keeps the last few of each service, newest last. What a revision names, images and generations of
configuration, must stay on the host as long as it may be needed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from saltern import files, space
from saltern.containers.actual import Snapshot
from saltern.containers.spec import Spec
from saltern.errors import SalternError

# How many of a service are kept: the present one, the one before it, and some to look at.
KEPT = 5
Revision = dict[str, Any]


def now(
    rows: Iterable[Mapping[str, Any]],
    service: str,
    order: Iterable[str],
    once: Mapping[str, Any] | None = None,
) -> Revision:
    """Return what a service runs now as a revision.

    :param rows: What ``container.snapshot`` says.
    :param order: Names of its containers in the order in which they start.
    :param once: Markers of its tasks whose work belongs to a release, by name: see :mod:`saltern.containers.once`.
    :returns: ``id`` (12 hex digits); ``release``, of OpenStack, empty if no image says it; ``containers``: name to
        ``image``, ``image_id``, ``config`` and ``spec``; ``once``.
    """
    place = {name: number for number, name in enumerate(order)}
    found = [
        one for one in rows if one["service"] == service and not one["part"] and not one["once"]
    ]
    found.sort(key=lambda one: (place.get(one["name"], len(place)), one["name"]))
    kept = ("image", "image_id", "config", "spec")
    containers = {one["name"]: {key: one[key] for key in kept} for one in found}
    text = json.dumps({name: {**one, "image": ""} for name, one in containers.items()})
    return {
        "id": hashlib.sha256(text.encode()).hexdigest()[:12],
        "release": max((one["release"] for one in found), default=""),
        "containers": containers,
        "once": dict(once or {}),
    }


def file(var: str, service: str) -> Path:
    """Return where a host keeps the revisions of a service.

    :param var: Its folder for what it keeps.
    """
    return Path(var, "revisions", f"{service}.json")


def read(path: Path) -> list[Revision]:
    """Return the revisions of a service that a host keeps, newest last.

    :raises SalternError: The file is spoilt.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return []
    except ValueError:
        raise SalternError(
            f"{path} is not JSON: remove it; the way back to what ran before is lost with it"
        ) from None


def note(path: Path, revision: Revision) -> bool:
    """Keep a revision as the newest one of a service; return whether it was another one before."""
    known = read(path)
    if known and known[-1]["id"] == revision["id"]:
        return False
    kept = [one for one in known if one["id"] != revision["id"]][1 - KEPT :]
    with space.needed(path.parent):
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    # The environment of a container is in it: nobody else's business.
    files.write(path, json.dumps([*kept, revision], sort_keys=True) + "\n", 0o600)
    return True


def find(known: Iterable[Revision], id_: str, service: str) -> Revision:
    """Return a revision by its id.

    :raises SalternError: It is not kept.
    """
    found = {one["id"]: one for one in known}
    if id_ not in found:
        there = ", ".join(found) or "none"
        raise SalternError(f"{service} has no revision {id_} on this host; there are: {there}")
    return found[id_]


def wanted(
    name: str, container: Mapping[str, Any], snapshot: Snapshot, more: Mapping[str, Any]
) -> Spec:
    """Return the spec that makes a container of a revision anew.

    :param container: Its part of the revision.
    :param more: What a revision does not hold, see :data:`saltern.containers.spec.ABOUT_REPLACING`.
    :raises SalternError: Its image is not on the host any more.
    """
    image, id_ = container["image"], container["image_id"]
    if snapshot.image_id(image) != id_:
        # Its name means another image by now.
        image = id_
        if snapshot.image_id(id_) is None:
            raise SalternError(
                f"{name}: its image {container['image']} ({id_[:19]}) is not on this host any more: "
                "build or pull it, or deploy forwards"
            )
    return Spec.from_dict({**container["spec"], **more, "name": name, "image": image})


def generations(known: Iterable[Revision]) -> set[str]:
    """Return the digests of configuration that revisions name."""
    return {one["config"] for each in known for one in each["containers"].values() if one["config"]}


def images(known: Iterable[Revision]) -> set[str]:
    """Return the ids of the images that revisions name."""
    return {one["image_id"] for each in known for one in each["containers"].values()}
