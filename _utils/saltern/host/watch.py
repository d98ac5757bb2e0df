"""The watch of a host: it follows Docker's events, compares, and says what is wrong until it is gone. It mends nothing."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from saltern import files
from saltern.containers import faults, stops
from saltern.containers.deaths import Deaths, Debounce, pause
from saltern.containers.dockerapi import LABEL_PREFIX, LABEL_SERVICE
from saltern.containers.engine import Engine, daemons
from saltern.containers.faults import Fault
from saltern.containers.lock import was_held
from saltern.errors import SalternError
from saltern.host import look

# Seconds between two looks without any event; between two looks at the stamps of the configuration.
_EVERY, _STAMPS_EVERY = 30.0, 2.0
# Until what is said is said again, the first time and at most.
_AGAIN, _AGAIN_MOST = 3.0, 300.0
# Until a container is looked at again that a run was at.
_SOON = 2.0
# A daemon that goes down stops its containers as a person would: marks since so many seconds before the last look
# at it are void.
_DOUBTFUL = 150.0
GRACE = {faults.UNHEALTHY: faults.UNHEALTHY_SECONDS}
# Times of Docker's events and of files are of different clocks of the kernel.
_SLACK = 0.5

_log = logging.getLogger(__name__)


class Watch:
    """The loop.

    :param eyes: What it looks with.
    :param state: Its small file: serial, Docker's process, since when something is wrong.
    :param send: Sends a serial, a time and faults to the master; it is called again until they are gone.
    """

    def __init__(
        self, eyes: look.Eyes, state: Path, send: Callable[[int, float, Sequence[Fault]], None]
    ) -> None:
        self._eyes, self._path, self._send = eyes, state, send
        self._engine: Engine | None = None
        self._debounce, self._deaths = Debounce(), Deaths()
        self._woken = threading.Event()
        self._connected = False
        self._complaint = ""
        self._state = _read(state)
        self._said: set[str] | None = None
        self._tries = 0
        self._next_look = self._next_word = self._next_stamps = 0.0
        self._stamps: tuple[Any, ...] = ()
        self._faults: Sequence[Fault] = ()

    def run(self, ended: Callable[[], bool]) -> None:
        """Watch until ``ended`` says so. Nothing that goes wrong ends it."""
        threading.Thread(target=self._follow, args=(ended,), daemon=True).start()
        while not ended():
            self._woken.wait(0.05 if self._debounce.pending else 0.5)
            self._woken.clear()
            try:
                self._turn()
            except Exception as error:
                # Once: what does not go away would fill the log.
                if str(error) != self._complaint:
                    self._complaint = str(error)
                    _log.exception("the watch of containers goes on after an error")
                self._engine = None
                self._next_look = time.monotonic() + _SOON

    def _turn(self) -> None:
        now = time.monotonic()
        if now >= self._next_stamps:
            self._next_stamps = now + _STAMPS_EVERY
            stamps = self._eyes.stamps()
            if stamps != self._stamps:
                self._stamps = stamps
                self._debounce.note(now)
        if self._debounce.due(now) or now >= self._next_look:
            self._look()
        if self._said and now >= self._next_word:
            self._speak(self._faults)

    def _look(self) -> None:
        # Between the connection and this look something may have been missed.
        fresh, self._connected = self._connected, False
        try:
            self._engine = self._engine or Engine()
            self._meet(dockerd())
            found, again = self._eyes.look(self._engine)
            self._state["looked"] = time.time()
        except SalternError as error:
            self._engine = None
            found, again = [Fault(look.DOCKER, "", "docker", str(error))], True
        again = again or fresh
        now = time.time()
        lasting, since = faults.remembered(found, self._state["since"], now, GRACE)
        self._next_look = time.monotonic() + (
            _SOON if again or len(lasting) < len(found) else _EVERY
        )
        self._state["since"] = since
        self._faults = lasting
        keys = {one.key for one in lasting}
        if self._said is None and not keys:
            self._said = keys
        if keys != self._said:
            self._said, self._tries = keys, 0
            self._speak(lasting)
        else:
            self._write()  # its time says that the watch lives

    def _speak(self, lasting: Sequence[Fault]) -> None:
        self._tries += 1
        self._next_word = time.monotonic() + pause(self._tries, _AGAIN, _AGAIN_MOST)
        # It rises also where the file is lost, and where the clock was put back.
        self._state["serial"] = max(self._state["serial"] + 1, int(time.time() * 1000))
        self._write()
        self._send(self._state["serial"], time.time(), lasting)

    def _meet(self, daemon: str) -> None:
        """Note which dockerd answers; what one that has gone down seems to have stopped was not a person's will."""
        before = self._state["dockerd"]
        if not daemon or before == daemon:
            return
        if before is None:
            self._eyes.first(self._engine)
        else:
            # Not by today's clock: a host may have been down for days.
            began = self._state["looked"] - _DOUBTFUL
            stops.forget_those(
                self._eyes.stopped, lambda _, one: one.by == stops.SOMEBODY and one.since > began
            )
        self._state["dockerd"] = daemon
        self._write()

    def _follow(self, ended: Callable[[], bool]) -> None:
        """Read events for ever; after each connection the loop compares, as events of before are lost."""
        tries = 0
        while not ended():
            self._connected = True
            self._debounce.note(time.monotonic())
            self._woken.set()
            try:
                for event in Engine().events():
                    tries = 0
                    self._take(event)
            except Exception as error:  # a thread that ends would be missed by nobody
                _log.info("Docker's events: %s", error)
            tries += 1
            self._deaths = Deaths()
            time.sleep(pause(tries, 0.5, 5))

    def _take(self, event: Mapping[str, Any]) -> None:
        attributes = event.get("Actor", {}).get("Attributes", {})
        if event.get("Type") == "container":
            ours = LABEL_SERVICE in attributes
            if not ours or attributes.get(LABEL_PREFIX, "") != self._eyes.prefix:
                return
            dead = self._deaths.take(event)
            if dead and not was_held(self._eyes.locks, dead[0], dead[1] - _SLACK):
                stops.note(self._eyes.stopped, dead[0], stops.SOMEBODY, dead[1])
            if event["Action"] == "destroy":
                gone = attributes["name"]
                stops.forget_those(
                    self._eyes.stopped, lambda name, one: name == gone and one.by == stops.SOMEBODY
                )
        self._debounce.note(time.monotonic())
        self._woken.set()

    def _write(self) -> None:
        self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        files.write(self._path, json.dumps(self._state) + "\n")


