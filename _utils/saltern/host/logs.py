"""Collected logs: what a line means, and the newest lines that answer a question.

``formulas/rsyslog`` writes them: ``<folder>/<host>/<container>.log``, an event a line, and
``.log.1`` and so on when rotated.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from saltern.errors import SalternError

LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")

_FILE = re.compile(r"(?P<container>.+)\.log(?:\.(?P<number>\d+))?")
_SPAN = re.compile(r"(\d+)\s*([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_BLOCK = 1 << 16
# Lines are written in the order of their times, but for what was handed over after an interruption.
_OLDER_IN_A_ROW = 1000
_LONGEST_TEXT = 4000


@dataclass(frozen=True)
class Event:
    """A line that a container wrote.

    :ivar time: When, UTC to the nanosecond, as Docker writes it: ``2026-11-24T13:45:43.917470623Z``.
    :ivar host: Minion id.
    :ivar level: One of `LEVELS`; ``-`` if the line does not show it.
    :ivar text: The line; control characters are ``#`` and three octal digits.
    """

    time: str
    host: str
    container: str
    level: str
    text: str


@dataclass(frozen=True)
class Query:
    """A question to the logs; what is None or empty does not matter.

    :ivar pattern: Regular expression that is found anywhere in a line.
    :ivar since: Earliest time, see `moment`; ``until`` the latest.
    :ivar level: Lowest level; a line that shows none is left out then.
    :ivar lines: Most lines of the answer: the newest ones.
    """

    containers: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    pattern: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    level: str | None = None
    lines: int = 200

    def __post_init__(self) -> None:
        """Refuse what no line can answer.

        :raises SalternError: The pattern or the level is wrong.
        """
        try:
            re.compile(self.pattern or "")
        except re.error as error:
            raise SalternError(f"pattern {self.pattern!r}: {error}") from error
        if self.level is not None and self.level not in LEVELS:
            raise SalternError(f"level {self.level!r}: allowed are {', '.join(LEVELS)}")
        if self.lines < 1:
            raise SalternError(f"lines {self.lines}: must be 1 or more")


def moment(text: str, now: datetime) -> datetime:
    """Return a time that a person gave.

    :param text: How long ago (``90s``, ``15m``, ``1h``, ``2d``, ``1w``) or a time of ISO 8601, UTC
        unless it says otherwise.
    :raises SalternError: It is neither.
    """
    if span := _SPAN.fullmatch(text.strip()):
        return now - timedelta(**{_UNITS[span[2]]: int(span[1])})
    try:
        given = datetime.fromisoformat(text.strip())
    except ValueError:
        raise SalternError(
            f"time {text!r}: allowed are a span such as 15m, 1h, 2d and a time such as "
            "2026-11-24T13:45 (UTC)"
        ) from None
    return given if given.tzinfo else given.replace(tzinfo=UTC)


def parse(line: str) -> Event | None:
    """Return the event of a line ``TIME HOST CONTAINER LEVEL TEXT``, or None if it is none."""
    parts = line.rstrip("\n").split(" ", 4)
    return Event(*parts) if len(parts) == 5 and parts[0].endswith("Z") else None


def order(event: Event) -> str:
    """Return what events are sorted by: Docker leaves out zeros at the end of a time."""
    seconds, _, fraction = event.time.rstrip("Z").partition(".")
    return f"{seconds}.{fraction:0<9}"


def search(folder: str | Path, query: Query) -> list[Event]:
    """Return the newest events that answer a query, newest last, each once.

    :param folder: Where the logs of all hosts are, see `Query`.
    """
    found: set[Event] = set()
    for files in _files(Path(folder), query):
        found.update(_newest(files, query))
    return sorted(found, key=order)[-query.lines :]


def containers(service: str, catalog: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the containers of a service, or the one that has this name.

    :param catalog: The cloud's services, as their ``service.yml`` say.
    :raises SalternError: There is neither.
    """
    owned = {name: list(one.get("containers", {})) for name, one in catalog.items()}
    single = {container: [container] for names in owned.values() for container in names}
    return _known(service, single | owned, "service or container")


