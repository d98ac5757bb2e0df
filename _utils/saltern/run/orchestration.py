"""An orchestration as its phases see it: what they share, and how each begins, ends and fails."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import salt.utils.event
from salt.exceptions import SaltException

from saltern import space
from saltern.errors import Failure, SalternError
from saltern.run import command, history, progress, screen, summary
from saltern.run.command import Command
from saltern.run.fleet import Run, failures_of, stop_for
from saltern.run.formation import RefusedError
from saltern.run.progress import Phase

# Keys of __context__.
_RUN = "saltern.rollout"
_BUS = "saltern.bus"
_RECORD = "saltern.record"


class Orchestration:
    """The orchestration in which a state of a module is a phase: ``here = Orchestration(globals())`` in that module.

    :param scope: The names of the module. Salt puts there, for each state: ``__opts__``; ``__pillar__``, with the
        keys that the command carries; ``__context__``, which all phases of a run share; ``__low__``, the state;
        ``__lowstate__``, all states of the table.
    """

    def __init__(self, scope: Mapping[str, Any]) -> None:
        self._scope = scope

    @property
    def _opts(self) -> Mapping[str, Any]:
        return self._scope["__opts__"]

    @property
    def _context(self) -> MutableMapping[str, Any]:
        return self._scope["__context__"]

    @property
    def _low(self) -> Mapping[str, Any]:
        return self._scope["__low__"]

    @property
    def _lowstate(self) -> Sequence[Mapping[str, Any]]:
        return self._scope["__lowstate__"]

    @property
    def run(self) -> Run:
        """What the phases share, since ``rollout.validated`` has chosen its services and hosts.

        :raises SalternError: That phase is missing.
        """
        if _RUN not in self._context:
            raise SalternError("this table has no rollout.validated before this phase: add it")
        return self._context[_RUN]

    @run.setter
    def run(self, run: Run) -> None:
        self._context[_RUN] = run

    @property
    def record(self) -> history.Record | None:
        """What is kept of this run; nothing of test mode, which changes nothing."""
        return self._context.get(_RECORD)

    @property
    def command(self) -> Command:
        """The command of this run; before ``rollout.validated`` has taken its keys, none is known."""
        name = f"state.orchestrate {self._low['__sls__']}"
        return self._context[_RUN].command if _RUN in self._context else Command(name)

    def take(self, own: Mapping[str, Any], takes: Collection[str]) -> Command:
        """Return the command with its keys.

        :param own: The master's pillar without the command.
        :param takes: Keys that this orchestration takes.
        :raises RolloutError: It carries others, or wrong values.
        """
        keys = command.given(self._scope["__pillar__"], own)
        stop_for(progress.of_problems(command.wrong(keys, takes)))
        taken = Command(self.command.name, keys)
        if self.record:
            self.record.command(taken.text())
        return taken

    def confirm(self, phase: Phase, what: str, lost: Sequence[str]) -> None:
        """Say what will be lost, and stop unless the command carries ``"confirm": "yes"``.

        Test mode only says it.

        :param what: What will be done, for the message.
        :param lost: A line each.
        """
        phase.table("\n".join(f"  {one}" for one in lost))
        if not self.command.confirmed and not self._opts["test"]:
            again = self.command.text(confirm="yes")
            raise RefusedError(f"{what}, see above", f"if that is wanted: {again}")

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[tuple[Phase, dict[str, Any]]]:
        """Yield the phase's voice and its return; turn errors into a failed return and a last word.

        The lock is free again after a failure and after the last phase.

        :param name: The state's ``name``.
        """
        ret: dict[str, Any] = {"name": name, "result": True, "changes": {}, "comment": ""}
        title = self._low["__id__"]
        run_id = str(self._opts.get("jid") or self._low.get("__orchestration_jid__", "0"))
        say = screen.speaker(self._opts)
        phase = Phase(run_id, self._low["fun"], title, self._fire, say, time.monotonic)
        phase.begin()
        result, failures, left = history.FAILED, [], {}
        try:
            with space.needed("a file of the master"):
                self._begin(run_id)
                yield phase, ret
            result = history.DONE
        except (SalternError, SaltException) as error:
            ret.update(result=False, comment=str(error))
            screen.not_logged(ret["comment"])
            failures, left = failures_of(error), getattr(error, "left", {})
        except SystemExit:
            # Ctrl-C, as Salt tells it; passed on, it would show a traceback. The state fails, and ends the run.
            ret.update(result=False, comment="interrupted; hosts finish the service they are at")
            screen.not_logged(ret["comment"])
            result, failures = history.INTERRUPTED, [Failure(ret["comment"])]
        finally:
            if failures:
                self._last_word(failures, left)
            phase.end(result == history.DONE, ret["comment"])
            self._keep(phase, ret, result, failures, left)

    def _fire(self, data: dict[str, Any], tag: str) -> None:
        # A master that is gone has no bus; what the run says of that must not be lost over it.
        with contextlib.suppress(OSError):
            self._bus().fire_event(data, tag)

    def _last_word(self, failures: Sequence[Failure], left: Mapping[str, Sequence[str]]) -> None:
        places = list(summary.places(left))
        block = progress.failure_block(self._low["__id__"], failures, self.command.text(), places)
        screen.last_word(block, self._opts)

    def _begin(self, run_id: str) -> None:
        """Begin the record of the run in its first phase."""
        if self._lowstate[0]["__id__"] == self._low["__id__"]:
            # One process may do several runs, one after the other.
            for key in (_RUN, _RECORD):
                self._context.pop(key, None)
            if not self._opts["test"]:
                self._context[_RECORD] = history.begin(self._opts, run_id, self.command.text())

    def _keep(
        self,
        phase: Phase,
        ret: Mapping[str, Any],
        result: str,
        failures: Sequence[Failure],
        left: Mapping[str, Sequence[str]],
    ) -> None:
        """Note what the phase did; at the end of the run complete its record and free the lock.

        A master that ran it for the reactor lives on.
        """
        run, record = self._context.get(_RUN), self.record
        ok, title = result == history.DONE, self._low["__id__"]
        over = not ok or self._lowstate[-1]["__id__"] == title
        if record:
            # What is applied is noted host by host.
            changes = () if self._low["fun"] in ("applied", "replaced") else ret["changes"]
            record.phase(title, ok, phase.seconds, ret["comment"], changes)
        if record and over:
            record.end(result, failures, run.cloud.settings if run else None, left)
        if over and run and run.lock:
            run.lock.release()

    def _bus(self) -> Any:
        if _BUS not in self._context:
            self._context[_BUS] = salt.utils.event.get_master_event(
                self._opts, self._opts["sock_dir"], listen=False
            )
        return self._context[_BUS]
