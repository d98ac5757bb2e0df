"""Runs and incidents over time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saltern.report.scale import Scale, Tick, moment, passed

WIDTH = 1180.0
_LEFT, _RIGHT, _TOP = 70.0, 1150.0, 14.0
_DECADE = 44.0
# Seconds with a line of their own; each of these steps is about as wide.
_LINES = (1, 10, 60, 600, 3600)
_TICKS = 10
# Room of one incident's lane, and how many lanes there are; what finds none free is in the last one.
_LANE, _LANES = 14.0, 6
_LEAST = 6.0
_DAY = 86400.0


@dataclass(frozen=True)
class Mark:
    """A run: where it stands, in pixels; ``kind`` is the word for how it ended."""

    x: float
    y: float
    kind: str
    title: str


@dataclass(frozen=True)
class Span:
    """An incident: from when to when, in pixels; an open one goes on."""

    x: float
    y: float
    width: float
    open: bool
    title: str


@dataclass(frozen=True)
class Course:
    """All of it, in pixels.

    :ivar bottom: Where the scale of time is.
    """

    marks: list[Mark]
    spans: list[Span]
    times: list[Tick]
    lengths: list[Tick]
    bottom: float
    width: float
    height: float


def draw(
    runs: Sequence[Mapping[str, Any]], incidents: Sequence[Mapping[str, Any]], now: float
) -> Course:
    """Return runs as marks, the higher the longer they took, and incidents as bars below.

    :param runs: ``started`` (seconds since 1970), ``seconds``, ``kind`` and ``title``.
    :param incidents: ``since``, ``until`` (None while it goes on), ``title``.
    :param now: The right end, seconds since 1970.
    """
    began = [one["started"] for one in runs] + [one["since"] for one in incidents]
    first = min([now - _DAY, *began])
    # A little room, so that the oldest does not stand on the axis.
    scale = Scale(first - (now - first) * 0.02, now, _LEFT, _RIGHT)
    bottom = _TOP + _DECADE * len(_LINES)
    marks = [
        Mark(scale.at(one["started"]), bottom - _height(one["seconds"]), one["kind"], one["title"])
        for one in runs
    ]
    lengths = [Tick(bottom - _height(second), passed(second)) for second in _LINES]
    below = bottom + 34
    spans = list(_spans(incidents, scale, now, below))
    lanes = max((int((one.y - below) / _LANE) + 1 for one in spans), default=0)
    height = (below + _LANE * lanes if lanes else bottom + 20) + 8
    return Course(marks, spans, scale.ticks(_TICKS, moment), lengths, bottom, WIDTH, height)


def _height(seconds: float) -> float:
    """Return how high a run that took so long stands: each of the lines one step above the other."""
    seconds = min(max(seconds, 0.4), 6 * 3600.0)
    for number, (low, high) in enumerate(zip(_LINES, (*_LINES[1:], 6 * 3600), strict=True)):
        if seconds <= high:
            part = math.log(seconds / low) / math.log(high / low)
            return _DECADE * (number + max(part, -0.5)) + _DECADE / 2
    return _DECADE * len(_LINES)


def _spans(
    incidents: Iterable[Mapping[str, Any]], scale: Scale, now: float, top: float
) -> Iterable[Span]:
    """Yield the incidents, such as overlap one below the other."""
    free = [0.0] * _LANES
    for one in sorted(incidents, key=lambda one: one["since"]):
        goes_on = one.get("until") is None
        x = scale.at(one["since"])
        end = max(scale.at(now if goes_on else one["until"]), x + _LEAST)
        lane = next((number for number, until in enumerate(free) if until <= x), _LANES - 1)
        free[lane] = end + 2
        yield Span(x, top + _LANE * lane, end - x, goes_on, one["title"])
