"""How a run tells what it does: events on the bus, lines on the screen, failures at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from saltern.errors import Failure
from saltern.problems import Problem

PREFIX = "saltern/rollout"
_FAILURES_IN_FULL = 5
# Of a long reason, such as a container's log: its first lines, which say what, and its last ones.
_FIRST_LINES, _LAST_LINES = 3, 8


def of_problems(wrong: Iterable[Problem]) -> list[Failure]:
    """Return problems of the operator's input as failures."""
    return [Failure(f"{one.key}: {one.what}", remedy=one.remedy) for one in wrong]


class Phase:
    """One phase of a run: what it says while it works.

    :param run: Id of the run: the orchestration's job id.
    :param kind: Function of the state, such as ``applied``; part of the tag.
    :param title: State ID, a sentence.
    :param fire: Sends an event: ``fire(data, tag)``.
    :param say: Shows a line, or nothing where nobody looks.
    """

    def __init__(
        self,
        run: str,
        kind: str,
        title: str,
        fire: Callable[[dict[str, Any], str], Any],
        say: Callable[[str], Any],
        clock: Callable[[], float],
    ) -> None:
        self._tag = f"{PREFIX}/{run}/{kind}"
        self._title = title
        self._fire = fire
        self._say = say
        self._clock = clock
        self._started = clock()

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return round(self._clock() - self._started, 1)

    def begin(self) -> None:
        """Say that the phase begins."""
        self._tell("begin", percent=0)

    def host(self, host: str, text: str, ok: bool, seconds: float, percent: int) -> None:
        """Say that a host has finished its part.

        :param seconds: How long it took.
        :param percent: How much of the phase is done.
        """
        self._tell("host", host=host, text=text, ok=ok, seconds=round(seconds, 1), percent=percent)

    def state(self, host: str, state: str, ok: bool, seconds: float) -> None:
        """Say that a host has finished one state."""
        self._tell("state", host=host, text=state, ok=ok, seconds=round(seconds, 1))

    def table(self, text: str) -> None:
        """Show a table."""
        self._tell("table", text=text)

    def warn(self, warnings: Iterable[Problem]) -> None:
        """Show what is allowed, but seldom meant."""
        lines = [f"  WARNING  {one}" for one in warnings]
        if lines:
            self.table("\n".join(lines))

    def end(self, ok: bool, text: str) -> None:
        """Say that the phase is over."""
        self._tell("end", ok=ok, text=text, seconds=self.seconds, percent=100)

    def _tell(self, what: str, **data: Any) -> None:
        data["phase"] = self._title
        self._fire(data, f"{self._tag}/{what}")
        self._say(line(what, data))


def states_of(host: str, service: str) -> str:
    """Return the command that shows a service's states on a host."""
    return f"salt {host} state.sls {service} test=True shows its states"


def logs_of(host: str, service: str) -> str:
    """Return the command that shows what a service has logged on a host of late."""
    return f"salt-run saltern.logs service={service} host={host}"


def count(number: int, noun: str) -> str:
    """Return ``1 host`` or ``2 hosts``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def line(what: str, data: Mapping[str, Any]) -> str:
    """Return an event as a line for people.

    :param what: Last part of the event's tag.
    :param data: The event.
    """
    if what == "table":
        return str(data["text"])
    if what == "begin":
        return f"{data['phase']} ..."
    mark = "" if data.get("ok", True) else "FAILED: "
    seconds = f"{data.get('seconds', 0):.1f} s"
    first = str(data.get("text", "")).partition("\n")[0]
    if what == "end":
        return f"  {mark}{first} ({seconds})"
    percent = f"{data['percent']:3d}%" if what == "host" else "    "
    return f"  {percent} {data['host']}: {mark}{first} ({seconds})"


def failure_block(
    phase: str, failures: Iterable[Failure], again: str, left: Sequence[str] = ()
) -> str:
    """Return the last thing on the screen of a failed run.

    :param phase: State ID of the failed phase.
    :param again: The command that continues the run.
    :param left: What stayed as it was, a line each.
    """
    failures = list(failures)
    lines = ["", f"FAILED  {phase}"]
    for failure in failures[:_FAILURES_IN_FULL]:
        for name in ("host", "service", "state", "reason"):
            value = getattr(failure, name)
            if value:
                lines += _field(name, _shortened(value))
        lines += _field("next", failure.remedy) if failure.remedy else []
    rest = failures[_FAILURES_IN_FULL:]
    if rest:
        where = ", ".join(sorted({failure.host for failure in rest if failure.host}))
        lines += _field(
            "and", f"{count(len(rest), 'more failure')}{' on ' + where if where else ''}"
        )
    lines += _field("rest", "\n".join(["as it was:", *left])) if left else []
    lines += _field("then", again)
    return "\n".join(lines)


def _shortened(text: str) -> str:
    lines = [one for one in text.splitlines() if one.strip()]
    left_out = len(lines) - _FIRST_LINES - _LAST_LINES
    if left_out > 1:
        lines[_FIRST_LINES:-_LAST_LINES] = [f"... {left_out} lines, shown above ..."]
    return "\n".join(lines)


def _field(name: str, value: str) -> list[str]:
    first, *rest = value.strip().splitlines() or [""]
    return [f"  {name:8}{first}", *(f"  {'':8}{one}" for one in rest)]


def state_failures(running: Any, host: str, service: str = "") -> list[Failure]:
    """Return the failed states of a host's state run; requisites that failed with them are left out.

    :param running: Return of ``state.sls``: states by tag, or a list of errors.
    """
    if not isinstance(running, Mapping):
        errors = running if isinstance(running, list) else [running]
        return [Failure("\n".join(str(error) for error in errors), host, service)]
    failed = [one for one in running.values() if one.get("result") is False]
    roots = [one for one in failed if one.get("__state_ran__", True)] or failed
    roots.sort(key=lambda one: one.get("__run_num__", 0))
    return [
        Failure(str(one.get("comment", "")), host, service, str(one.get("__id__", "")))
        for one in roots
    ]
