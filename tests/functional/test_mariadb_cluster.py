"""MariaDB on three hosts: formed once, changed one by one, and never with fewer rows than were acknowledged."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pymysql
import pytest

from saltern.run import galera
from saltern.run.formation import RefusedError

from .members import HOSTS, Members
from .services import until

pytestmark = pytest.mark.clusters

# Seconds for which a member is frozen: longer than anything waits.
LASTS = 75
SMALL = {
    "buffer_pool_mb": 32,
    "log_file_mb": 32,
    "gcache_mb": 16,
    "containers": {"mariadb": {"deadline": 900}},
}


@pytest.fixture
def mariadb(members) -> Members:
    """Return three hosts for MariaDB."""
    return members("mariadb")


def query(members: Members, host: str, statement: str) -> list[Any]:
    """Run a statement on a member and return its rows."""
    connection = connect(members, host)
    with connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def connect(members: Members, host: str) -> Any:
    """Return a connection to a member."""
    return pymysql.connect(
        host=members.address(host),
        user="root",
        password=members.secret("mariadb.root_password"),
        connect_timeout=10,
        autocommit=True,
    )


def in_step(members: Members, rows: int) -> bool:
    """Return whether all members are in one named cluster and hold the same rows."""
    facts = {host: members.call(host, None, "galera.status") for host in HOSTS}
    galera.agree(HOSTS, facts)
    sums = {str(query(members, host, "CHECKSUM TABLE kept.numbers")) for host in HOSTS}
    counts = {query(members, host, "SELECT COUNT(*) FROM kept.numbers")[0][0] for host in HOSTS}
    return len(sums) == 1 and counts == {rows}


def kill(
    members: Members, hosts: tuple[str, ...] = HOSTS, by: signal.Signals = signal.SIGKILL
) -> None:
    """Kill the servers of several hosts at once, as a power cut does.

    :param by: SIGSTOP freezes them instead, SIGCONT wakes them up.
    """
    numbers = [
        number
        for host in hosts
        for number, name in members.top(host, "mariadb")
        if name == "mariadbd"
    ]
    assert len(numbers) == len(hosts)
    for number in numbers:
        os.kill(number, by)


def test_no_row_is_lost_whatever_stops(mariadb: Members) -> None:
    made = mariadb.cloud(mariadb=SMALL)
    assert mariadb.deploy("mariadb", made).prepare == {"one": {"form": ["mariadb"]}}
    query(mariadb, "one", "CREATE DATABASE kept")
    query(mariadb, "one", "CREATE TABLE kept.numbers (n INT PRIMARY KEY)")
    query(mariadb, "two", "INSERT INTO kept.numbers VALUES (1), (2), (3)")
    until(lambda: in_step(mariadb, 3), "the members are in step")

    # One after the other, with new configuration.
    changed = mariadb.cloud(mariadb={**SMALL, "max_connections": 500})
    assert not mariadb.deploy("mariadb", changed).prepare
    until(lambda: in_step(mariadb, 3), "the members are in step after the change")

    # A power cut: they come back by themselves.
    query(mariadb, "three", "INSERT INTO kept.numbers VALUES (4)")
    kill(mariadb)
    until(lambda: in_step(mariadb, 4), "the members are back and in step", 300)

    # While one gives or gets a copy, no other one may leave.
    def dispensable(host: str) -> bool:
        command = ["galera-dispensable"]
        return mariadb.call(host, None, "container.exec", "mariadb", command)["retcode"] == 0

    assert dispensable("one")
    query(mariadb, "three", "SET GLOBAL wsrep_desync = ON")
    assert not dispensable("one")
    query(mariadb, "three", "SET GLOBAL wsrep_desync = OFF")
    until(lambda: dispensable("one"), "all are in step again")

    # All are stopped, and one is behind: the one with every write is found.
    mariadb.call("one", None, "container.stopped", "mariadb")
    query(mariadb, "two", "INSERT INTO kept.numbers VALUES (5)")
    for host in ("two", "three"):
        mariadb.call(host, None, "container.stopped", "mariadb")
    with pytest.raises(RefusedError, match="no member is up, and one, two, three hold data"):
        mariadb.deploy("mariadb", changed)
    # One that tries to join alone has nothing to write, and is killed.
    mariadb.call("three", None, "container.start", "mariadb", wait=False)

    def said() -> str:
        return mariadb.api.logs(mariadb.name("three", "mariadb"), tail=100).decode()

    until(lambda: "gcomm: connecting" in said().rpartition("joining the cluster")[2], "it tries")
    mariadb.call("three", None, "container.stopped", "mariadb")
    last = said().rpartition("joining the cluster")[2]
    # It may have given up just then.
    assert "killing the server" in last or "[ERROR] Aborting" in last
    recover(mariadb, changed)
    until(lambda: in_step(mariadb, 5), "the members are in step after the recovery", 300)

    # A lost disk: what is left is copied, nothing is formed.
    mariadb.lose("one", "mariadb")
    todo = mariadb.deploy("mariadb", changed)
    assert todo.orders.get("mariadb", HOSTS)[0] == "one"
    assert not todo.prepare
    until(lambda: in_step(mariadb, 5), "the new member has everything", 300)


def test_one_host_grows_to_three(mariadb: Members) -> None:
    alone = mariadb.cloud(("two",), mariadb=SMALL)
    assert mariadb.deploy("mariadb", alone) is None
    query(mariadb, "two", "CREATE DATABASE kept")
    query(mariadb, "two", "CREATE TABLE kept.numbers (n INT PRIMARY KEY)")
    query(mariadb, "two", "INSERT INTO kept.numbers VALUES (1), (2)")
    made = mariadb.cloud(mariadb=SMALL)
    assert mariadb.deploy("mariadb", made).orders == {"mariadb": ("one", "three", "two")}
    until(lambda: in_step(mariadb, 2), "the members are in step")


def test_a_member_that_was_frozen_answers_nothing_stale(mariadb: Members) -> None:
    """When it wakes up it still takes itself for a member, though the others have gone on without it."""
    mariadb.deploy("mariadb", mariadb.cloud(mariadb=SMALL))
    query(mariadb, "one", "CREATE DATABASE kept")
    query(mariadb, "one", "CREATE TABLE kept.numbers (n INT PRIMARY KEY)")
    until(lambda: in_step(mariadb, 0), "the members are in step")
    sessions = [connect(mariadb, "three") for _ in range(20)]

    def rows(session: Any) -> int | None:
        try:
            with session, session.cursor() as cursor:
                cursor.execute("SELECT COUNT(*) FROM kept.numbers")
                return cursor.fetchone()[0]
        except pymysql.Error:
            return None

    kill(mariadb, ("three",), signal.SIGSTOP)
    end = time.monotonic() + LASTS
    try:
        query(mariadb, "one", "INSERT INTO kept.numbers VALUES (1)")
        time.sleep(max(0, end - time.monotonic()))
        with ThreadPoolExecutor(len(sessions)) as clients:
            asked = [clients.submit(rows, session) for session in sessions]
            kill(mariadb, ("three",), signal.SIGCONT)
    finally:
        kill(mariadb, ("three",), signal.SIGCONT)

    assert {answer.result() for answer in asked} <= {1, None}
    until(lambda: in_step(mariadb, 1), "the members are in step again", 300)


def recover(members: Members, made: Any) -> None:
    """Do what orch.mariadb_recovery does."""
    up = {host: members.call(host, None, "galera.status") for host in HOSTS}
    for host in galera.down(HOSTS, up)[0]:
        members.call(host, None, "galera.stop")
    facts = {host: members.call(host, made, "galera.position") for host in HOSTS}
    chosen, _ = galera.choose(HOSTS, facts)
    assert chosen.keys() <= {"two", "three"}
    for host, arguments in chosen.items():
        members.call(host, made, "galera.bootstrap", **arguments)
    for host in HOSTS:
        members.call(host, None, "galera.join")
