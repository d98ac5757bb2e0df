"""Replacing a container so that it works afterwards: the new one is healthy or the old one is back.

Beside ``NAME``, which serves, a replacement knows ``NAME.next`` (created, never started),
``NAME.previous`` (the old one, stopped) and ``NAME.failed`` (a new one that did not come up, kept
for inspection until the next replacement)::

    create next -> wait for stop_when -> stop NAME -> NAME becomes previous -> next becomes NAME -> start
        healthy:  remove previous
        else:     NAME becomes failed -> previous becomes NAME -> start it

What has two places runs beside the old one first, which stops only when it has handed over::

    create next -> start next
        healthy:  hand over -> stop NAME -> NAME becomes previous -> next becomes NAME -> remove previous
        else:     next becomes failed

Each arrow is one call of Docker's API, so a process killed anywhere leaves one of few combinations
of names. `recover` says what the next run does with each of them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from saltern.containers.engine import ConflictError, Engine, NotFoundError, Result
from saltern.containers.handover import HandOver
from saltern.containers.health import Verdict, gate
from saltern.containers.stream import TimedOutError
from saltern.errors import SalternError


class Step(Enum):
    """One step that repairs an interrupted replacement; the value tells people."""

    REMOVE_NEXT = "remove the new container that does not run"
    TAKE_OVER = "see whether the new container comes up beside the old one and takes its place, else remove it"
    RESTORE = "bring the old container back under its name"
    DISCARD = "remove the new container, which does not run and is no longer wanted"
    PROVE = "see whether the new container comes up, else bring the old one back"


def recover(
    current: bool,
    running: bool,
    matches: bool,
    next_: bool,
    previous: bool,
    next_running: bool = False,
) -> tuple[Step, ...]:
    """Return what repairs a replacement that was killed; nothing if there was none.

    :param current: A container with the very name exists.
    :param running: It runs.
    :param matches: It is as wanted now.
    :param next_: ``NAME.next`` exists.
    :param previous: ``NAME.previous`` exists.
    :param next_running: ``NAME.next`` runs: it may have all the work already.
    """
    if next_running:
        return (Step.TAKE_OVER,)
    steps = [Step.REMOVE_NEXT] if next_ else []
    if previous and not current:
        steps.append(Step.RESTORE)
    elif previous and (running or matches):
        # It may have served for long, if only the removal of the old one failed: it is judged.
        steps.append(Step.PROVE)
    elif previous:
        steps += [Step.DISCARD, Step.RESTORE]
    return tuple(steps)


@dataclass(frozen=True)
class Failure:
    """Why a container could not be brought up, and what runs now."""

    verdict: Verdict
    outcome: str

    def message(self, name: str) -> str:
        """Return all of it for people."""
        logs = self.verdict.logs or "(it wrote nothing)"
        return f"{name} {self.verdict.reason}.\n{self.outcome}\nIts last lines:\n{logs}"


class Replacement:
    """The steps of replacing one container.

    :param engine: Docker.
    :param name: The container's full name.
    :param deadline: Seconds that it may take to become healthy.
    :param progress: Told the name of each step when it is done.
    :param stop_when: Command in the old container, if it is healthy, that must succeed before it is
        stopped: others can do without this member.
    :param hand_over: How one that runs beside it takes its work.
    """

    def __init__(
        self,
        engine: Engine,
        name: str,
        deadline: float,
        progress: Callable[[str], None] = lambda step: None,
        stop_when: Sequence[str] | None = None,
        hand_over: HandOver | None = None,
    ) -> None:
        self._engine = engine
        self._name = name
        self._deadline = deadline
        self._done = progress
        self._stop_when = stop_when
        self._hand_over = hand_over

    @property
    def next(self) -> str:
        """Return the name of the new container until it takes the place."""
        return f"{self._name}.next"

    @property
    def previous(self) -> str:
        """Return the name of the old container while the new one proves itself."""
        return f"{self._name}.previous"

    @property
    def failed(self) -> str:
        """Return the name of a new container that did not come up."""
        return f"{self._name}.failed"

    def repair(self, steps: tuple[Step, ...], matches: bool) -> None:
        """Take the steps that `recover` has named.

        :raises SalternError: The container is as wanted and did not come up.
        """
        for step in steps:
            if step is Step.REMOVE_NEXT:
                self._engine.remove(self.next)
                self._keep_old()
            elif step is Step.TAKE_OVER:
                # If it cannot, the container that is wanted now is made anew, and tells why.
                self.take_over()
            elif step is Step.DISCARD:
                self._engine.remove(self._name)
            elif step is Step.RESTORE:
                self._engine.rename(self.previous, self._name)
                self._keep_old()
            elif step is Step.PROVE:
                failure = self.prove()
                if failure and matches:
                    raise SalternError(failure.message(self._name))

    def create(self, body: Mapping[str, Any]) -> None:
        """Put a new container into the place, started and healthy; the old one goes.

        :param body: Of ``POST /containers/create``.
        :raises SalternError: It could not be created or did not come up; the old one runs.
        """
        try:
            self._engine.create(self.next, body)
        except SalternError:
            self.start_old()
            raise
        self._done("created")
        old = self._engine.exists(self._name)
        if old:
            self._wait_until_dispensable()
            self._engine.stop(self._name)
            self._done("stopped")
            self._engine.rename(self._name, self.previous)
            self._done("set aside")
        self._engine.rename(self.next, self._name)
        self._done("named")
        failure = self.prove()
        if failure:
            raise SalternError(failure.message(self._name))

    def create_beside(self, body: Mapping[str, Any]) -> None:
        """Put a new container into the place without a moment in which none is there.

        :param body: Of ``POST /containers/create``; the container can run beside the old one.
        :raises SalternError: It could not be created or did not come up; the old one has never stopped.
        """
        self._engine.create(self.next, body)
        self._done("created")
        failure = self.take_over()
        if failure:
            raise SalternError(failure.message(self._name))

    def take_over(self) -> Failure | None:
        """Let the container beside the old one come up and take its place; it goes if it cannot."""
        verdict = self._start(self.next, "started beside")
        served = self._engine.exists(self._name)
        if verdict.healthy and served and self._hand_over:
            verdict = Verdict(self._hand_over.run(self.next, self._name))
        if not verdict.healthy:
            self._set_aside(self.next)
            return self._go_back(verdict)
        if served:
            self._engine.stop(self._name)
            self._done("stopped")
            self._engine.remove(self.previous)
            self._engine.rename(self._name, self.previous)
            self._done("set aside")
        self._engine.rename(self.next, self._name)
        self._done("named")
        return self.prove()

    def prove(self) -> Failure | None:
        """Start the container in the place and wait for its health; fall back if there is one."""
        verdict = self.start()
        if verdict.healthy:
            self._done("healthy")
            self._engine.remove(self.previous)
            self._engine.remove(self.failed)
            return None
        self._set_aside(self._name)
        return self._go_back(verdict)

    def _go_back(self, verdict: Verdict) -> Failure:
        """Let the old container serve after the new one was set aside."""
        self._done("failed")
        kept = f"It is kept for inspection as {self.failed}, stopped, until the next replacement."
        if self._engine.exists(self._name):
            self._keep_old()
            return Failure(verdict, f"The old container was not touched and runs. {kept}")
        if not self._engine.exists(self.previous):
            return Failure(verdict, f"There is no older container to go back to. {kept}")
        self._engine.rename(self.previous, self._name)
        self._keep_old()
        self._done("restored")
        back = self.start()
        if back.healthy:
            return Failure(verdict, f"The old container is back and runs. {kept}")
        return Failure(
            verdict, f"The old container is back, but it {back.reason}, too. {kept}\n{back.logs}\n"
        )

    def start(self) -> Verdict:
        """Start the container in the place, if it does not run, and wait for its health."""
        return self._start(self._name, "started")

    def _start(self, name: str, step: str) -> Verdict:
        inspected = self._engine.inspect(name)
        since = None
        if inspected["State"].get("Paused"):
            self._engine.unpause(name)
        elif not inspected["State"]["Running"]:
            since = time.time()
            try:
                self._engine.start(name)
            except SalternError as error:
                # For instance: the command does not exist, or the host's port or device is taken.
                return Verdict(f"could not be started: {error}")
        self._done(step)
        return gate(self._engine, inspected["Id"], self._deadline, since)

    def start_old(self) -> None:
        """Start the old container, which an interrupted replacement may have left stopped."""
        with contextlib.suppress(NotFoundError, ConflictError):
            self._engine.start(self._name)

    def _keep_old(self) -> None:
        """Let the container in the place go on: it may have been told to leave it."""
        if self._hand_over and self._engine.exists(self._name):
            self._hand_over.undo(self._name)

    def check_place(self) -> None:
        """Refuse to go on if a container that is not Saltern's has the name.

        :raises SalternError: It does.
        """
        if self._engine.exists(self._name):
            raise SalternError(
                f"a container named {self._name} exists and was not made by Saltern: "
                f"rename or remove it (docker rename {self._name} ...)"
            )

    def _wait_until_dispensable(self) -> None:
        """Wait until the old container may be stopped; one that is not healthy always may.

        :raises SalternError: It may not; it goes on running.
        """
        end = time.monotonic() + self._deadline
        while self._stop_when:
            state = self._engine.inspect(self._name)["State"]
            if not state["Running"] or (state.get("Health") or {}).get("Status") == "unhealthy":
                return
            try:
                done = self._engine.execute(self._name, list(self._stop_when), timeout=60)
            except TimedOutError:
                done = Result(None, "", f"{self._stop_when[0]} took longer than 60 s")
            if done.retcode == 0:
                return
            if time.monotonic() > end:
                said = f"{done.stdout}\n{done.stderr}".strip()
                self._engine.remove(self.next)
                raise SalternError(
                    f"{self._name} not stopped: other members still depend on it:\n{said}"
                )
            time.sleep(2)

    def _set_aside(self, name: str) -> None:
        """Stop a container that did not come up and name it failed; an older failed one goes."""
        self._engine.remove(self.failed)
        self._engine.stop(name)
        self._engine.rename(name, self.failed)
