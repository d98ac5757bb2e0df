"""Secrets in texts that people see: none of their values is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def mask(text: str, stored: Any) -> str:
    """Return ``text`` with every secret value in it replaced by ``***``."""
    for value in sorted(values(stored), key=len, reverse=True):
        text = text.replace(value, "***")
    return text


def values(stored: Any) -> Iterator[str]:
    """Yield every secret string of a nested mapping; those too short to hide are left out."""
    if isinstance(stored, Mapping):
        for value in stored.values():
            yield from values(value)
    elif isinstance(stored, str) and len(stored) >= 6:
        yield stored
