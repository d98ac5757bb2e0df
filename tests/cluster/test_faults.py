"""Whatever one control host suffers: no acknowledged write is lost, no stale answer is given, all heals by itself.

Clients write and read throughout: through the virtual address or, where OpenStack's services do, by any member. `-s` shows
for how long they could not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from .bed import Bed
from .members import HOSTS, holders, query, until, whole


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
