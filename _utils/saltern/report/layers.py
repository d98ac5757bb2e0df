"""A graph drawn in columns: boxes, and lines between them that go through no box."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from saltern.images.graph import order

Point = tuple[float, float]
# What stands in a column: a box, by its name, or the place where the lines of a box go through, by its name
# and the column.
_Slot = str | tuple[str, int]

GAP = 46.0
_MARGIN = 8.0
# Free height between two boxes, and beside a line that goes through.
_BETWEEN, _BESIDE = 14.0, 9.0
# How often columns are sorted, and moved, by what they are connected with: more changes nothing any more.
_SWEEPS = 12


@dataclass(frozen=True)
class Box:
    """A box, by its upper left corner."""

    name: str
    x: float
    y: float
    WIDTH: ClassVar[float] = 152.0
    HEIGHT: ClassVar[float] = 42.0


@dataclass(frozen=True)
class Line:
    """A line from what is needed to what needs it.

    :ivar points: A curve leads from the first to the second, a straight line to the third, and so on in turn;
        curves are between columns, straight lines go through them.
    """

    start: str
    end: str
    points: tuple[Point, ...]

    @property
    def path(self) -> str:
        """Return it as SVG's ``d``."""
        (x, y), *rest = self.points
        words = [f"M{x:g} {y:.1f}"]
        for curved, (to_x, to_y) in zip(itertools.cycle((True, False)), rest, strict=False):
            half = (x + to_x) / 2
            bend = f"C{half:g} {y:.1f} {half:g} {to_y:.1f} {to_x:g} {to_y:.1f}"
            words.append(bend if curved else f"H{to_x:g}")
            x, y = to_x, to_y
        return "".join(words)


@dataclass(frozen=True)
class Drawing:
    """A whole graph, in pixels."""

    boxes: list[Box]
    lines: list[Line]
    width: float
    height: float


def draw(needs: Mapping[str, Iterable[str]]) -> Drawing:
    """Return a drawing: what is needed stands left of what needs it.

    What follows from other lines is not drawn: if c needs a and b, and b needs a, there are two lines.

    :param needs: Name to the names it needs; all of them are keys, without a circle.
    """
    direct = reduced(needs)
    column = _columns(direct)
    ends: dict[str, list[str]] = {name: [] for name in direct}
    for name, needed in direct.items():
        for one in needed:
            ends[one].append(name)
    columns: list[list[_Slot]] = [[] for _ in range(max(column.values(), default=-1) + 1)]
    links: list[tuple[_Slot, _Slot]] = []
    for name in sorted(direct):
        columns[column[name]].append(name)
        last: _Slot = name
        # All lines of a box go together as far as they can.
        far = max((column[one] for one in ends[name]), default=0)
        for number in range(column[name] + 1, far + 1):
            links += [(last, one) for one in ends[name] if column[one] == number]
            if number < far:
                columns[number].append((name, number))
                links.append((last, (name, number)))
                last = (name, number)
    _sort(columns, links)
    middle = _places(columns, links)
    return _drawing(columns, column, middle, ends)


