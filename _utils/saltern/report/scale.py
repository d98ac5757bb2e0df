"""Scales of pictures: from seconds to pixels, with round ticks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_STEPS = [
    *(1, 2, 5, 10, 15, 30),
    *(_MINUTE * number for number in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * number for number in (1, 2, 3, 6, 12)),
    *(_DAY * number for number in (1, 2, 7, 14, 28, 91, 182, 364)),
]


@dataclass(frozen=True)
class Tick:
    """A mark of a scale, in pixels, and what stands there."""

    at: float
    label: str


@dataclass(frozen=True)
class Scale:
    """A straight scale of seconds.

    :ivar first: The second at the left end, ``left`` in pixels.
    :ivar last: The second at the right end, ``right`` in pixels.
    """

    first: float
    last: float
    left: float
    right: float

    def at(self, second: float) -> float:
        """Return where a second is, in pixels; what is beyond an end is put there."""
        part = (second - self.first) / ((self.last - self.first) or 1)
        return self.left + (self.right - self.left) * min(max(part, 0.0), 1.0)

    def ticks(self, most: int, label: Callable[[float, int], str]) -> list[Tick]:
        """Return ticks at round seconds.

        :param most: At most as many and two.
        :param label: Returns what stands at a second, given the seconds between ticks.
        """
        length = self.last - self.first
        step = next((one for one in _STEPS if length / one <= most), 0)
        step = step or math.ceil(length / most / _STEPS[-1]) * _STEPS[-1]
        number = math.ceil(self.first / step)
        ticks = []
        while number * step <= self.last:
            ticks.append(Tick(self.at(number * step), label(number * step, step)))
            number += 1
        return ticks


def passed(second: float, step: int = 1) -> str:
    """Return a time since a beginning: ``0``, ``45 s``, ``1:30 min``, ``2 min``, ``3 h``."""
    minutes, seconds = divmod(int(second), _MINUTE)
    if seconds and minutes:
        return f"{minutes}:{seconds:02} min"
    if not minutes:
        return f"{seconds} s" if seconds else "0"
    return f"{minutes} min" if minutes % 60 else f"{minutes // 60} h"


def moment(second: float, step: int = 1) -> str:
    """Return a time of UTC as a tick says it: the day, or the time of the day where ticks are closer."""
    form = "%-d %b" if step >= _DAY or second % _DAY == 0 else "%H:%M"
    return time.strftime(form, time.gmtime(second))
