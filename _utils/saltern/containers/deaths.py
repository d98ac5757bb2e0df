"""Who ended a container: the order of Docker's events tells a crash from a command, exit codes do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Signals that servers take for "read your configuration" and the like: they stop nothing.
_HARMLESS = {"1", "10", "12", "28"}
# Seconds of silence after which a look is due, and the most that one waits.
_SILENCE, _AT_MOST = 0.2, 1.0


class Deaths:
    """Follows events; what it keeps is bounded by the number of containers."""

    def __init__(self) -> None:
        self._killed: dict[str, float] = {}

    def take(self, event: Mapping[str, Any]) -> tuple[str, float] | None:
        """Return the name of a container that somebody has stopped, and when; None for any other event.

        :param event: As ``GET /events`` gives it.
        """
        actor = event.get("Actor", {})
        id_, attributes = actor.get("ID", ""), actor.get("Attributes", {})
        action, when = event.get("Action"), event.get("timeNano", 0) / 1e9
        if action == "kill" and attributes.get("signal") not in _HARMLESS:
            self._killed.setdefault(id_, when)
        elif action == "start" or action == "destroy":
            self._killed.pop(id_, None)
        elif action == "stop" or (action == "die" and id_ in self._killed):
            return attributes.get("name", ""), self._killed.get(id_, when)
        return None


class Debounce:
    """Waits for the end of a burst of events before a look, but not without end."""

    def __init__(self) -> None:
        self._first = self._last = 0.0
        self.pending = False

    def note(self, now: float) -> None:
        """Note an event.

        :param now: Seconds of any clock that only rises.
        """
        if not self.pending:
            self._first, self.pending = now, True
        self._last = now

    def due(self, now: float) -> bool:
        """Return whether it is time to look; then the burst is over."""
        if self.pending and (now - self._last >= _SILENCE or now - self._first >= _AT_MOST):
            self.pending = False
            return True
        return False


def pause(tries: int, first: float, most: float) -> float:
    """Return the seconds until the next try: twice as long each time, up to a limit.

    :param tries: How many there were.
    """
    return min(first * 2 ** min(max(tries - 1, 0), 30), most)
