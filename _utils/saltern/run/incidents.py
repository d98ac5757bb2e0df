"""The journal of incidents and the queue of hosts, on the master: what no restart may lose."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from saltern.containers.faults import Fault
from saltern.paths import root
from saltern.run import summary

Incident = dict[str, Any]

_VERSION = 1
_TABLES = (
    "CREATE TABLE IF NOT EXISTS hosts (host TEXT PRIMARY KEY, serial INTEGER, key TEXT)",
    "CREATE TABLE IF NOT EXISTS queue (host TEXT PRIMARY KEY, seen INTEGER, due REAL)",
    "CREATE TABLE IF NOT EXISTS incidents ("
    " id INTEGER PRIMARY KEY, host TEXT, service TEXT, name TEXT, rule TEXT, said TEXT,"
    " began REAL, seen REAL, decision TEXT DEFAULT '', decided REAL, done TEXT DEFAULT '', acted REAL,"
    " tries INTEGER DEFAULT 0, next REAL DEFAULT 0, ended REAL)",
    "CREATE INDEX IF NOT EXISTS open ON incidents (ended, host)",
)
# Seconds that one process waits for another at the file.
_PATIENCE = 20
_SAID = 500


def file(opts: Mapping[str, Any]) -> Path:
    """Return where a master keeps both."""
    return Path(root("var", opts), "remediation.db")


class Journal:
    """The file, open for one piece of work at a time: processes and threads share it.

    :param path: It is made where it is missing, for root alone.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        with self._reading() as db:
            made = db.execute("PRAGMA user_version").fetchone()[0] == _VERSION
        if not made:
            with self._writing() as db:
                for statement in _TABLES:
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {_VERSION}")

    # -- the queue -----------------------------------------------------------------------------

    def note(self, host: str, serial: int, key: str) -> bool:
        """Note that a host says that something is wrong, or is no more; return whether it counts.

        :param serial: It must have risen, or the host has another key.
        :param key: What names the key that it has signed with.
        """
        with self._writing() as db:
            known = db.execute("SELECT serial, key FROM hosts WHERE host=?", (host,)).fetchone()
            if known and known["key"] == key and serial <= known["serial"]:
                return False
            db.execute("REPLACE INTO hosts VALUES (?, ?, ?)", (host, serial, key))
            _wake(db, host)
        return True

    def wake(self, hosts: Iterable[str]) -> None:
        """Have hosts be asked as soon as there is room."""
        with self._writing() as db:
            for host in hosts:
                _wake(db, host)

    def due(self, now: float) -> list[tuple[str, int]]:
        """Return hosts to be asked, those that wait longest first, and what :meth:`finish` needs.

        :param now: Seconds since 1970.
        """
        with self._reading() as db:
            rows = db.execute(
                "SELECT host, seen FROM queue WHERE due <= ? ORDER BY due, seen", (now,)
            )
            return [(one["host"], one["seen"]) for one in rows]

    def finish(self, host: str, seen: int, due: float | None) -> None:
        """Take a host out of the queue, or put it off; not if it has spoken since it was taken.

        :param seen: What :meth:`due` said of it.
        :param due: When it is asked again, in seconds since 1970; None is never.
        """
        with self._writing() as db:
            if due is None:
                db.execute("DELETE FROM queue WHERE host=? AND seen=?", (host, seen))
            else:
                db.execute("UPDATE queue SET due=? WHERE host=? AND seen=?", (due, host, seen))

    # -- the journal ---------------------------------------------------------------------------

    def seen(self, host: str, found: Sequence[Fault], rules: Sequence[str]) -> list[Incident]:
        """Take what is wrong on a host now: begin incidents, end those that are over; return the open ones.

        :param rules: Names of the rules that were looked at: incidents of others stay as they are.
        """
        now = time.time()
        with self._writing() as db:
            rows = db.execute("SELECT * FROM incidents WHERE ended IS NULL AND host=?", (host,))
            known = {_key(one): one for one in map(dict, rows) if one["rule"] in rules}
            wrong = {(one.rule, one.service, one.name): one for one in found}
            for key in known.keys() - wrong.keys():
                db.execute("UPDATE incidents SET ended=? WHERE id=?", (now, known[key]["id"]))
            for key, one in wrong.items():
                said = one.said[:_SAID]
                if key in known:
                    db.execute("UPDATE incidents SET said=? WHERE id=?", (said, known[key]["id"]))
                else:
                    db.execute(
                        "INSERT INTO incidents (host, service, name, rule, said, began, seen)"
                        " VALUES (?, ?, ?, ?, ?, ?, ?)",
                        (host, one.service, one.name, one.rule, said, one.since or now, now),
                    )
        return [one for one in self.open(host) if one["rule"] in rules]

    def decided(self, id_: int, decision: str) -> None:
        """Note what was decided about an incident; the time is that of the first decision of this kind."""
        with self._writing() as db:
            db.execute(
                "UPDATE incidents SET decision=?, decided=? WHERE id=? AND decision<>?",
                (decision[:_SAID], time.time(), id_, decision[:_SAID]),
            )

    def acted(self, id_: int, done: str, next_: float) -> None:
        """Note what was done, and when the next try may be (seconds since 1970)."""
        with self._writing() as db:
            db.execute(
                "UPDATE incidents SET done=?, acted=?, tries=tries+1, next=? WHERE id=?",
                (done[:_SAID], time.time(), next_, id_),
            )

    def open(self, host: str | None = None) -> list[Incident]:
        """Return what is not over, the oldest first."""
        return self.read(host=host, only_open=True)

    def read(
        self, host: str | None = None, service: str | None = None, only_open: bool = False
    ) -> list[Incident]:
        """Return incidents, the newest last."""
        where, values = ["1"], []
        for name, value in (("host", host), ("service", service)):
            if value is not None:
                where.append(f"{name}=?")
                values.append(value)
        where += ["ended IS NULL"] if only_open else []
        with self._reading() as db:
            rows = db.execute(
                f"SELECT * FROM incidents WHERE {' AND '.join(where)} ORDER BY id", values
            )
            return list(map(dict, rows))

    def last(self, service: str, rule: str) -> Incident | None:
        """Return the last incident of a service on any host about which something was done."""
        with self._reading() as db:
            row = db.execute(
                "SELECT * FROM incidents WHERE service=? AND rule=? AND acted IS NOT NULL"
                " ORDER BY acted DESC LIMIT 1",
                (service, rule),
            ).fetchone()
        return dict(row) if row else None

    def trim(self, most: int) -> None:
        """Forget the oldest incidents that are over; those that go on stay.

        :param most: How many are kept.
        """
        with self._writing() as db:
            db.execute(
                "DELETE FROM incidents WHERE ended IS NOT NULL AND id <="
                " (SELECT id FROM incidents ORDER BY id DESC LIMIT 1 OFFSET ?)",
                (most,),
            )

    def without(self, hosts: Sequence[str]) -> None:
        """End what is open of hosts that are not in the inventory any more, and forget them."""
        marks = ", ".join("?" * len(hosts))
        with self._writing() as db:
            db.execute(
                f"UPDATE incidents SET ended=? WHERE ended IS NULL AND host NOT IN ({marks}, '')",
                (time.time(), *hosts),
            )
            for table in ("queue", "hosts"):
                db.execute(f"DELETE FROM {table} WHERE host NOT IN ({marks})", hosts)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        # Every statement for itself: Python's own transactions are switched off.
        db = sqlite3.connect(self._path, timeout=_PATIENCE, isolation_level=None)
        db.row_factory = sqlite3.Row
        try:
            yield db
        finally:
            db.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._reading() as db:
            # The lock from the start: two that read first and write then would fail each other.
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")  # after an error the end of the connection takes all back


