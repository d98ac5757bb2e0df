"""Members leave and join while clients work."""

from __future__ import annotations

from collections.abc import Callable

from .bed import Bed
from .members import HOSTS, SERVICES, brokers, query, until, whole

Clients = Callable[[], None]


def members(bed: Bed, host: str) -> int:
    """Return of how many members the database's cluster is, as one of them sees it."""
    return int(query(bed, host, "SHOW STATUS LIKE 'wsrep_cluster_size'").split()[-1])


def test_a_control_host_leaves_for_good_and_a_new_one_joins(cloud: Bed, clients: Clients):
    *stay, goes = HOSTS
    cloud.orch("remove_host", remove=goes, confirm="yes")
    cloud.orch("destroy", hosts=[goes], confirm="yes")
    with cloud.pillar({"saltern": {"hosts": {goes: None}}}):
        cloud.orch("deploy", services=SERVICES)
        until(lambda: whole(cloud, stay), "two members are whole without the third")
        assert members(cloud, stay[0]) == len(brokers(cloud, stay[0])) == 2
        assert cloud.run(goes, "docker", "ps", "--all", "--quiet").out == ""

    cloud.orch("deploy", services=SERVICES)

    assert members(cloud, goes) == 3
    clients()


def test_a_dead_host_is_replaced_by_an_empty_one_of_the_same_name(cloud: Bed, clients: Clients):
    dead = HOSTS[1]
    cloud.machine.remove([cloud.machine.full(dead)], [cloud.machine.full(f"{dead}-docker")])
    cloud.salt("salt-key", "--yes", "--delete", dead)
    cloud.up(images=False, show=lambda line: None)

    cloud.orch("deploy", services=SERVICES)

    assert members(cloud, dead) == 3
    clients()
