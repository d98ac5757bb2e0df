"""The end of an orchestration: what changed where, how long it took, and what is next."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

# What states return by their tag, `module_|-id_|-name_|-function`.
Running = Mapping[str, Mapping[str, Any]]
# State modules whose states are the phases of orchestrations.
PHASES = ("rollout_|-", "upgrade_|-", "rotation_|-")
_WIDTH = 100
# Hosts that are named one by one.
_NAMED = 6


def is_run(running: Any) -> bool:
    """Return whether these are the states of an orchestration, each a phase."""
    return (
        isinstance(running, Mapping)
        and bool(running)
        and all(str(tag).startswith(PHASES) for tag in running)
    )


def text(running: Running) -> str:
    """Return the end of a run for people; empty if it failed, as that has its own last word.

    :param running: What the phases have returned. A key ``next`` of one says what to do then, and ``left_out``
        what the run has left alone.
    """
    phases = dict(sorted(running.items(), key=lambda item: item[1].get("__run_num__", 0)))
    if any(one["result"] is False for one in phases.values()):
        return ""
    seconds = took(sum(float(one.get("duration", 0)) for one in phases.values()) / 1000)
    changed = {tag: one for tag, one in phases.items() if one["changes"] or one["result"] is None}
    left_out = [f"Left out: {what}" for one in phases.values() for what in one.get("left_out", ())]
    if not changed:
        return "\n".join([f"{list(phases.values())[-1]['comment']} ({seconds})", *left_out])
    tested = any(one["result"] is None for one in changed.values())
    lines = [
        f"Nothing was changed: this was test mode ({seconds})." if tested else f"Done in {seconds}."
    ]
    for tag, one in changed.items():
        lines += _indented(one["comment"], 2)
        if tag.endswith(("_|-applied", "_|-replaced")):
            lines += [line for places in places(one["changes"]) for line in _indented(places, 4)]
    lines += left_out
    if not tested:
        lines += [f"Next: {one['next']}" for one in phases.values() if one.get("next")]
    return "\n".join(lines)


def table(rows: Sequence[Sequence[str]], below: Sequence[Sequence[str]]) -> str:
    """Return rows as lines whose columns, but the last, are as wide as their widest cell.

    :param below: Lines below each row.
    """
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    lines = []
    for row, more in zip(rows, below, strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines += ["  ".join([*cells, row[-1]]).rstrip(), *more]
    return "\n".join(lines)


def places(changes: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """Yield ``services: hosts``, a line for all services that changed on the same hosts.

    :param changes: Service to its hosts.
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for service, hosts in changes.items():
        groups.setdefault(tuple(sorted(hosts)), []).append(service)
    for hosts, services in groups.items():
        more = f" and {len(hosts) - _NAMED} more" if len(hosts) > _NAMED else ""
        yield f"{', '.join(sorted(services))}: {', '.join(hosts[:_NAMED])}{more}"


def _indented(words: str, by: int) -> list[str]:
    space = " " * by
    return textwrap.wrap(
        words, _WIDTH, initial_indent=space, subsequent_indent=f"{space}  ", break_on_hyphens=False
    )


def took(seconds: float) -> str:
    """Return a time as people say it: ``1 min 12 s``."""
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{seconds:.1f} s"
