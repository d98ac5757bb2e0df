"""Whatever one control host suffers: no acknowledged write is lost, no stale answer is given, all heals by itself.

Clients write and read throughout: through the virtual address or, where OpenStack's services do, by any member. `-s` shows
for how long they could not.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from .bed import Bed
from .members import HOSTS, holders, leading, query, serving, until, whole

# Longer than anything waits: RabbitMQ's net_ticktime, its clients' heartbeat, keepalived, Galera, OVN's probes.
LASTS = 75


@contextlib.contextmanager
def lasting(end: Callable[[], object]) -> Iterator[None]:
    """Let a fault last, whatever has been reached meanwhile, then end it."""
    began = time.monotonic()
    try:
        yield
        time.sleep(max(0, began + LASTS - time.monotonic()))
    finally:
        end()


@contextlib.contextmanager
def without(bed: Bed, host: str, fault: str) -> Iterator[None]:
    """Kill, pause or cut off a host for a while."""
    getattr(bed, fault)(host)
    with lasting(lambda: (bed.start if fault == "kill" else bed.heal)(host)):
        yield


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
    host = serving(cloud)
    others = [one for one in HOSTS if one != host]
    with without(cloud, host, fault):
        until(lambda: in_quorum(cloud, others), "the others go on without it")
    clients()


@pytest.mark.parametrize(
    "process", ["mariadbd", "beam.smp", "memcached", "haproxy", "keepalived", "ovsdb-server"]
)
def test_a_member_crashes(cloud: Bed, clients, process):
    [host] = holders(cloud)
    assert cloud.crash(process, host)
    clients()


@pytest.mark.parametrize(
    ("process", "busy"),
    [("mariadbd", serving), ("beam.smp", lambda _: HOSTS[0]), ("ovsdb-server", leading)],
    ids=["mariadbd", "beam.smp", "ovsdb-server"],
)
def test_the_member_that_clients_use_is_frozen(cloud: Bed, clients, process, busy):
    """Its port accepts connections, its host answers: only the process does not."""
    host = busy(cloud)
    assert cloud.crash(process, host, by=signal.SIGSTOP)
    with lasting(lambda: cloud.crash(process, host, by=signal.SIGCONT)):
        pass
    clients()


@pytest.mark.parametrize("holder", [False, True])
def test_a_member_that_is_cut_off_from_the_others_serves_nothing(cloud: Bed, clients, holder):
    """The clients still reach it: only what goes between the control hosts is lost."""
    cut = next(host for host in HOSTS if (host in holders(cloud)) is holder)
    others = [host for host in HOSTS if host != cut]
    cloud.cut_off(cut, *others)
    with lasting(lambda: cloud.heal(cut)):
        check = ["docker", "exec", "mariadb", "galera-healthcheck"]
        until(lambda: cloud.run(cut, *check, check=False).code != 0, "it refuses queries")
        until(lambda: cut not in holders(cloud), "it does not keep the address")
        until(lambda: len(holders(cloud, others)) == 1, "another host has it")
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
