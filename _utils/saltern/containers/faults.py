"""What is wrong with the containers of a host, against what they were when all was well: decisions only.

A host's newest revisions say what it should have, without its pillar and without rendering anything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from saltern.containers.actual import NEXT, Container, Snapshot
from saltern.containers.revisions import Revision
from saltern.containers.stops import SALTERN, Stop

STOPPED = "container_stopped"
UNHEALTHY = "container_unhealthy"
MISSING = "container_missing"
CHANGED = "container_changed"
CONFIGURATION = "configuration_changed"
IMAGE = "image_missing"
BY_HAND = "stopped_by_hand"
# What a run of states changes by itself while it goes on.
IN_MOTION = frozenset({MISSING, CHANGED, CONFIGURATION, IMAGE, STOPPED})
# Docker restarts by itself what exits, and its health checks have retries of their own.
UNHEALTHY_SECONDS = 10.0
_SAID = 300


@dataclass(frozen=True)
class Fault:
    """Something that is wrong.

    :ivar rule: Which kind, by the name of the rule about it.
    :ivar name: Of the container; that of the service where it concerns all of them.
    :ivar since: When it was seen first, in seconds since 1970.
    """

    rule: str
    service: str
    name: str
    said: str
    since: float = 0.0

    @property
    def key(self) -> str:
        """Return what tells it from others of this host."""
        return f"{self.rule} {self.service} {self.name}"

    def plain(self) -> dict[str, Any]:
        """Return its fields as data, the text bounded."""
        return asdict(replace(self, said=self.said[:_SAID]))


def find(
    wanted: Mapping[str, Revision],
    snapshot: Snapshot,
    stopped: Mapping[str, Stop],
    held: Collection[str],
    written: Callable[[str, str], bool | None],
) -> list[Fault]:
    """Return what is wrong.

    :param wanted: Service to its newest revision.
    :param stopped: Container to why it is down on purpose.
    :param held: Containers that a run of ours changes just now: nothing is said of them.
    :param written: Returns of a service and a digest whether that generation is as it was written.
    """
    found = []
    for service, revision in sorted(wanted.items()):
        containers = {name: one for name, one in revision["containers"].items() if name not in held}
        for name, one in containers.items():
            found += _of_container(service, name, one, snapshot, stopped.get(name))
            # By its name it costs no call, as long as that is its name.
            if one["image_id"] != snapshot.image_id(one["image"]) and not snapshot.image_id(
                one["image_id"]
            ):
                said = f"image {one['image']} ({one['image_id'][7:19]}) is not on this host"
                found.append(Fault(IMAGE, service, name, said))
        for digest in sorted({one["config"] for one in containers.values() if one["config"]}):
            if written(service, digest) is False:
                said = f"generation {digest} was edited, or is gone"
                found.append(Fault(CONFIGURATION, service, service, said))
    return found


def _of_container(
    service: str, name: str, wanted: Mapping[str, Any], snapshot: Snapshot, stop: Stop | None
) -> list[Fault]:
    one = snapshot.get(name) or snapshot.get(name, NEXT)
    # What somebody has removed with Docker's own commands is made anew, also if it was stopped before.
    if stop and (one.state != "running" if one else stop.by == SALTERN):
        by = "a command of Saltern" if stop.by == SALTERN else "somebody"
        return [Fault(BY_HAND, service, name, f"stopped by {by}", stop.since)]
    if not one:
        return [Fault(MISSING, service, name, "removed")]
    if different := _different(one, service, wanted):
        return [Fault(CHANGED, service, name, f"made otherwise: {', '.join(different)}")]
    if one.state == "paused":
        return [Fault(BY_HAND, service, name, "paused by somebody")]
    if one.state == "restarting":
        return [Fault(UNHEALTHY, service, name, f"exits again and again: {one.status}")]
    if one.state != "running":
        return [Fault(STOPPED, service, name, one.status or one.state)]
    if one.health == "unhealthy":
        return [Fault(UNHEALTHY, service, name, "its health check fails")]
    return []


def _different(one: Container, service: str, wanted: Mapping[str, Any]) -> list[str]:
    pairs = {
        "image": (one.image_id, wanted["image_id"]),
        "config": (one.config, wanted["config"]),
        "spec": (one.spec, wanted["spec"]),
        "service": (one.service, service),
    }
    return [what for what, (is_, should) in pairs.items() if is_ != should]


def remembered(
    found: Iterable[Fault], known: Mapping[str, float], now: float, grace: Mapping[str, float]
) -> tuple[list[Fault], dict[str, float]]:
    """Return the faults that have lasted long enough, with the time since when, and all of these times.

    :param known: Key of a fault to when it was seen first.
    :param now: Seconds since 1970.
    :param grace: Rule to the seconds that a fault lasts before it is one.
    """
    since = {one.key: one.since or known.get(one.key, now) for one in found}
    lasting = [
        replace(one, since=since[one.key])
        for one in found
        if now - since[one.key] >= grace.get(one.rule, 0)
    ]
    return lasting, since
