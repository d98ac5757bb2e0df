"""keepalived as deployed on three hosts: the address is on one of them, whatever dies."""

from __future__ import annotations

import os
import signal
import urllib.request
from itertools import pairwise
from pathlib import Path

import pytest

from .members import HOSTS, Members
from .services import until

pytestmark = pytest.mark.clusters


@pytest.fixture
def balanced(members) -> Members:
    """Return three hosts with HAProxy and keepalived."""
    hosts = members("haproxy", "keepalived")
    made = hosts.cloud()
    for service in ("haproxy", "keepalived"):
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


def test_the_address_is_on_one_host_whatever_dies(balanced: Members) -> None:
    first = until(lambda: only(balanced), "the address is served", 60)

    # Killed, with no chance to give the address back.
    for number, name in balanced.top(first, "keepalived"):
        if name == "keepalived":
            os.kill(number, signal.SIGKILL)
    second = until(lambda: only(balanced, but=first), "another host has taken it over", 60)

    # HAProxy dies: its host gives the address away.
    balanced.call(second, None, "container.stopped", "haproxy")
    third = until(lambda: only(balanced, but=second), "a host with HAProxy has it", 60)

    # Nobody takes it back.
    balanced.call(second, None, "container.start", "haproxy")
    until(lambda: balanced.healthy(second, "keepalived"), "the host takes part again", 60)
    assert only(balanced, wanted=third)
