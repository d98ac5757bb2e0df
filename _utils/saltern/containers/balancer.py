"""Which servers the load balancers of a cloud send requests to: each of them tells, and needs no password for it."""

from __future__ import annotations

import csv
import http.client
import io
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

# Seconds for an answer: a balancer that is not there balances nothing.
_TIMEOUT = 5


@dataclass(frozen=True)
class Server:
    """A server as one balancer sees it.

    :ivar status: HAProxy's word: UP, DOWN, NOLB (its check said 404: it wants no more requests), ...
    :ivar check: Result of its last health check, such as L7OK.
    :ivar sessions: Requests under way.
    """

    status: str
    check: str
    sessions: int

    def is_used(self) -> bool:
        """Return whether it gets requests, because its check has passed."""
        return self.status == "UP" and self.check.endswith("OK")

    def is_up(self) -> bool:
        """Return whether it gets requests, also if its last check was late or is yet to come."""
        return self.status.startswith("UP")


# Name of a server to what a balancer says of it.
Servers = dict[str, Server]


def ask(urls: Iterable[str], backend: str, source: str = "") -> dict[str, Servers]:
    """Return the servers of a backend as each balancer that answers sees them.

    :param urls: Where the balancers tell, as CSV (HAProxy's statistics).
    :param source: The own address from which to ask.
    :returns: Address of the balancer to its servers; none if it does not know the backend.
    """
    answers = {}
    for url in urls:
        text = _get(url, source)
        if text is not None:
            answers[urlsplit(url).hostname or url] = _servers(text, backend)
    return answers


def _get(url: str, source: str) -> str | None:
    place = urlsplit(url)
    own = (source, 0) if source else None
    connection = http.client.HTTPConnection(place.netloc, timeout=_TIMEOUT, source_address=own)
    try:
        connection.request("GET", place.path, headers={"Connection": "close"})
        return connection.getresponse().read().decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _servers(text: str, backend: str) -> Servers:
    rows = csv.DictReader(io.StringIO(text.removeprefix("# ")))
    return {
        row["svname"]: Server(row["status"], row["check_status"] or "", int(row["scur"] or 0))
        for row in rows
        if row.get("pxname") == backend
    }
