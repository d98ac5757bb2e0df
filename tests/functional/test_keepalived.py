"""keepalived as deployed on three hosts: the address is on one of them, whatever dies."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from itertools import pairwise
from pathlib import Path

import pymysql
import pytest

from .members import HOSTS, Members
from .services import until

pytestmark = pytest.mark.clusters


def balanced(members, *services: str, **pillar: object) -> Members:
    """Return three hosts with HAProxy, keepalived and other services."""
    wanted = (*services, "haproxy", "keepalived")
    hosts = members(*wanted)
    made = hosts.cloud(**pillar)
    for service in wanted:
        hosts.deploy(service, made)
    return hosts


def holders(members: Members) -> list[str]:
    """Return the hosts whose interface has the address, asked in their namespaces."""
    found = []
    for host in HOSTS:
        pid = members.api.inspect_container(members.name(host, "net"))["State"]["Pid"]
        lines = Path(f"/proc/{pid}/net/fib_trie").read_text().splitlines()
        # An address of the namespace's own is followed by its kind.
        if any(
            one.endswith(f" {members.vip}") and "host LOCAL" in kind
            for one, kind in pairwise(lines)
        ):
            found.append(host)
    return found


def served(members: Members) -> bool:
    """Return whether HAProxy answers at the address."""
    with urllib.request.urlopen(f"http://{members.vip}:61313/", timeout=5) as answer:
        return answer.status == 200


def only(members: Members, wanted: str | None = None, but: str | None = None) -> str | None:
    """Return the only holder if the address is served; it must be or not be a given host."""
    found = holders(members)
    fits = len(found) == 1 and found[0] != but and wanted in (None, *found)
    return found[0] if fits and served(members) else None


def part(members: Members, host: str, action: str) -> None:
    """Drop (``-I``) what goes between a host and the other ones, or let it through again (``-D``)."""
    pid = members.api.inspect_container(members.name(host, "net"))["State"]["Pid"]
    for other in HOSTS:
        for chain, option in (("INPUT", "-s"), ("OUTPUT", "-d")):
            if other != host:
                rule = [action, chain, option, members.address(other), "-j", "DROP"]
                namespace = ["nsenter", f"--net=/proc/{pid}/ns/net"]
                subprocess.run([*namespace, "iptables", "-w", *rule], check=True)


def has_a_database(members: Members) -> bool:
    """Return whether HAProxy at the address has a server of the database."""
    try:
        with urllib.request.urlopen(f"http://{members.vip}:61313/serves", timeout=5) as answer:
            return answer.status == 200
    except urllib.error.HTTPError as error:
        assert error.code == 503
        return False


def test_a_host_that_is_cut_off_from_the_others_does_not_keep_the_address(members) -> None:
    small = {"buffer_pool_mb": 32, "log_file_mb": 32, "containers": {"mariadb": {"deadline": 900}}}
    hosts = balanced(members, "mariadb", mariadb=small)
    holder = until(lambda: only(hosts), "the address is served", 60)
    password = hosts.secret("mariadb.root_password")

    def serving() -> str:
        login = {"user": "root", "password": password, "connect_timeout": 3, "read_timeout": 3}
        with pymysql.connect(host=hosts.vip, **login) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT @@wsrep_node_name")
            return cursor.fetchone()[0]

    # One member serves all, and keeps to it when the first one is back.
    first = until(serving, "the database answers at the address")
    hosts.call(first, None, "container.stopped", "mariadb")
    second = until(lambda: serving() != first and serving(), "another member serves", 60)
    hosts.call(first, None, "container.start", "mariadb", deadline=600)
    time.sleep(20)
    assert serving() == second
    cut = next(one for one in HOSTS if one != holder)
    part(hosts, cut, "-I")
    try:
        until(lambda: cut in holders(hosts), "it hears no other host and takes the address")
        until(lambda: only(hosts, wanted=holder), "it gives the address up", 120)
        until(serving, "the database answers at the address again", 60)
        # No host of them has a database, but they see each other: somebody keeps the address.
        for host in HOSTS:
            if host != cut:
                hosts.call(host, None, "container.stopped", "mariadb")
        until(lambda: not has_a_database(hosts), "HAProxy knows that no database is left", 60)
        time.sleep(20)
        assert only(hosts, wanted=holder)
    finally:
        part(hosts, cut, "-D")


def test_a_new_configuration_is_read_and_the_address_stays(members) -> None:
    hosts = balanced(members)
    # It came up before the others, and is the one that they all prefer.
    holder = HOSTS[0]
    until(lambda: only(hosts, wanted=holder), "the address is served", 60)

    def containers() -> dict[str, str]:
        found = {
            host: hosts.api.inspect_container(hosts.name(host, "keepalived")) for host in HOSTS
        }
        return {host: (one["Id"], one["State"]["StartedAt"]) for host, one in found.items()}

    before = containers()
    hosts.deploy("keepalived", hosts.cloud(keepalived={"preempt": True}))
    assert containers() == before
    for host in HOSTS:
        config = hosts.run(host, "keepalived", "cat", "/etc/keepalived/saltern/keepalived.conf")
        assert "nopreempt" not in config
    # For longer than it takes the others to miss it.
    for _ in range(10):
        time.sleep(1)
        assert holders(hosts) == [holder]
    assert served(hosts)


def test_the_address_is_on_one_host_whatever_dies(members) -> None:
    hosts = balanced(members)
    first = until(lambda: only(hosts), "the address is served", 60)

    # Killed, with no chance to give the address back.
    for number, name in hosts.top(first, "keepalived"):
        if name == "keepalived":
            os.kill(number, signal.SIGKILL)
    second = until(lambda: only(hosts, but=first), "another host has taken it over", 60)

    # HAProxy dies: its host gives the address away.
    hosts.call(second, None, "container.stopped", "haproxy")
    third = until(lambda: only(hosts, but=second), "a host with HAProxy has it", 60)

    # Nobody takes it back.
    hosts.call(second, None, "container.start", "haproxy")
    until(lambda: hosts.healthy(second, "keepalived"), "the host takes part again", 60)
    assert only(hosts, wanted=third)