def places(
    host: str | None, hosts: Iterable[str], collecting: Sequence[str], keeping: Sequence[str]
) -> list[str]:
    """Return the hosts that have the logs of a host or, without one, of all; the first to ask first.

    :param hosts: The cloud's minion ids.
    :param collecting: Those whose logs are collected.
    :param keeping: Those that keep the logs of all.
    :raises SalternError: There is no such host, or nobody has them.
    """
    if not collecting:
        raise SalternError("no logs are collected: enable the service rsyslog, docs/logging.md")
    if host:
        _known(host, dict.fromkeys(hosts), "host")
        return list(dict.fromkeys([host, *keeping] if host in collecting else keeping))
    if not keeping and len(collecting) > 1:
        raise SalternError(
            "no host keeps the logs of all: say host=, or enable the service rsyslog-server"
        )
    return list(keeping or collecting)


def _known(name: str, names: Mapping[str, Any], what: str) -> Any:
    if name in names:
        return names[name]
    close = get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(names))}"
    raise SalternError(f"unknown {what} {name!r}: {hint}")


def text(events: Iterable[dict[str, str]]) -> str:
    """Return events as lines for people: host, container, time (UTC) and what was said."""
    return "\n".join(map(line, events)) or "Nothing found"


def line(event: dict[str, str]) -> str:
    """Return one event as a line for people."""
    time = event["time"].rstrip("Z")[:23]
    return f"{event['host']} {event['container']} {time} {event['text']}"


def _files(folder: Path, query: Query) -> Iterator[list[Path]]:
    """Yield the files of each container of each host, newest first, that may hold an answer."""
    since = query.since.timestamp() if query.since else 0
    for host in sorted(one for one in folder.iterdir() if one.is_dir()):
        if query.hosts and host.name not in query.hosts:
            continue
        containers: dict[str, list[tuple[int, Path]]] = {}
        for path in host.iterdir():
            match = _FILE.fullmatch(path.name)
            if match and path.stat().st_mtime >= since:
                files = containers.setdefault(match["container"], [])
                files.append((int(match["number"] or 0), path))
        for container, files in sorted(containers.items()):
            if not query.containers or container in query.containers:
                yield [path for _, path in sorted(files)]


def _newest(files: Iterable[Path], query: Query) -> Iterator[Event]:
    """Yield the newest events of a container that answer a query, newest first."""
    since, until = (_bound(one) for one in (query.since, query.until))
    pattern = re.compile((query.pattern or "").encode())
    levels = LEVELS[LEVELS.index(query.level) :] if query.level else ()
    left, older = query.lines, 0
    for raw in (raw for path in files for raw in _backwards(path)):
        older = older + 1 if raw[:19] < since else 0
        if left == 0 or older > _OLDER_IN_A_ROW:
            return
        if older or (until and raw[:19] >= until) or not pattern.search(raw):
            continue
        event = parse(raw.decode(errors="replace"))
        if event and (not levels or event.level in levels):
            left -= 1
            yield _shortened(event)


def _bound(time: datetime | None) -> bytes:
    """Return the first 19 characters of the lines of a time."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S").encode() if time else b""


def _backwards(path: Path) -> Iterator[bytes]:
    """Yield a file's lines, the last one first; one without its end is still being written."""
    with path.open("rb") as file:
        position = file.seek(0, os.SEEK_END)
        rest, whole = b"", False
        while position:
            size = min(_BLOCK, position)
            position -= size
            file.seek(position)
            rest, *lines = (file.read(size) + rest).split(b"\n")
            if lines and not whole:
                lines.pop()
                whole = True
            yield from reversed(lines)
        if whole:
            yield rest


def _shortened(event: Event) -> Event:
    more = len(event.text) - _LONGEST_TEXT
    if more <= 0:
        return event
    cut = f"{event.text[:_LONGEST_TEXT]}... ({more} more characters)"
    return Event(event.time, event.host, event.container, event.level, cut)
