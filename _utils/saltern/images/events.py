"""What happens while images are built, as values that any front end can show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Event:
    """One thing that happened to one image.

    :param phase: ``begin``, ``step`` or ``end``.
    :param step: Number of the step, from 1; 0 before the first.
    :param steps: How many steps there are.
    :param seconds: Since the build of this image began.
    :param text: What the step does; at the end: ``built``, ``failed`` or ``skipped``.
    :param percent: Of the whole tree, by past build durations.
    """

    image: str
    phase: str
    step: int = 0
    steps: int = 0
    seconds: float = 0.0
    text: str = ""
    percent: int = 0


@dataclass(frozen=True)
class Result:
    """How it ended for one image.

    :param status: ``current`` (nothing to do), ``built``, ``failed``, or ``skipped`` (a parent failed).
    :param size: Bytes; 0 unless built or current.
    :param comment: On failure: the step and its last lines.
    """

    image: str
    status: str
    full_name: str = ""
    seconds: float = 0.0
    size: int = 0
    comment: str = ""
    log: str = ""
    lines: list[str] = field(default_factory=list)


Emit = Callable[[Event], None]
