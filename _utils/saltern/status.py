"""What runs, as a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_COLUMNS = ("host", "container", "state", "health", "image", "status")


def text(hosts: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return a table: a row a container.

    :param hosts: Host to containers with ``name``, ``state``, ``health``, ``image``, ``status``.
    """
    rows = [_COLUMNS]
    for host, containers in hosts.items():
        rows += [
            (host, *(_cell(one.get(key)) for key in ("name", *_COLUMNS[2:]))) for one in containers
        ] or [(host, "(no container)", "-", "-", "-", "-")]
    return _table(rows)


def certificates(shown: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of certificates: what each is for, days left, names.

    :param shown: Fields of :class:`saltern.certificates.Expiry`.
    """
    rows = [("certificate", "host", "days", "names")]
    for one in shown:
        days = "expired" if one["days"] < 0 else str(one["days"])
        rows.append((one["name"], one["host"] or "-", days, ", ".join(one["names"]) or "-"))
    return _table(rows)


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _cell(value: Any) -> str:
    # Docker shows an image by its id once its name has gone to a newer one.
    text_ = str(value or "-")
    return f"{text_[7:19]} (replaced)" if text_.startswith("sha256:") else text_
