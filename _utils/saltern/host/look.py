"""A look at a host: what is wrong with its containers and their configuration now."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from saltern import files, paths, space
from saltern.containers import faults, revisions, stops
from saltern.containers.engine import Engine
from saltern.containers.faults import Fault
from saltern.containers.host import Host
from saltern.containers.lock import was_held
from saltern.errors import SalternError
from saltern.service import generation

# A rule about Docker itself, beside those about containers.
DOCKER = "docker_down"


def room(opts: Mapping[str, Any]) -> dict[str, tuple[str, float]]:
    """Return kind to path and free bytes of the places that :data:`saltern.space.LEAST_MB` names.

    :param opts: ``__opts__`` of the minion.
    """
    places = {kind: paths.root(kind, opts) for kind in ("etc", "var")}
    with contextlib.suppress(SalternError):  # where Docker does not answer, others say so
        places["docker"] = Engine().root()
    return space.free(places)


class Eyes:
    """What is wrong with the containers of a host now.

    :param opts: ``__opts__`` of the minion.
    :param busy: Returns whether a run of states is under way.
    """

    def __init__(self, opts: Mapping[str, Any], busy: Callable[[], bool]) -> None:
        self.prefix = opts.get("saltern", {}).get("prefix", "")
        self._etc, self._var = (Path(paths.root(kind, opts)) for kind in ("etc", "var"))
        self.stopped = stops.folder(self._var)
        self.locks = self._var / "locks"
        self.busy = busy

    def look(self, engine: Engine) -> tuple[list[Fault], bool]:
        """Return what is wrong, and whether something could not be judged as a run is at it.

        :raises SalternError: Docker does not answer, or a file of ours is spoilt.
        """
        # What a run does meanwhile must not look like a fault: all that speaks of runs is asked before and after.
        wanted, moving, marks = self._wanted(), self.busy(), self._marks()
        held = self._held(wanted)
        snapshot = Host(engine, self.prefix).snapshot()
        marks |= self._marks()
        held |= self._held(wanted)
        found = faults.find(wanted, snapshot, marks, held, self._as_written)
        if found and self._wanted() != wanted:
            return [], True
        moving = bool(found) and (moving or self.busy())
        if moving:
            found = [one for one in found if one.rule not in faults.IN_MOTION]
        running = {name for name, one in snapshot.current().items() if one.state == "running"}
        for name in (running - held) & set(marks):
            stops.forget(self.stopped, self.prefix + name)
        return found, bool(held) or moving

    def _marks(self) -> dict[str, stops.Stop]:
        marks = stops.read(self.stopped)
        return {name.removeprefix(self.prefix): one for name, one in marks.items()}

    def _held(self, wanted: Mapping[str, revisions.Revision]) -> set[str]:
        """Return the containers that a run of ours is at: who holds a lock has it at any time to come."""
        named = {name for one in wanted.values() for name in one["containers"]}
        return {name for name in named if was_held(self.locks, self.prefix + name, float("inf"))}

    def stamps(self) -> tuple[Any, ...]:
        """Return what changes when configuration on the disk does."""
        return tuple(files.stamp(self._etc / "services" / name) for name in self._services())

    def first(self, engine: Engine) -> None:
        """Take what is down when the watch looks for the first time ever for stopped by somebody."""
        for one in Host(engine, self.prefix).snapshot().current().values():
            if one.state == "exited" and not one.once:
                stops.note(self.stopped, one.full_name, stops.SOMEBODY)

    def _services(self) -> list[str]:
        return sorted(path.stem for path in (self._var / "revisions").glob("[!.]*.json"))

    def _wanted(self) -> dict[str, revisions.Revision]:
        found = {name: revisions.read(revisions.file(self._var, name)) for name in self._services()}
        return {name: kept[-1] for name, kept in found.items() if kept}

    def _as_written(self, service: str, digest: str) -> bool | None:
        note = generation.note(self._var, service)
        return generation.as_noted(note, self._etc / "services" / service, digest)
