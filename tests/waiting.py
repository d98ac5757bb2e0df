"""Waiting in tests: for what comes about by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def until(condition: Callable[[], Any], what: str, seconds: float = 300) -> Any:
    """Wait until a condition holds and return its value."""
    end = time.monotonic() + seconds
    last: Exception | None = None
    while time.monotonic() < end:
        try:
            if value := condition():
                return value
        except Exception as error:
            last = error
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds} s: {what} (last error: {last})")
