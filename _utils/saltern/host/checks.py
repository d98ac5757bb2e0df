"""Tables of checks: what was checked on a host, and what to do about each failure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from saltern.errors import Failure

Check = dict[str, Any]
# The rows of a table of oslo.upgradecheck stand between such lines.
_BETWEEN_ROWS = re.compile(r"^\+-+\+$", re.MULTILINE)


def check(name: str, ok: bool, found: str, remedy: str = "") -> Check:
    """Return one check of a host.

    :param name: What is checked; hosts' checks of the same name share a row.
    :param found: What was found.
    :param remedy: What to do if it is wrong.
    """
    return {"check": name, "ok": bool(ok), "found": found, "remedy": remedy}


def failures(found: Mapping[str, Sequence[Check]]) -> list[Failure]:
    """Return the checks of all hosts that failed."""
    return [
        Failure(one["found"], host, state=one["check"], remedy=one["remedy"])
        for host, rows in found.items()
        for one in rows
        if not one["ok"]
    ]


def failed_rows(said: str, excused: Sequence[str] = ()) -> list[str] | None:
    """Return the rows that failed of a table of oslo.upgradecheck, without the excused ones; None if none failed at all.

    :param said: What the check wrote.
    :param excused: Names of checks that may fail.
    """
    failed = [row.strip() for row in _BETWEEN_ROWS.split(said) if "| Result: Failure" in row]
    excuse = re.compile(rf"\| Check: ({'|'.join(map(re.escape, excused))}) *\|")
    return [row for row in failed if not excuse.match(row)] if failed else None


def table(found: Mapping[str, Sequence[Check]]) -> str:
    """Return the checks of all hosts: a row a check, a column a host."""
    hosts = list(found)
    names = list(dict.fromkeys(one["check"] for checks in found.values() for one in checks))
    cells = {(host, one["check"]): one["ok"] for host in hosts for one in found[host]}
    first = max([len(name) for name in names], default=0)
    widths = [max(len(host), 6) for host in hosts]
    lines = ["  ".join([" " * first, *(f"{h:{w}}" for h, w in zip(hosts, widths, strict=True))])]
    for name in names:
        marks = [{True: "ok", False: "FAILED", None: "-"}[cells.get((h, name))] for h in hosts]
        row = [f"{name:{first}}", *(f"{m:{w}}" for m, w in zip(marks, widths, strict=True))]
        lines.append("  ".join(row))
    return "\n".join(line.rstrip() for line in lines)
