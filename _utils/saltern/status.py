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
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _cell(value: Any) -> str:
    # Docker shows an image by its id once its name has gone to a newer one.
    text_ = str(value or "-")
    return f"{text_[7:19]} (replaced)" if text_.startswith("sha256:") else text_
