"""Shows a build while it runs: one moving line an image on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

from saltern.images.events import Event

_MARKS = {"built": "built", "failed": "FAILED", "skipped": "skipped"}


class Display:
    """Receives events and draws them.

    :param out: Where to; stderr by default, so that the command's result stays alone on stdout.
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self.out = out or sys.stderr
        self.live = self.out.isatty()
        self.running: dict[str, tuple[Event, float]] = {}
        self.drawn = 0

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if not self.live:
            self._print(_line(event))
            return
        self._erase()
        if event.phase == "end":
            self.running.pop(event.image, None)
            self._print(_line(event))
        else:
            self.running[event.image] = (event, time.monotonic() - event.seconds)
        self._draw()

    def tick(self) -> None:
        """Show the time that passes in a long step."""
        if self.live:
            self._erase()
            self._draw()

    def _draw(self) -> None:
        for shown, began in self.running.values():
            self._print(_line(shown, time.monotonic() - began)[:110])
        self.drawn = len(self.running)

    def _erase(self) -> None:
        # Up and clear, for every line drawn.
        self.out.write("\x1b[1A\x1b[2K" * self.drawn)
        self.drawn = 0

    def _print(self, line: str) -> None:
        self.out.write(line + "\n")
        self.out.flush()


def fan_out(*receivers: Callable[[Event], None]) -> Callable[[Event], None]:
    """Return a receiver that hands every event to all of them."""

    def emit(event: Event) -> None:
        for receiver in receivers:
            receiver(event)

    return emit


def _line(event: Event, seconds: float | None = None) -> str:
    seconds = event.seconds if seconds is None else seconds
    where = f"{event.step:2}/{event.steps:<2}" if event.phase == "step" else "     "
    text = {"begin": "starts", "end": _MARKS.get(event.text, event.text)}.get(event.phase)
    text = text or " ".join(event.text.split())
    return f"[{event.percent:3}%] {event.image:20} {where} {seconds:6.1f} s  {text[:90]}"
