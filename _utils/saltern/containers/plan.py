"""What one container needs to run as wanted: a pure decision over a listing of the host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from saltern.containers import actual
from saltern.containers.actual import Container, Snapshot
from saltern.containers.replace import Step, recover
from saltern.containers.spec import Change, Spec

# `digest` and `path` of a config generation.
Generation = Mapping[str, str]


class Action(Enum):
    """What a container needs, beside the repair of an interrupted replacement."""

    NOTHING = "runs as wanted"
    CHECK = "runs as wanted, but is not healthy: wait for it"
    CLEAN = "runs as wanted; what a failed replacement has left would be removed"
    START = "would be started"
    CREATE = "would be created"
    REPLACE = "would be replaced"
    RELOAD = "would read its new configuration"


@dataclass(frozen=True)
class Plan:
    """What one container needs, and why.

    :ivar repair: Steps that end an interrupted replacement; they come first.
    :ivar matches: The container in the place was made from the wanted spec.
    """

    action: Action
    changes: list[Change] = field(default_factory=list)
    repair: tuple[Step, ...] = ()
    matches: bool = False

    def shown(self) -> dict[str, dict[str, Any]]:
        """Return the changes as states show them: field to old and new."""
        return {one.field: {"old": one.old, "new": one.new} for one in self.changes}


def decide(
    snapshot: Snapshot, spec: Spec, service: str, generation: Generation | None = None
) -> Plan:
    """Return what makes a container run as wanted. Nothing is touched or asked.

    :param generation: ``digest`` and ``path`` of the wanted config.
    """
    image_id, config = snapshot.image_id(spec.image), generation["digest"] if generation else ""

    def differences(container: Container) -> list[Change]:
        return actual.compare(container, spec, service, image_id, config)

    current = snapshot.get(spec.name)
    previous = snapshot.get(spec.name, actual.PREVIOUS)
    next_ = snapshot.get(spec.name, actual.NEXT)
    beside = next_ is not None and next_.state == "running"
    if beside and not current:
        current = next_
    changes = differences(current) if current else []
    matches = bool(current) and not changes
    running = bool(current) and current.state in ("running", "restarting", "paused")
    repair = recover(
        current=bool(current),
        running=running,
        matches=matches,
        next_=bool(next_),
        previous=bool(previous),
        next_running=beside,
    )
    noted = [Change("replacement", "interrupted", step.value) for step in repair[:1]]
    failed = snapshot.get(spec.name, actual.FAILED)
    # It goes as soon as a container is up that is as wanted.
    left = [Change("failed", f"{failed.full_name}, kept for inspection", None)] if failed else []
    if Step.RESTORE in repair and previous:
        current, running, changes = previous, False, differences(previous)
    if not current:
        new = f"{spec.image} (not here yet)" if image_id is None else spec.image
        return Plan(Action.CREATE, [Change("container", None, new), *noted, *left], repair, matches)
    if changes:
        running = running and current.state == "running"
        reload = current.live and spec.reload and {one.field for one in changes} == {"config"}
        if reload and running:
            read = [Change(one.field, one.old, f"{one.new}, without a restart") for one in changes]
            return Plan(Action.RELOAD, read + noted + left, repair, matches)
        return Plan(Action.REPLACE, changes + noted + left, repair, matches)
    if current.state not in ("running", "restarting") or not running:
        state = Change("state", current.state, "running")
        return Plan(Action.START, [state, *noted, *left], repair, matches)
    if repair:
        return Plan(Action.CHECK, noted, repair, matches)
    wait = current.state == "restarting" or current.health in ("unhealthy", "starting")
    if wait:
        return Plan(Action.CHECK, left)
    return Plan(Action.CLEAN, left) if left else Plan(Action.NOTHING)
