"""No grain, but what jobs need of other packages, imported once.

Grains are what a minion loads into the very process that its jobs are forked from. Our own library is not among it:
jobs use a new version of that at once.
"""

from __future__ import annotations

import contextlib
import importlib
from typing import Any


def imported_once() -> dict[str, Any]:
    """Import what takes 25 ms of CPU in each job otherwise; return no grain."""
    for name in ("docker", "cryptography.x509"):
        with contextlib.suppress(ImportError):  # a host that has none says so where it is needed
            importlib.import_module(name)
    return {}
