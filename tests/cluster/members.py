"""What the members of the clusters on the bed's control hosts say of themselves."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence

from tests.functional import services

from .bed import Bed

# Hosts take longer than containers.
until = functools.partial(services.until, seconds=300)

HOSTS = ("control1", "control2", "control3")
# What lies below all other services, and one of those.
SERVICES = [
    "mariadb",
    "rabbitmq",
    "memcached",
    "haproxy",
    "keepalived",
    "ovn",
    "toolbox",
    "keystone",
]


def holders(bed: Bed, hosts: Sequence[str] = HOSTS) -> list[str]:
    """Return the hosts that have the internal address."""
    brief = {
        host: bed.run(host, "ip", "-brief", "-4", "address", check=False).out for host in hosts
    }
    return [host for host, text in brief.items() if f" {bed.virtual_address}/32" in text]


def query(bed: Bed, host: str, statement: str) -> str:
    """Run a statement on a host's own member, as its administrator by the socket."""
    client = ["docker", "exec", "mariadb", "mariadb", "--defaults-file=/etc/mysql/galera.cnf", "-N"]
    return bed.run(host, *client, "-e", statement).out.strip()


def serving(bed: Bed) -> str:
    """Return the host of the database's member that clients of the virtual address reach."""
    login = ["-h", bed.virtual_address, "-uclient", "-pclient", "--skip-ssl"]
    name = ["mariadb", "--no-defaults", *login, "-Ne", "SELECT @@wsrep_node_name"]
    return bed.run(HOSTS[0], "docker", "exec", "mariadb", *name).out.strip()


def leading(bed: Bed) -> str:
    """Return the host whose OVN northbound database leads: its clients, such as Neutron, use no other one."""
    status = ["ovs-appctl", "--target=/run/ovn/ovnnb_db.ctl", "cluster/status", "OVN_Northbound"]
    return next(
        host
        for host in HOSTS
        if "Role: leader" in bed.run(host, "docker", "exec", "ovn-nb", *status).out
    )


def in_step(bed: Bed, table: str, hosts: Sequence[str] = HOSTS) -> bool:
    """Return whether the members are Synced and hold the same rows of a table."""
    sums = {query(bed, host, f"CHECKSUM TABLE {table}") for host in hosts}
    return len(sums) == 1 and synced(bed, hosts)


def synced(bed: Bed, hosts: Sequence[str] = HOSTS) -> bool:
    """Return whether the members say that they have all that the others have."""
    state = "SHOW STATUS LIKE 'wsrep_local_state_comment'"
    return {query(bed, host, state).split()[-1] for host in hosts} == {"Synced"}


def ill(bed: Bed, hosts: Sequence[str] = HOSTS) -> dict[str, str]:
    """Return the containers that do not run or are not healthy, ``host/name`` to Docker's words."""
    found = {}
    for host in hosts:
        listing = bed.run(host, "docker", "ps", "--all", "--format", "{{json .}}").out
        for one in map(json.loads, listing.splitlines()):
            status = one["Status"]
            if not status.startswith("Up ") or "unhealthy" in status or "starting" in status:
                found[f"{host}/{one['Names']}"] = status
    return found


def brokers(bed: Bed, host: str) -> list[str]:
    """Return the brokers that run, as a host's one sees it."""
    status = ["docker", "exec", "rabbitmq", "rabbitmqctl", "cluster_status", "--formatter=json"]
    return sorted(json.loads(bed.run(host, *status).out)["running_nodes"])


def whole(bed: Bed, hosts: Sequence[str] = HOSTS) -> bool:
    """Return whether nothing is left of a fault: every container, every member, one address."""
    return (
        not ill(bed, hosts)
        and len(holders(bed, hosts)) == 1
        and synced(bed, hosts)
        and all(len(brokers(bed, host)) == len(hosts) for host in hosts)
    )
