"""Render a table of phases (``#!yaml|phases``): a phase that fails ends the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def render(
    table: Mapping[str, Mapping[str, list[dict[str, Any]] | None]],
    saltenv: str = "base",
    sls: str = "",
    argline: str = "",
    **kwargs: Any,
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return the states of a table, each with ``failhard``.

    In the master's configuration it would reach further: minions take it from there for their own state
    runs (``BaseHighState`` in ``salt/state.py``), and a host would stop at its first service that fails.

    :param table: State ID to function to arguments.
    """
    return {
        title: {
            function: [*(arguments or []), {"failhard": True}]
            for function, arguments in phase.items()
        }
        for title, phase in table.items()
    }
