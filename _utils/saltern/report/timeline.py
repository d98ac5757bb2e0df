"""One run as a timeline: a row a phase, and below it a row for each service that hosts worked on in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saltern.report.scale import Scale, Tick, passed
from saltern.run.progress import count
from saltern.run.summary import took

# A service, and what is kept of each of its hosts.
Part = tuple[str, list[Mapping[str, Any]]]

WIDTH, ROW, TOP = 1180.0, 26.0, 30.0
_LEFT, _RIGHT = 330.0, 1000.0
# Characters of a name that have room left of the bars.
_LETTERS = 46
_TICKS = 8
# What is shorter would not be seen; bars that are closer are one.
_THIN = 3.0


@dataclass(frozen=True)
class Bar:
    """Some time that something took; pixels from the left."""

    x: float
    width: float


@dataclass(frozen=True)
class Row:
    """A phase, or a service.

    :ivar kind: ``phase`` or ``service``.
    :ivar name: What has room, ``title`` all of it.
    :ivar y: Its upper edge in pixels.
    :ivar note: How long it took, and on how many hosts.
    """

    kind: str
    name: str
    title: str
    ok: bool
    y: float
    bars: list[Bar]
    note: str


@dataclass(frozen=True)
class Timeline:
    """All of a run, in pixels."""

    rows: list[Row]
    ticks: list[Tick]
    width: float
    height: float


def draw(run: Mapping[str, Any]) -> Timeline:
    """Return the timeline of a run.

    :param run: A record of :mod:`saltern.run.history`; where an older one does not say when something ended,
        phases follow each other, and services have no bar.
    """
    phases = list(_phases(run["phases"]))
    parts: list[Part] = [(name, list(hosts.values())) for name, hosts in run["services"].items()]
    ends = [end for _, _, end in phases]
    ends += [one.get("ended", 0.0) for _, hosts in parts for one in hosts]
    scale = Scale(0, max([1.0, run["seconds"], *ends]), _LEFT, _RIGHT)
    rows: list[Row] = []

    def add(
        kind: str, title: str, ok: bool, spans: Iterable[tuple[float, float]], note: str
    ) -> None:
        name = title if len(title) <= _LETTERS else f"{title[: _LETTERS - 1].rstrip()}…"
        rows.append(Row(kind, name, title, ok, TOP + ROW * len(rows), _bars(spans, scale), note))

    below = _below(phases, parts)
    for number, one in enumerate([*phases, None]):
        if one:
            phase, start, end = one
            add("phase", phase["phase"], phase["ok"], [(start, end)], took(phase["seconds"]))
        for name, hosts in below.get(number, ()):
            add("service", name, all(part.get("ok", True) for part in hosts), *_worked(hosts))
    ticks = scale.ticks(_TICKS, passed)
    return Timeline(rows, ticks, WIDTH, TOP + ROW * len(rows) + 8)


def of_hosts(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what each host did in a run, those that took longest on top.

    :returns: ``host``, ``services`` (how many), ``states`` (how many changed), ``seconds`` of work (None if the
        record is older and does not say), ``ok``.
    """
    found: dict[str, dict[str, Any]] = {}
    for hosts in run["services"].values():
        for host, part in hosts.items():
            one = found.setdefault(
                host, {"host": host, "services": 0, "states": 0, "seconds": None, "ok": True}
            )
            one["services"] += 1
            one["states"] += part["states"]
            one["ok"] = one["ok"] and part.get("ok", True)
            if "seconds" in part:
                one["seconds"] = round((one["seconds"] or 0) + part["seconds"], 1)
    return sorted(found.values(), key=lambda one: (-(one["seconds"] or 0), one["host"]))


def _phases(
    phases: Sequence[Mapping[str, Any]],
) -> Iterable[tuple[Mapping[str, Any], float, float]]:
    """Yield each phase with the seconds when it began and ended, after the run's beginning."""
    last = 0.0
    for one in phases:
        end = one.get("ended", last + one["seconds"])
        yield one, max(end - one["seconds"], 0.0), end
        last = end


def _spans(hosts: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    return [(one["ended"] - one["seconds"], one["ended"]) for one in hosts if "ended" in one]


def _worked(hosts: Sequence[Mapping[str, Any]]) -> tuple[list[tuple[float, float]], str]:
    """Return when hosts worked on a service, and that in words."""
    spans, note = _spans(hosts), count(len(hosts), "host")
    if spans:
        note = f"{took(max(end for _, end in spans) - min(spans)[0])}, {note}"
    return spans, note


def _below(
    phases: Sequence[tuple[Mapping[str, Any], float, float]], parts: Iterable[Part]
) -> dict[int, list[Part]]:
    """Return the number of a phase to the services that hosts worked on in it, the first on top.

    Those of which nobody knows when, and those of a phase that has not ended, come after all phases.
    """
    found: dict[int, list[tuple[float, Part]]] = {}
    for part in parts:
        spans = _spans(part[1])
        first = min(spans)[0] if spans else 0.0
        middle = (first + max(end for _, end in spans)) / 2 if spans else -1.0
        numbers = (at for at, (_, start, end) in enumerate(phases) if start <= middle <= end)
        found.setdefault(next(numbers, len(phases)), []).append((first, part))
    return {
        number: [part for _, part in sorted(some, key=lambda one: (one[0], one[1][0]))]
        for number, some in found.items()
    }


def _bars(spans: Iterable[tuple[float, float]], scale: Scale) -> list[Bar]:
    """Return bars for spans of seconds; those that overlap, or nearly touch, are one."""
    joined: list[tuple[float, float]] = []
    for start, end in sorted((scale.at(start), scale.at(end)) for start, end in spans):
        end = max(end, start + _THIN)
        if joined and start - joined[-1][1] < _THIN:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return [Bar(start, end - start) for start, end in joined]
