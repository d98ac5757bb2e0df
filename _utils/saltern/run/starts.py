"""Hosts that have started and wait for a deployment: whoever has the turn takes all of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from saltern.errors import SalternError
from saltern.run.lock import Lock


class Waiting:
    """Hosts that wait, a file each, so that none is forgotten when the master restarts.

    :param folder: Where the files are; it is made when it is missing.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)

    def add(self, host: str) -> None:
        """Let a host wait; one that does already waits once."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / host).touch()

    def hosts(self) -> list[str]:
        """Return the hosts that wait."""
        return sorted(path.name for path in self._folder.glob("[!.]*"))

    def serve(self, deploy: Callable[[Sequence[str]], None]) -> list[str]:
        """Call ``deploy`` for all that wait, until none does; another caller at work is left to it.

        A host waits no longer once its deployment has begun: one that starts again meanwhile comes
        again.

        :returns: The hosts that this call has seen to.
        """
        served: list[str] = []
        # A host may have been added after the one at work looked for the last time: look again.
        while hosts := self.hosts():
            try:
                turn = Lock(self._folder / ".turn", {"command": "saltern.started"})
            except SalternError:
                return served
            with contextlib.closing(turn):
                if hosts := self.hosts():
                    for host in hosts:
                        (self._folder / host).unlink()
                    deploy(hosts)
                    served += hosts
        return served
