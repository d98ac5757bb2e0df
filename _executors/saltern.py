"""Runs a job's function as Salt does, but parses the minion's key once: see ``saltern.keys``.

Orchestrations ask for it by name (``module_executors``) in jobs that speak with the master often.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from saltern import keys


def execute(
    opts: Mapping[str, Any],
    data: Mapping[str, Any],
    func: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Any:
    """Return what the function of a job returns.

    :param opts: The minion's options.
    :param data: The job.
    """
    keys.parse_once()
    return func(*args, **kwargs)
