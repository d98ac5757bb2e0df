"""The health gate: has a container come up, and if not, why."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from saltern.containers.engine import Engine
from saltern.containers.stream import TimedOutError
from saltern.errors import SalternError

# Docker 20.10 has no start_interval: its first health check comes after a whole interval. So the
# gate runs the check itself.
_EVERY = 0.5
# Seconds that a container without a health check must stay up.
_STAY_UP = 2.0
# Exits that Docker's restart policy may make good: a server that loses its first connection to a database that
# is busy, or that moves to another host, comes up the second time.
_FORGIVEN = 1
_LOG_LINES = 30
# An error may stand far above the last lines: some servers write much while they give up.
_LOOK_BACK = 500
_ERRORS = re.compile(r"\b(error|fatal|critical|panic|emerg)\b|Traceback", re.IGNORECASE)
_ERROR_LINES = 10


@dataclass(frozen=True)
class Verdict:
    """How a container came up.

    :ivar reason: Why it did not; empty if it did.
    :ivar logs: What it wrote, if it did not come up, see :func:`last_words`.
    """

    reason: str = ""
    logs: str = ""

    @property
    def healthy(self) -> bool:
        """Return whether the container came up."""
        return not self.reason


def health_command(inspected: Mapping[str, Any]) -> tuple[list[str], float] | None:
    """Return a container's health check as a command and its timeout in seconds.

    :param inspected: ``GET /containers/{id}/json``; covers a check that the image brings.
    """
    check = inspected["Config"].get("Healthcheck") or {}
    kind, *test = check.get("Test") or ["NONE"]
    seconds = (check.get("Timeout") or 30 * 10**9) / 10**9
    if kind == "CMD":
        return test, seconds
    if kind == "CMD-SHELL":
        return ["/bin/sh", "-c", *test], seconds
    return None


def stopped_reason(inspected: Mapping[str, Any], restarts: int, died: list[dict[str, str]]) -> str:
    """Return why a container is not up, or nothing if it runs or is about to be restarted.

    :param restarts: How often Docker may have restarted it by now.
    :param died: Its `die` and `oom` events since then, see `Engine.deaths`.
    """
    state = inspected["State"]
    if (state["Running"] or state["Restarting"]) and inspected["RestartCount"] <= restarts:
        return ""
    if state.get("OOMKilled") or any(one["event"] == "oom" for one in died):
        return "was killed: it used more memory than its limit or the host has (OOM)"
    codes = [one["exitCode"] for one in died if one["event"] == "die"]
    code = codes[0] if codes else state["ExitCode"]
    error = f": {state['Error']}" if state.get("Error") else ""
    return f"exited with code {code}{error}"


def gate(engine: Engine, container: str, deadline: float, since: float | None = None) -> Verdict:
    """Wait until a started container is healthy; give up at once when it exits again and again.

    :param container: Its id.
    :param deadline: Seconds from now.
    :param since: `time.time()` when it was started; default: it has been running before.
    """
    begin = up = time.monotonic()
    seen = engine.inspect(container)["RestartCount"] if since is None else 0
    restarts = seen + _FORGIVEN
    last = "no answer"
    while True:
        inspected = engine.inspect(container)
        if inspected["RestartCount"] > seen:
            seen, up = inspected["RestartCount"], time.monotonic()
        if stopped_reason(inspected, restarts, []):
            died = engine.deaths(container, time.time() - 60 if since is None else since)
            return _failed(engine, container, stopped_reason(inspected, restarts, died))
        passed = time.monotonic() - begin
        check = health_command(inspected)
        if check is None:
            if time.monotonic() - up >= min(_STAY_UP, deadline):
                return Verdict()
        else:
            ok, last = _check(engine, container, *check)
            if ok and not stopped_reason(engine.inspect(container), restarts, []):
                return Verdict()
        if passed >= deadline:
            return _failed(
                engine, container, f"is not healthy after {deadline:g} s; its check said: {last}"
            )
        time.sleep(_EVERY)


def check(engine: Engine, container: str) -> tuple[bool, str]:
    """Run a container's health check now; return whether it succeeded and what it said.

    Docker's own answer is as old as its interval, and none at all after a start.

    :param container: Its id; one without a health check is healthy while it runs.
    """
    inspected = engine.inspect(container)
    command = health_command(inspected)
    if not inspected["State"]["Running"]:
        return False, "it does not run"
    return _check(engine, container, *command) if command else (True, "it runs")


def _check(engine: Engine, container: str, command: list[str], timeout: float) -> tuple[bool, str]:
    """Run the health command once; return whether it succeeded and what it said."""
    try:
        result = engine.execute(container, command, timeout=timeout)
    except TimedOutError:
        return False, f"no answer within {timeout:g} s"
    except SalternError as error:
        return False, str(error)  # if it stops just now, the next look tells
    said = (result.stdout + result.stderr).strip() or f"exit code {result.retcode}"
    return result.retcode == 0, said[-500:]


def _failed(engine: Engine, container: str, reason: str) -> Verdict:
    return Verdict(reason, last_words(engine.logs(container, _LOOK_BACK)))


def last_words(log: str) -> str:
    """Return the last lines of a log, after the first errors that stand above them."""
    lines = log.strip().splitlines()
    above, last = lines[:-_LOG_LINES], lines[-_LOG_LINES:]
    errors = [line for line in above if _ERRORS.search(line)][:_ERROR_LINES]
    return "\n".join([*errors, *(["..."] if errors else []), *last])