def _wake(db: sqlite3.Connection, host: str) -> None:
    db.execute("REPLACE INTO queue VALUES (?, ?, 0)", (host, time.time_ns()))


def _key(one: Mapping[str, Any]) -> tuple[str, str, str]:
    return one["rule"], one["service"], one["name"]


def rows(found: Iterable[Incident]) -> list[dict[str, Any]]:
    """Return incidents as rows of a report: ``since`` and ``until`` in seconds since 1970, the latter None while open."""
    return [
        {"since": one["began"], "until": one["ended"]}
        | {key: one[key] for key in ("host", "service", "name")}
        | {"what": one["rule"], "done": one["done"] or one["decision"]}
        for one in found
    ]


def table(found: Sequence[Incident]) -> str:
    """Return incidents as people read them: a line each, and below it what was decided and done."""
    if not found:
        return "No incident"
    shown = [("since (UTC)", "host", "service", "what", "lasted", "name")]
    below: list[list[str]] = [[]]
    for one in found:
        lasted = summary.took(one["ended"] - one["began"]) if one["ended"] else "goes on"
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(one["began"]))
        service = one["service"] or "-"
        shown.append((when, one["host"] or "-", service, one["rule"], lasted, one["name"]))
        lines = [one["said"].partition("\n")[0]]
        lines += [f"decided: {one['decision']}"] if one["decision"] else []
        times = f" ({one['tries']} times)" if one["tries"] > 1 else ""
        lines += [f"done: {one['done']}{times}".partition("\n")[0]] if one["done"] else []
        below.append([f"    {line}" for line in lines])
    return summary.table(shown, below)
