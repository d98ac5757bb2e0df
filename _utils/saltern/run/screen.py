"""The screen of a salt-run: lines while it works, and a last word after all that Salt prints."""

from __future__ import annotations

import atexit
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any


def looked_at(opts: Mapping[str, Any]) -> bool:
    """Return whether a person or make waits for this process: salt-run, not a daemon of the master.

    :param opts: ``__opts__``.
    """
    command = str(opts.get("__cli", "")).replace("_", "-")
    return "salt-run" in command and not opts.get("async") and not opts.get("quiet")


def speaker(opts: Mapping[str, Any]) -> Callable[[str], None]:
    """Return a function that shows a line on stderr, or does nothing where nobody looks."""
    if not looked_at(opts):
        return lambda line: None
    end_quietly()
    return _say


def end_quietly() -> None:
    """Hide the warnings about Salt's own unclosed clients with which 3008.3 ends every salt-run."""
    for name in ("salt.runner", "salt.minion"):
        logging.getLogger(name).addFilter(_not_unclosed)


def _not_unclosed(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("unclosed ")


def not_logged(text: str) -> None:
    """Keep Salt from logging a state's comment to the screen, too; its output and the end show it."""
    logging.getLogger("salt.state").addFilter(lambda record: record.getMessage() != text)


def last_word(text: str, opts: Mapping[str, Any]) -> None:
    """Show a text when the process ends, after Salt's own output."""
    if looked_at(opts):
        atexit.register(_say, text)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