def reduced(needs: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Return what each needs directly, without what those need anyway, by name."""
    every: dict[str, set[str]] = {}
    direct = {}
    for name in order({name: list(needed) for name, needed in needs.items()}):
        mine = set(needs[name])
        below = set().union(*(every[one] for one in mine))
        every[name] = mine | below
        direct[name] = sorted(mine - below)
    return direct


def _columns(direct: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return the column of each: behind what it needs, and close before what needs it."""
    names = order(direct)
    column: dict[str, int] = {}
    for name in names:
        column[name] = max((column[one] + 1 for one in direct[name]), default=0)
    for name in reversed(names):
        ends = [column[one] for one, needed in direct.items() if name in needed]
        column[name] = min(ends) - 1 if ends else column[name]
    first = min(column.values(), default=0)
    return {name: number - first for name, number in column.items()}


def _sort(columns: list[list[_Slot]], links: Sequence[tuple[_Slot, _Slot]]) -> None:
    """Sort each column by what it is connected with, so that few lines cross."""
    before, after = _neighbours(links)
    best, fewest = [list(one) for one in columns], _crossings(columns, links)
    for sweep in range(_SWEEPS):
        forth = sweep % 2 == 0
        for number in range(len(columns)) if forth else reversed(range(len(columns))):
            place = {slot: at for column in columns for at, slot in enumerate(column)}
            means = _means(columns[number], before if forth else after, place)
            wanted = dict(zip(columns[number], means, strict=True))
            columns[number].sort(key=wanted.__getitem__)
        if (found := _crossings(columns, links)) < fewest:
            best, fewest = [list(one) for one in columns], found
    columns[:] = best


def _neighbours(
    links: Iterable[tuple[_Slot, _Slot]],
) -> tuple[dict[_Slot, list[_Slot]], dict[_Slot, list[_Slot]]]:
    """Return what stands before and what stands after each, connected with it."""
    before: dict[_Slot, list[_Slot]] = {}
    after: dict[_Slot, list[_Slot]] = {}
    for one, other in links:
        after.setdefault(one, []).append(other)
        before.setdefault(other, []).append(one)
    return before, after


def _crossings(columns: Sequence[Sequence[_Slot]], links: Sequence[tuple[_Slot, _Slot]]) -> int:
    """Return how many pairs of lines cross."""
    at = {slot: (number, y) for number, one in enumerate(columns) for y, slot in enumerate(one)}
    ends = [(at[one], at[other]) for one, other in links]
    return sum(
        (one[0][1] - two[0][1]) * (one[1][1] - two[1][1]) < 0
        for one, two in itertools.combinations(ends, 2)
        if one[0][0] == two[0][0]
    )


def _height(slot: _Slot) -> float:
    return Box.HEIGHT + _BETWEEN if isinstance(slot, str) else 2 * _BESIDE


def _places(
    columns: Sequence[Sequence[_Slot]], links: Sequence[tuple[_Slot, _Slot]]
) -> dict[_Slot, float]:
    """Return the middle of each, from the top: as near to what it is connected with as there is room."""
    before, after = _neighbours(links)
    apart = [
        [(_height(one) + _height(other)) / 2 for one, other in itertools.pairwise(column)]
        for column in columns
    ]
    middle: dict[_Slot, float] = {}
    for column, gaps in zip(columns, apart, strict=True):
        whole = itertools.accumulate(gaps, initial=-sum(gaps) / 2)
        middle |= dict(zip(column, whole, strict=True)) if column else {}
    for sweep in range(_SWEEPS):
        beside = [before, after][sweep % 2]
        if sweep == _SWEEPS - 1:
            beside = {slot: [*before.get(slot, ()), *after.get(slot, ())] for slot in middle}
        for column, gaps in zip(columns, apart, strict=True):
            middle |= dict(zip(column, settled(_means(column, beside, middle), gaps), strict=True))
    return middle


def settled(wanted: Sequence[float], gaps: Sequence[float]) -> list[float]:
    """Return the places nearest to those wanted, in this order and that far apart at least.

    Nearest is the least sum of squares: neighbours that want to be closer share their mean.

    :param gaps: Between each and the next one.
    """
    offsets = list(itertools.accumulate(gaps, initial=0.0))[: len(wanted)]
    groups: list[list[float]] = []
    for one in (place - offset for place, offset in zip(wanted, offsets, strict=True)):
        groups.append([one])
        while len(groups) > 1 and _mean(groups[-2]) > _mean(groups[-1]):
            groups[-2:] = [[*groups[-2], *groups[-1]]]
    places = [_mean(group) for group in groups for _ in group]
    return [place + offset for place, offset in zip(places, offsets, strict=True)]


def _means(
    column: Sequence[_Slot],
    beside: Mapping[_Slot, Sequence[_Slot]],
    place: Mapping[_Slot, float],
) -> list[float]:
    """Return for each of a column the mean place of those beside it, or its own if there are none."""
    return [_mean([place[one] for one in beside.get(slot, ())] or [place[slot]]) for slot in column]


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)


def _drawing(
    columns: Sequence[Sequence[_Slot]],
    column: Mapping[str, int],
    middle: Mapping[_Slot, float],
    ends: Mapping[str, Sequence[str]],
) -> Drawing:
    top = min((y - _height(slot) / 2 for slot, y in middle.items()), default=0.0) - _MARGIN
    bottom = max((y + _height(slot) / 2 for slot, y in middle.items()), default=0.0) + _MARGIN

    def left(number: int) -> float:
        return _MARGIN + number * (Box.WIDTH + GAP)

    boxes = [
        Box(name, left(column[name]), middle[name] - top - Box.HEIGHT / 2)
        for name in sorted(column)
    ]
    lines = []
    for name in sorted(ends):
        for end in sorted(ends[name]):
            points = [(left(column[name]) + Box.WIDTH, middle[name] - top)]
            for number in range(column[name] + 1, column[end]):
                y = middle[name, number] - top
                points += [(left(number), y), (left(number) + Box.WIDTH, y)]
            lines.append(Line(name, end, (*points, (left(column[end]), middle[end] - top))))
    width = left(len(columns)) - GAP + _MARGIN if columns else 2 * _MARGIN
    return Drawing(boxes, lines, width, bottom - top)
