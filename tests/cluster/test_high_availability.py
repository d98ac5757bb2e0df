"""Three control hosts: the databases, the broker and the addresses outlive any one of them, and no row is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from .bed import Bed

SERVICES = ["mariadb", "rabbitmq", "memcached", "haproxy", "keepalived", "ovn"]
HOSTS = ["control1", "control2", "control3"]


@pytest.fixture(scope="module")
def bed() -> Bed:
    """Return the bed with the services below all others deployed."""
    made = Bed()
    made.orch("deploy", services=SERVICES)
    return made


def until(condition: Callable[[], Any], what: str, seconds: float = 300) -> Any:
    """Wait until a condition holds and return its value."""
    end = time.monotonic() + seconds
    last: Exception | None = None
    while time.monotonic() < end:
        try:
            if value := condition():
                return value
        except (AssertionError, LookupError, ValueError) as error:
            last = error
        time.sleep(1)
    raise AssertionError(f"not within {seconds} s: {what} (last error: {last})")


def vip(bed: Bed) -> str:
    """Return the internal address."""
    return bed._pillar["saltern"]["internal_address"]


def holders(bed: Bed, hosts: list[str] = HOSTS) -> list[str]:
    """Return the hosts that have the internal address."""
    brief = {
        host: bed.run(host, "ip", "-brief", "-4", "address", check=False).out for host in hosts
    }
    return [host for host, text in brief.items() if f" {vip(bed)}/32" in text]


def query(bed: Bed, host: str, statement: str) -> str:
    """Run a statement on a host's own member, as its administrator by the socket."""
    client = ["docker", "exec", "mariadb", "mariadb", "--defaults-file=/etc/mysql/galera.cnf", "-N"]
    return bed.run(host, *client, "-e", statement).out.strip()


def in_step(bed: Bed, rows: int, hosts: list[str] = HOSTS) -> bool:
    """Return whether the members are Synced and hold the same rows."""
    sums = {query(bed, host, "CHECKSUM TABLE ha.numbers") for host in hosts}
    states = {
        query(bed, host, "SHOW STATUS LIKE 'wsrep_local_state_comment'").split()[-1]
        for host in hosts
    }
    counts = {query(bed, host, "SELECT COUNT(*) FROM ha.numbers") for host in hosts}
    return (len(sums), states, counts) == (1, {"Synced"}, {str(rows)})


@pytest.fixture(scope="module")
def table(bed: Bed) -> Bed:
    """Return the bed with an empty table."""
    query(bed, "control1", "CREATE DATABASE IF NOT EXISTS ha")
    query(bed, "control1", "CREATE OR REPLACE TABLE ha.numbers (n INT AUTO_INCREMENT PRIMARY KEY)")
    yield bed
    query(bed, "control1", "DROP DATABASE ha")


def add(bed: Bed, host: str, rows: int) -> None:
    """Add a row on a member and see that all members have it."""
    query(bed, host, "INSERT INTO ha.numbers VALUES (NULL)")
    until(lambda: in_step(bed, rows), f"{rows} rows on every member")


def test_a_second_deployment_changes_nothing(bed: Bed) -> None:
    assert "Nothing to change" in bed.orch("deploy", services=SERVICES).err
    assert len(holders(bed)) == 1


def test_the_addresses_leave_a_host_that_loses_its_power(table: Bed) -> None:
    bed = table
    [first] = holders(bed)
    others = [host for host in HOSTS if host != first]
    bed.kill(first)
    try:
        until(lambda: len(holders(bed, others)) == 1, "another host has the address")
        query(bed, others[0], "INSERT INTO ha.numbers VALUES (NULL)")
    finally:
        bed.start(first)
    until(lambda: in_step(bed, 1), "the host has what it missed")
    assert len(holders(bed)) == 1


def test_a_member_that_was_cut_off_serves_nothing_and_comes_back(table: Bed) -> None:
    bed = table
    bed.cut_off("control3", "control1", "control2")
    try:
        check = ["docker", "exec", "mariadb", "galera-healthcheck"]
        until(lambda: bed.run("control3", *check, check=False).code != 0, "it refuses queries")
        query(bed, "control1", "INSERT INTO ha.numbers VALUES (NULL)")
    finally:
        bed.heal("control3")
    until(lambda: in_step(bed, 2), "it has what it missed")


def test_a_power_cut_of_all_databases_loses_nothing(table: Bed) -> None:
    bed = table
    add(bed, "control2", 3)
    assert bed.crash("mariadbd", *HOSTS) == 3
    until(lambda: in_step(bed, 3), "the members are back")


def test_a_stopped_database_is_recovered_from_the_member_with_every_row(table: Bed) -> None:
    bed = table
    bed.run("control1", "docker", "stop", "mariadb")
    query(bed, "control2", "INSERT INTO ha.numbers VALUES (NULL)")
    bed.orch("stop", services=["mariadb"])
    refused = bed.orch("deploy", services=["mariadb"], check=False)
    assert refused.code != 0
    assert "orch.mariadb_recovery" in refused.err
    bed.orch("mariadb_recovery")
    until(lambda: in_step(bed, 4), "every member has the last row")
    again = bed.orch("mariadb_recovery", check=False)
    assert "the cluster is up on control1, control2, control3" in again.err