def file(var: str | Path) -> Path:
    """Return the small file of a host's watch; it is written at each look, so that its time says that the watch lives.

    :param var: The host's folder for what it keeps.
    """
    return Path(var, "watch.json")


def since(var: str | Path) -> dict[str, float]:
    """Return since when the watch has seen what is wrong: key of a fault to seconds since 1970."""
    return _read(file(var))["since"]


def _read(path: Path) -> dict[str, Any]:
    empty = {"serial": 0, "dockerd": None, "looked": 0.0, "since": {}}
    try:
        return empty | json.loads(path.read_text())
    except (OSError, ValueError, TypeError):
        return empty


def age(var: str | Path) -> float | None:
    """Return the seconds since the watch has looked last; None if it never has."""
    try:
        return max(time.time() - file(var).stat().st_mtime, 0.0)
    except FileNotFoundError:
        return None


def dockerd() -> str:
    """Return what names the process of this host's dockerd; nothing if it cannot be seen."""
    for pid in daemons():
        with contextlib.suppress(psutil.Error):
            return f"{pid} {psutil.Process(pid).create_time():.0f}"
    return ""


def message(host: str, serial: int, when: float, found: Sequence[Fault]) -> str:
    """Return what is signed and sent: small, whatever happens.

    :param host: Minion id.
    :param when: Seconds since 1970.
    """
    shown = [one.plain() for one in found[:_MOST]]
    return json.dumps({"host": host, "serial": serial, "time": when, "faults": shown})


# Faults in one message; the master asks for all of them anyway.
_MOST = 50


def seldom(ended: Callable[[], bool], seconds: float = 5.0) -> Callable[[], bool]:
    """Return the same, asked every few seconds only: it looks at many files."""
    asked = [time.monotonic()]

    def asks() -> bool:
        if time.monotonic() - asked[0] < seconds:
            return False
        asked[0] = time.monotonic()
        return ended()

    return asks
