"""Databases that are down on all hosts at once come back, and no row is lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .bed import Bed
from .members import HOSTS, SERVICES, holders, in_step, query, until

TABLE = "kept.numbers"
CLUSTER = "SHOW STATUS LIKE 'wsrep_cluster_state_uuid'"


@pytest.fixture(scope="module")
def bed() -> Bed:
    """Return the bed with the services below all others deployed."""
    made = Bed()
    made.orch("deploy", services=SERVICES)
    return made


@pytest.fixture(scope="module")
def table(bed: Bed) -> Iterator[Bed]:
    """Return the bed with an empty table."""
    query(bed, "control1", "CREATE DATABASE IF NOT EXISTS kept")
    query(bed, "control1", f"CREATE OR REPLACE TABLE {TABLE} (n INT AUTO_INCREMENT PRIMARY KEY)")
    yield bed
    query(bed, "control1", "DROP DATABASE kept")


def held(bed: Bed, rows: int) -> bool:
    """Return whether every member has so many rows, and the same ones."""
    counts = {query(bed, host, f"SELECT COUNT(*) FROM {TABLE}") for host in HOSTS}
    return counts == {str(rows)} and in_step(bed, TABLE)


def add(bed: Bed, host: str) -> None:
    """Add a row by a member."""
    query(bed, host, f"INSERT INTO {TABLE} VALUES (NULL)")


def test_a_second_deployment_changes_nothing(bed: Bed) -> None:
    assert "Nothing to change" in bed.orch("deploy", services=SERVICES).err
    assert len(holders(bed)) == 1


@pytest.mark.parametrize("records", ["whole", "spoilt"])
def test_a_power_cut_of_all_databases_loses_nothing(table: Bed, records: str) -> None:
    bed = table
    cluster = query(bed, "control1", CLUSTER)
    for host in HOSTS:
        add(bed, host)
    rows = int(query(bed, "control1", f"SELECT COUNT(*) FROM {TABLE}"))
    if records == "spoilt":
        record = "/var/lib/mysql/data/grastate.dat"
        for host in HOSTS:
            bed.run(host, "docker", "exec", "mariadb", "truncate", "--size=40", record)
    assert bed.crash("mariadbd", *HOSTS) == 3
    until(lambda: held(bed, rows), "the members are back")
    assert {query(bed, host, CLUSTER) for host in HOSTS} == {cluster}


def test_a_stopped_database_is_recovered_from_the_member_with_every_row(table: Bed) -> None:
    bed = table
    bed.run("control1", "docker", "stop", "mariadb")
    add(bed, "control2")
    rows = int(query(bed, "control2", f"SELECT COUNT(*) FROM {TABLE}"))
    bed.orch("stop", services=["mariadb"])
    refused = bed.orch("deploy", services=["mariadb"], check=False)
    assert refused.code != 0
    assert "orch.mariadb_recovery" in refused.err
    bed.orch("mariadb_recovery")
    until(lambda: held(bed, rows), "every member has the last row")
    again = bed.orch("mariadb_recovery", check=False)
    assert "the cluster is up on control1, control2, control3" in again.err


def test_a_database_that_is_killed_for_good_stops_a_deployment_until_it_is_recovered(
    table: Bed,
) -> None:
    bed = table
    add(bed, "control3")
    rows = int(query(bed, "control3", f"SELECT COUNT(*) FROM {TABLE}"))
    for host in HOSTS:
        # Docker takes its own kill for a wish: no restart policy starts them again.
        bed.run(host, "docker", "kill", "mariadb")
    deployed = bed.orch("deploy", services=SERVICES, check=False)
    told = bed.salt("salt-run", "saltern.status", check=False)
    for said in (deployed, told):
        assert said.code != 0
        assert "orch.mariadb_recovery" in f"{said.out}{said.err}"
    bed.orch("mariadb_recovery")
    until(lambda: held(bed, rows), "every member has every row")
    assert "Nothing to change" in bed.orch("deploy", services=SERVICES).err
