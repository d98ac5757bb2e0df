"""Waiting for this host's minion to answer its master."""

from __future__ import annotations

import contextlib

import salt.client
import salt.exceptions

from steps import Outcome, SetupError, processes
from steps.settings import Settings

PATIENCE = 60  # seconds


def answer(config: Settings) -> Outcome:
    """Wait until the minion answers the master."""
    client = salt.client.LocalClient(str(config.config_dir / "master"))
    said: dict = {}

    def answered() -> bool:
        # A busy master takes its time even to publish; asking again is all there is to do.
        with contextlib.suppress(salt.exceptions.SaltClientError):
            said.update(client.cmd(config.id, "test.ping", timeout=2, gather_job_timeout=1) or {})
        return said.get(config.id) is True

    if not processes.wait(answered, PATIENCE):
        log = config.log / "minion.log"
        raise SetupError(
            f"minion '{config.id}' does not answer; the end of {log}:\n{processes.last_lines(log)}"
        )
    return Outcome(f"{config.id} answers test.ping")
