"""The test bed itself: hosts are hosts, faults are faults, and nothing of it is anybody else's."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.cluster.bed import Bed


@pytest.fixture
def host(bed: Bed) -> str:
    """Return a host that tests may harm."""
    return list(bed.hosts)[-1]


@pytest.fixture
def other(bed: Bed) -> str:
    """Return another host."""
    return next(iter(bed.hosts))


def reaches(bed: Bed, host: str, other: str) -> bool:
    """Return whether a host gets an answer from another one."""
    address = bed.hosts[other]["address"]
    # The first one is lost by a cable that has just been put in.
    return bed.run(host, "ping", "-c3", "-i0.5", "-W1", address, check=False).code == 0


def test_a_second_time_touches_nothing(bed: Bed):
    before = {one["Id"]: one["State"] for one in bed.machine.containers()}
    lines: list[str] = []

    bed.up(show=lines.append)

    assert {one["Id"]: one["State"] for one in bed.machine.containers()} == before
    assert any("hosts are prepared" in line for line in lines)


def test_every_host_has_a_network_a_docker_and_a_systemd_of_its_own(bed: Bed):
    for name, one in bed.hosts.items():
        seen = json.loads(bed.run(name, "ip", "-json", "-4", "address", "show", "eth0").out)
        assert one["address"] in [address["local"] for address in seen[0]["addr_info"]]
        assert bed.run(name, "docker", "info", "--format", "{{.Name}}").out.strip() == name
        assert bed.run(name, "systemctl", "is-active", "docker", "saltern-minion").code == 0


def test_this_machines_docker_sees_no_port_of_the_bed_but_the_registrys_on_loopback(bed: Bed):
    ports = [
        (one["Names"][0], port["IP"])
        for one in bed.machine.containers()
        for port in one["Ports"]
        if "PublicPort" in port
    ]

    assert ports == [(f"/{bed.machine.full('registry')}", "127.0.0.1")]


def test_hosts_cannot_set_this_machines_clock(bed: Bed, host: str):
    set_ = bed.run(host, "date", "--set", "2020-01-01", check=False)

    assert "not permitted" in set_.err


def test_a_killed_host_is_back_with_its_daemons_and_settings(bed: Bed, other: str):
    control = "control3"
    bed.kill(control)
    assert not reaches(bed, other, control)

    bed.start(control)

    assert reaches(bed, other, control)
    assert bed.run(control, "cat", "/proc/sys/net/ipv4/ip_nonlocal_bind").out.strip() == "1"
    assert bed.run(control, "grep", other, "/etc/hosts").code == 0
    bed.run(control, "docker", "info")


def test_a_cut_cable_is_healed_with_addresses_and_routes(bed: Bed, host: str, other: str):
    routes = bed.run(host, "ip", "route").out

    bed.cut_off(host)
    assert not reaches(bed, host, other)
    bed.heal(host)

    assert reaches(bed, host, other)
    assert bed.run(host, "ip", "route").out == routes


def test_a_host_can_be_cut_off_from_some_hosts_only(bed: Bed, host: str, other: str):
    third = list(bed.hosts)[1]

    bed.cut_off(host, other)
    seen = reaches(bed, host, other), reaches(bed, host, third)
    bed.heal(host)

    assert seen == (False, True)
    assert reaches(bed, host, other)


def test_a_paused_host_does_not_answer(bed: Bed, host: str, other: str):
    # Its kernel would: the cable is in.
    greeting = f"read -t 5 line </dev/tcp/{bed.hosts[host]['address']}/22; echo $line"

    bed.pause(host)
    paused = bed.run(other, "bash", "-c", greeting).out
    bed.heal(host)

    assert paused.strip() == ""
    assert "SSH" in bed.run(other, "bash", "-c", greeting).out


def test_a_crash_hits_processes_of_the_chosen_hosts_only(bed: Bed, host: str, other: str):
    # Of a name that no service's process has.
    start = "cp /usr/bin/sleep /tmp/sleeper && exec /tmp/sleeper 4242"
    sleepers = [
        subprocess.Popen(["docker", "exec", bed.machine.full(name), "sh", "-c", start])
        for name in (host, other)
    ]
    while any(bed.run(name, "pgrep", "sleeper", check=False).code for name in (host, other)):
        continue

    killed = bed.crash("sleeper", host)

    assert killed == 1
    assert sleepers[0].wait() == 137
    assert sleepers[1].poll() is None
    assert bed.crash("sleeper", other) == 1
    sleepers[1].wait()
