"""orch.bootstrap_servers: bare hosts become the cloud's, and only the right ones."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.bed import Bed

KEYS = "/etc/saltern/salt/pki/master"
KNOWN = "/root/.ssh/known_hosts"


@pytest.fixture(scope="module")
def bare() -> Iterator[Bed]:
    """Return a bed of one host that has nothing, not even Python."""
    bed = Bed(Path(__file__).with_name("bare.yml"))
    bed.down()
    bed.up(bootstrap=False, images=False, show=lambda line: None)
    yield bed
    bed.down()


@contextlib.contextmanager
def replaced(bed: Bed, path: str, text: str) -> Iterator[None]:
    """Give a file of the master another text for a while."""
    before = bed.run("master", "cat", path).out
    bed.machine.put("master", {path: text})
    try:
        yield
    finally:
        bed.machine.put("master", {path: before})


def last_block(said: str) -> str:
    """Return what stands last on the screen, from the word FAILED on."""
    return said[said.rindex("\nFAILED") :]


def test_a_bare_host_becomes_one_of_the_clouds(bare: Bed):
    assert bare.run("bare1", "sh", "-c", "command -v python3 dockerd", check=False).out == ""

    bare.orch("bootstrap_servers")

    assert bare.answers("bare1", "test.ping") is True
    daemon = json.loads(bare.run("bare1", "cat", "/etc/docker/daemon.json").out)
    assert daemon["live-restore"] is True
    assert daemon["insecure-registries"] == [bare.registry]
    bare.run("bare1", "docker", "info")
    assert bare.run("bare1", "cat", "/proc/sys/net/ipv4/ip_nonlocal_bind").out.strip() == "1"
    assert bare.run("bare1", "getent", "hosts", "bare1").out.split()[0] == "10.213.1.11"
    bare.run("bare1", "test", "-e", "/lib/systemd/systemd-timesyncd")
    # It can do the cloud's work at once.
    assert bare.answers("bare1", "container.list") == {}


def test_a_second_time_changes_nothing(bed: Bed):
    bed.orch("bootstrap_servers")

    again = bed.orch("bootstrap_servers")

    assert "Nothing to change." in again.err
    assert f"{len(bed.hosts)} hosts ready, 0 new." in again.err


def test_the_minion_is_hardened_as_set_ups(bed: Bed):
    host = next(iter(bed.hosts))

    finger = bed.run("master", "sh", "-c", f"sed '1d;$d' {KEYS}/master.pub | sha256sum").out[:64]
    assert bed.answers(host, "config.option", "master_finger").replace(":", "") == finger
    assert bed.answers(host, "config.option", "minion_sign_messages") is True
    assert bed.answers(host, "config.option", "encryption_algorithm") == "OAEP-SHA224"
    assert bed.run(host, "stat", "-c", "%a", "/etc/saltern/salt/minion").out.strip() == "640"


def test_no_secret_and_no_pillar_is_left_on_a_host(bed: Bed):
    host = next(iter(bed.hosts))
    secrets = bed.run("master", "cat", "/etc/saltern/secrets.yml").out
    longest = max(secrets.split(), key=len)[:40]

    found = bed.run(host, "grep", "-rlF", longest, "/var/tmp", "/tmp", "/root", check=False)

    assert found.out == ""


def test_a_key_that_is_not_the_hosts_own_is_refused(bed: Bed):
    host = list(bed.hosts)[-1]
    own = bed.run("master", "cat", f"{KEYS}/minions/{host}").out
    foreign = bed.run("master", "cat", f"{KEYS}/master.pub").out
    bed.salt("salt-key", "--yes", "--delete", host)
    bed.machine.put("master", {f"{KEYS}/minions_pre/{host}": foreign})

    refused = bed.orch("bootstrap_servers", hosts=[host], check=False)

    assert refused.code != 0
    assert f"the key of another minion '{host}'" in last_block(refused.err)
    bed.salt("salt-key", "--yes", "--delete", host)
    accepted = bed.orch("bootstrap_servers", hosts=[host])
    assert "1 host ready, 1 new." in accepted.err
    assert bed.run("master", "cat", f"{KEYS}/minions/{host}").out.strip() == own.strip()


def test_hosts_that_cannot_be_reached_are_named_each_with_its_reason(bed: Bed):
    down, stranger, *_ = list(bed.hosts)[::-1]
    known = bed.run("master", "cat", KNOWN).out
    others = [line for line in known.splitlines(True) if bed.hosts[stranger]["address"] not in line]
    bed.kill(down)
    try:
        with replaced(bed, KNOWN, "".join(others)):
            failed = bed.orch("bootstrap_servers", check=False)
    finally:
        bed.start(down)

    block = last_block(failed.err)
    assert failed.code != 0
    assert "Reach the hosts by SSH" in block
    assert block.count("  host ") == 2
    assert f"host    {down}" in block
    assert f"host    {stranger}" in block
    assert "its SSH host key is not in known_hosts" in block


def test_only_hosts_with_ssh_in_the_pillar_are_prepared(bed: Bed):
    first, *others = bed.hosts

    with bed.pillar({"saltern": {"hosts": {name: {"ssh": None} for name in others}}}):
        done = bed.orch("bootstrap_servers")

    assert "1 host reached by SSH." in done.err
    assert f"{first}: done" in done.err
