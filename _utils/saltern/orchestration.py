"""An orchestration as its phases see it: what they share, and how each begins, ends and fails."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import salt.utils.event
from salt.exceptions import SaltException

from saltern import progress, screen
from saltern.errors import SalternError
from saltern.fleet import RolloutError, Run
from saltern.formation import RefusedError
from saltern.progress import Failure, Phase

# Keys of __context__.
_RUN = "saltern.rollout"
_BUS = "saltern.bus"
# Pillar keys of the command that limit the run or choose for it.
_LIMITS = ("services", "hosts", "remove", "force", "days", "confirm")


class Orchestration:
    """The orchestration in which a state of the module ``rollout`` is a phase.

    :param opts: ``__opts__``.
    :param pillar: ``__pillar__``, with the keys that the command carries.
    :param context: ``__context__``, which all phases of a run share.
    :param low: ``__low__``, the state.
    :param lowstate: ``__lowstate__``, all states of the table.
    """

    def __init__(
        self,
        opts: Mapping[str, Any],
        pillar: Mapping[str, Any],
        context: MutableMapping[str, Any],
        low: Mapping[str, Any],
        lowstate: Sequence[Mapping[str, Any]],
    ) -> None:
        self._opts = opts
        self._pillar = pillar
        self._context = context
        self._low = low
        self._lowstate = lowstate

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
    def confirmed(self) -> bool:
        """Whether the command carries ``pillar='{"confirm": "yes"}'``."""
        # YAML reads a bare yes as true.
        return self._pillar.get("confirm") in ("yes", True)

    @property
    def command(self) -> str:
        """The command of this run, with the pillar keys that limit it."""
        limits = {key: self._pillar[key] for key in _LIMITS if key in self._pillar}
        pillar = f" pillar='{json.dumps(limits)}'" if limits else ""
        return f"salt-run state.orchestrate {self._low['__sls__']}{pillar}"

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
        fire = self._bus().fire_event
        phase = Phase(run_id, self._low["fun"], title, fire, say, time.monotonic)
        phase.begin()
        ok = False
        try:
            yield phase, ret
            ok = True
        except (SalternError, SaltException) as error:
            ret.update(result=False, comment=str(error))
            screen.not_logged(ret["comment"])
            self._last_word(_failures(error))
        except SystemExit:
            # Ctrl-C, as Salt tells it.
            ret["comment"] = "interrupted; hosts finish the service they are at"
            self._last_word([Failure(ret["comment"])])
            raise
        finally:
            phase.end(ok, ret["comment"])
            if not ok or self._lowstate[-1]["__id__"] == title:
                self._let_go()

    def _last_word(self, failures: Sequence[Failure]) -> None:
        block = progress.failure_block(self._low["__id__"], failures, self.command)
        screen.last_word(block, self._opts)

    def _let_go(self) -> None:
        """Free the lock at the end of the run: a master that ran it for the reactor lives on."""
        run = self._context.get(_RUN)
        if run and run.lock:
            run.lock.release()

    def _bus(self) -> Any:
        if _BUS not in self._context:
            self._context[_BUS] = salt.utils.event.get_master_event(
                self._opts, self._opts["sock_dir"], listen=False
            )
        return self._context[_BUS]


def _failures(error: Exception) -> list[Failure]:
    if isinstance(error, RolloutError):
        return error.failures
    return [Failure(str(error), remedy=error.remedy if isinstance(error, RefusedError) else "")]
