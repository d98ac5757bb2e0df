"""OVN's databases on three hosts: from one server to a Raft cluster, changed one by one, never stale."""

from __future__ import annotations

import pytest

from .members import HOSTS, Members
from .services import until

pytestmark = pytest.mark.clusters


@pytest.fixture
def ovn(members) -> Members:
    """Return three hosts for OVN's databases."""
    return members("ovn")


def cloud_of(members: Members, hosts: tuple[str, ...] = HOSTS, **container: object):
    """Return a cloud whose database containers have some fields more."""
    patient = {"deadline": 600, **container}
    pillar = {"containers": dict.fromkeys(("ovn-nb", "ovn-sb", "ovn-northd"), patient)}
    return members.cloud(hosts, ovn=pillar)


def switches(members: Members, host: str) -> list[str]:
    """Return the logical switches as the database server of one host has them."""
    command = ["ovn-nbctl", "--timeout=10", "--no-leader-only", "--bare", "--columns=name"]
    listed = members.run(host, "ovn-nb", *command, "list", "Logical_Switch")
    return sorted(listed.split())


def add(members: Members, host: str, name: str) -> None:
    """Add a logical switch through whichever member leads, as Neutron does; a new leader is waited for."""
    servers = ",".join(f"tcp:{members.address(one)}:6641" for one in HOSTS)
    command = ["ovn-nbctl", "--timeout=10", f"--db={servers}", "--may-exist", "ls-add", name]

    def added() -> bool:
        return members.call(host, None, "container.exec", "ovn-nb", command)["retcode"] == 0

    until(added, f"{name} is added")


def test_one_server_becomes_a_cluster_that_outlives_its_leader(ovn: Members) -> None:
    assert ovn.deploy("ovn", cloud_of(ovn, ("two",))) is None
    ovn.run("two", "ovn-nb", "ovn-nbctl", "ls-add", "first")

    # The host that has served alone brings its data into the cluster.
    made = cloud_of(ovn)
    decided = ovn.deploy("ovn", made)
    assert decided.prepare == {"two": {"form": ["ovn-nb", "ovn-sb"]}}
    assert decided.orders == {"ovn": ("two", "one", "three")}
    for host in HOSTS:
        until(lambda host=host: switches(ovn, host) == ["first"], f"{host} has the data")

    changed = cloud_of(ovn, labels={"changed": "yes"})
    assert not ovn.deploy("ovn", changed).prepare
    add(ovn, "one", "second")

    # Whoever leads now, the others go on without it.
    for host in HOSTS:
        other = HOSTS[HOSTS.index(host) - 1]
        ovn.call(host, None, "container.stopped", "ovn-nb")
        add(ovn, other, f"without-{host}")
        ovn.call(host, None, "container.start", "ovn-nb", deadline=300)
    everything = ["first", "second", *(f"without-{host}" for host in sorted(HOSTS))]
    for host in HOSTS:
        until(lambda host=host: switches(ovn, host) == everything, f"{host} has everything")

    # While one is missing, the others are indispensable.
    ovn.call("three", None, "container.stopped", "ovn-nb")
    impatient = cloud_of(ovn, labels={"changed": "again"}, deadline=5)
    with pytest.raises(Exception, match="1 of 2 other members serve OVN_Northbound, 2 are needed"):
        ovn.apply("one", impatient, "ovn")

    # One that runs is not forgotten.
    with pytest.raises(Exception, match=rf"{ovn.address('two')}:6643 runs: stop it first"):
        ovn.call("one", made, "cluster.forget", {"ovn-nb": ["two"]})

    # A lost disk: the others forget the member, it joins as a new one.
    ovn.lose("three", "ovn-nb")
    assert ovn.deploy("ovn", changed).orders == {"ovn": ("three", "one", "two")}
    until(lambda: switches(ovn, "three") == everything, "the new member has everything")
    status = ["ovs-appctl", "--target=/run/ovn/ovnnb_db.ctl", "cluster/status", "OVN_Northbound"]
    assert ovn.run("one", "ovn-nb", *status).count(" at tcp:") == len(HOSTS)

    # All stopped: they start together.
    for host in HOSTS:
        ovn.call(host, None, "container.stopped", "ovn-nb")
    assert ovn.deploy("ovn", changed).prepare == {key: {"start": ["ovn-nb"]} for key in HOSTS}
    assert switches(ovn, "one") == everything


def test_a_new_cluster_is_formed_once_and_a_part_without_quorum_is_unhealthy(ovn: Members) -> None:
    made = cloud_of(ovn)
    assert ovn.deploy("ovn", made).prepare == {"one": {"form": ["ovn-nb", "ovn-sb"]}}
    add(ovn, "three", "first")
    assert not ovn.deploy("ovn", made).prepare
    for host in ("one", "two"):
        ovn.call(host, None, "container.stopped", "ovn-nb")
    socket = "--db=unix:/run/ovn/ovnnb_db.sock"
    check = ["ovn-nbctl", "--timeout=5", "--no-leader-only", socket, "get-connection"]

    def refused() -> bool:
        return ovn.call("three", None, "container.exec", "ovn-nb", check)["retcode"] != 0

    until(refused, "the last member does not serve what may be stale")
