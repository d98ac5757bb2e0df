"""Show what an orchestration ends with; any other state run as Salt does. ``--out json`` gives the data.

``state.orchestrate`` names the outputter ``highstate`` itself, so this name is the one place that works for
whoever types it, from wherever.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import salt.loader.lazy
import salt.output

try:
    from saltern.run import summary
except ImportError:
    # `salt` and `salt-call` load no library for outputters, nor do they show orchestrations.
    summary = None


def output(data: Any, **kwargs: Any) -> str | None:
    """Return the end of an orchestration of phases, or Salt's own text of other states."""
    runs = data.get("data", data) if isinstance(data, Mapping) else data
    if summary and isinstance(runs, Mapping) and runs and all(map(summary.is_run, runs.values())):
        return "\n\n".join(map(summary.text, runs.values()))
    own = salt.loader.lazy.LazyLoader(
        [str(Path(salt.output.__file__).parent)], __opts__, tag="output"
    )
    return own["highstate.output"](data, **kwargs)
