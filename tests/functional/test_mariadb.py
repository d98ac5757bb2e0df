"""MariaDB as deployed: a cluster of one that survives what happens to servers."""

from __future__ import annotations

import re

import clouds
import pymysql
import pytest

from .services import HOST, NAMESPACE, Asking, Deployment, until

SMALL = {"buffer_pool_mb": 32, "log_file_mb": 32, "gcache_mb": 16}
EMPTY = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def mariadb(salt_loaded, call) -> Deployment:
    """Return the service with its image built."""
    return Deployment("mariadb", salt_loaded, call)


def query(statement: str, password: str, user: str = "root") -> list:
    """Run a statement over TCP and return its rows."""
    connection = pymysql.connect(
        host=HOST, user=user, password=password, connect_timeout=5, autocommit=True
    )
    with connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def status(name: str, password: str) -> str:
    """Return one of Galera's status values."""
    return query(f"SHOW GLOBAL STATUS LIKE '{name}'", password)[0][1]


def test_data_and_cluster_survive_a_crash_a_stop_and_a_new_password(mariadb: Deployment) -> None:
    first, second = "it's \\ first", "second"
    result = mariadb.deploy(SMALL, root_password=first)
    assert result["result"] is True, result["comment"]
    query("CREATE DATABASE kept", first)
    query("CREATE TABLE kept.rows (id INT PRIMARY KEY)", first)
    query("INSERT INTO kept.rows VALUES (1), (2)", first)
    cluster = status("wsrep_cluster_state_uuid", first)
    assert cluster != EMPTY

    committed = int(status("wsrep_last_committed", first))
    mariadb.kill("mariadbd")
    rows = until(lambda: query("SELECT id FROM kept.rows", first), "the server is back")
    assert rows == [(1,), (2,)]
    assert status("wsrep_cluster_state_uuid", first) == cluster
    assert int(status("wsrep_last_committed", first)) >= committed

    changed = mariadb.deploy(SMALL, root_password=second)
    assert changed["result"] is True, changed["comment"]
    assert query("SELECT id FROM kept.rows", second) == [(1,), (2,)]
    assert status("wsrep_cluster_state_uuid", second) == cluster
    with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
        query("SELECT 1", first)

    log = mariadb.api.logs(mariadb.container).decode()
    inspected = str(mariadb.api.inspect_container(mariadb.container))
    for secret in (first, second):
        assert secret not in log + inspected
    assert query("SHOW DATABASES", "", user="monitor") == [("information_schema",)]


def test_root_has_two_passwords_while_its_own_is_rotated(mariadb: Deployment) -> None:
    old, new = "it's \\ old", "new-password"
    former, retired = {"root_password.former": old}, {"root_password.retired": old}
    assert mariadb.deploy(SMALL, root_password=old)["result"] is True
    container = mariadb.api.inspect_container(mariadb.container)["Id"]
    with Asking(lambda: query("SELECT 1", old)) as holder:
        result = mariadb.deploy(SMALL, root_password=new, **former)
        assert result["result"] is True, result["comment"]
        with Asking(lambda: query("SELECT 1", new)) as other:
            other.again()
            # One that starts meanwhile reads the file.
            mariadb.kill("mariadbd")
            for one in (holder, other):
                one.again()
        refused = [error for error in holder.errors + other.errors if "Access denied" in error]
        assert not refused
    assert mariadb.deploy(SMALL, root_password=new, **retired)["result"] is True
    assert query("SELECT 1", new) == [(1,)]
    with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
        query("SELECT 1", old)
    mariadb.kill("mariadbd")
    until(lambda: query("SELECT 1", new), "the server is back")
    with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
        query("SELECT 1", old)
    assert mariadb.api.inspect_container(mariadb.container)["Id"] == container


def test_a_record_of_the_cluster_that_a_power_cut_has_spoilt_is_written_anew(
    mariadb: Deployment,
) -> None:
    assert mariadb.deploy(SMALL, root_password="secret")["result"] is True
    cluster = status("wsrep_cluster_state_uuid", "secret")
    mariadb.run("truncate", "--size=40", "/var/lib/mysql/data/grastate.dat")
    mariadb.kill("mariadbd")
    until(lambda: query("SELECT 1", "secret"), "the server is back")
    assert status("wsrep_cluster_state_uuid", "secret") == cluster


def test_a_row_that_another_transaction_has_changed_can_be_updated(mariadb: Deployment) -> None:
    """As OpenStack does, which knows error 1020 of newer MariaDBs as little as MySQL does."""
    assert mariadb.deploy(SMALL, root_password="secret")["result"] is True
    query("CREATE DATABASE kept", "secret")
    query("CREATE TABLE kept.rows (id INT PRIMARY KEY, uses INT)", "secret")
    query("INSERT INTO kept.rows VALUES (1, 0)", "secret")
    with pymysql.connect(host=HOST, user="root", password="secret") as transaction:
        with transaction.cursor() as cursor:
            cursor.execute("SELECT * FROM kept.rows")
            query("UPDATE kept.rows SET uses = uses + 1", "secret")
            cursor.execute("UPDATE kept.rows SET uses = uses + 1")
        transaction.commit()
    assert query("SELECT uses FROM kept.rows", "secret") == [(2,)]


def test_an_initialisation_that_was_killed_is_done_again(mariadb: Deployment, salt_loaded) -> None:
    volume = f"{mariadb.container}:/var/lib/mysql"
    half_done = "mkdir -p /var/lib/mysql/data.new/mysql && touch /var/lib/mysql/data.new/ibdata1"
    run_in_volume(mariadb, volume, half_done)
    result = mariadb.deploy(SMALL, root_password="secret")
    assert result["result"] is True, result["comment"]
    assert status("wsrep_ready", "secret") == "ON"
    assert mariadb.run("ls", "/var/lib/mysql").split() == ["data", "tmp"]


def test_bootstrap_from_another_position_is_refused(mariadb: Deployment) -> None:
    result = mariadb.deploy(SMALL, root_password="secret")
    assert result["result"] is True, result["comment"]
    mariadb.run("galera-bootstrap", f"{EMPTY[:-1]}1:7")
    mariadb.kill("mariadbd")
    refused = re.compile(rf"the bootstrap marker names position {EMPTY[:-1]}1:7, but this member")

    def log() -> bool:
        return bool(refused.search(mariadb.api.logs(mariadb.container).decode()))

    until(log, "the member refuses")


def test_a_mistaken_option_brings_the_old_server_back(mariadb: Deployment) -> None:
    assert mariadb.deploy(SMALL, root_password="secret")["result"] is True
    wrong = {**SMALL, "config": {"galera.cnf": {"mysqld": {"no_such_option": 1}}}}
    wrong["containers"] = {"mariadb": {"deadline": 12}}
    result = mariadb.deploy(wrong, root_password="secret")
    assert result["result"] is False
    assert "no_such_option" in result["comment"]
    until(lambda: status("wsrep_ready", "secret") == "ON", "the old server serves")


def run_in_volume(mariadb: Deployment, volume: str, script: str) -> None:
    """Run a shell script in a container of the image that has only the data volume."""
    image = mariadb.api.inspect_image(clouds.image("mariadb", NAMESPACE))["Id"]
    config = mariadb.api.create_host_config(binds=[volume])
    made = mariadb.api.create_container(image, ["sh", "-c", script], host_config=config)
    mariadb.api.start(made)
    assert mariadb.api.wait(made)["StatusCode"] == 0
    mariadb.api.remove_container(made)
