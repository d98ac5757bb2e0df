"""Errors that are meant to be read by people."""

from __future__ import annotations

from dataclasses import dataclass


class SalternError(Exception):
    """Something is wrong; the message names what was found and the remedy."""


@dataclass(frozen=True)
class Failure:
    """Why a phase failed on a host.

    :ivar host: Minion id; empty if it is not about one host.
    :ivar state: ID of the failed state; empty if no state ran.
    :ivar reason: The state's comment or what else is known.
    :ivar remedy: What to do next.
    :ivar silent: Nothing was heard of the host: it may be off.
    """

    reason: str
    host: str = ""
    service: str = ""
    state: str = ""
    remedy: str = ""
    silent: bool = False
