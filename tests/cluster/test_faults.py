"""Whatever one control host suffers: no acknowledged write is lost, no stale answer is given, all heals by itself.

Clients write and read through the virtual address throughout. `-s` shows for how long they could not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
import yaml

from .bed import Bed
from .clients import Client, Database, Identity
from .members import HOSTS, SERVICES, holders, in_step, query, until, whole

TABLE = "ha.written"


@pytest.fixture(scope="module")
def cloud(bed: Bed) -> Iterator[Bed]:
    """Return the bed with the services below all others, Keystone, and a user of the database."""
    bed.orch("deploy", services=SERVICES)
    query(bed, "control1", "CREATE DATABASE IF NOT EXISTS ha")
    query(bed, "control1", "CREATE OR REPLACE USER client IDENTIFIED BY 'client'")
    query(bed, "control1", "GRANT ALL ON ha.* TO client")
    yield bed
    query(bed, "control1", "DROP USER client")
    query(bed, "control1", "DROP DATABASE ha")


@pytest.fixture
def clients(cloud: Bed, request: pytest.FixtureRequest) -> Iterator[Callable[[], None]]:
    """Let clients work; call what this yields once the fault is over, to see that all is well."""
    secrets = yaml.safe_load(cloud.run("master", "cat", "/etc/saltern/secrets.yml").out)
    working: dict[str, Client] = {
        "database": Database(cloud.virtual_address, "client", "client"),
        "Keystone": Identity(
            f"http://{cloud.virtual_address}:5000", secrets["keystone"]["admin_password"]
        ),
    }
    for client in working.values():
        client.start()
        client.waits_for(3, until)

    def all_is_well() -> None:
        until(lambda: whole(cloud), "all is healthy again by itself", seconds=600)
        for client in working.values():
            client.waits_for(5, until)
            client.stop()
        until(lambda: in_step(cloud, TABLE), "the members hold the same rows")
        seen = ", ".join(
            f"{name} {client.outage:.1f} s of {len(client.acknowledged)} writes"
            for name, client in working.items()
        )
        print(f"\n{request.node.name}: longest outage: {seen}")
        for name, client in working.items():
            assert client.stale == [], (name, client.errors)
            assert client.lost() == [], (name, client.errors)

    yield all_is_well
    for client in working.values():
        client.stop()


@contextlib.contextmanager
def without(bed: Bed, host: str, fault: str) -> Iterator[None]:
    """Kill, pause or cut off a host for a while."""
    getattr(bed, fault)(host)
    try:
        yield
    finally:
        (bed.start if fault == "kill" else bed.heal)(host)


@pytest.mark.parametrize("fault", ["kill", "pause", "cut_off"])
def test_the_host_that_has_the_address_is_lost(cloud: Bed, clients, fault):
    [host] = holders(cloud)
    others = [one for one in HOSTS if one != host]
    with without(cloud, host, fault):
        until(lambda: len(holders(cloud, others)) == 1, "another host has the address")
        until(lambda: in_quorum(cloud, others), "the others go on without it")
    clients()


@pytest.mark.parametrize("fault", ["kill", "pause", "cut_off"])
def test_the_host_of_the_database_that_serves_is_lost(cloud: Bed, clients, fault):
    with without(cloud, HOSTS[0], fault):
        until(lambda: in_quorum(cloud, HOSTS[1:]), "the others go on without it")
    clients()


@pytest.mark.parametrize(
    "process", ["mariadbd", "beam.smp", "memcached", "haproxy", "keepalived", "ovsdb-server"]
)
def test_a_member_crashes(cloud: Bed, clients, process):
    [host] = holders(cloud)
    assert cloud.crash(process, host)
    clients()


def test_a_member_that_is_cut_off_from_the_others_serves_nothing(cloud: Bed, clients):
    """The clients still reach it: only what goes between the control hosts is lost."""
    cut = next(host for host in HOSTS if host not in holders(cloud))
    cloud.cut_off(cut, *(host for host in HOSTS if host != cut))
    try:
        check = ["docker", "exec", "mariadb", "galera-healthcheck"]
        until(lambda: cloud.run(cut, *check, check=False).code != 0, "it refuses queries")
    finally:
        cloud.heal(cut)
    clients()


def test_all_hosts_are_rebooted_one_after_the_other(cloud: Bed, clients):
    for host in HOSTS:
        cloud.restart(host)
        until(lambda: whole(cloud), f"all is healthy after the reboot of {host}", seconds=600)
    clients()


def in_quorum(bed: Bed, hosts) -> bool:
    """Return whether the database's members on these hosts, and no other, form its cluster."""
    sizes = {
        query(bed, host, "SHOW STATUS LIKE 'wsrep_cluster_size'").split()[-1] for host in hosts
    }
    return sizes == {str(len(hosts))}
