"""Hosts that wait for a deployment: all together, each once, none forgotten."""

from __future__ import annotations

import pytest

from saltern.errors import SalternError
from saltern.run.starts import Waiting


@pytest.fixture
def waiting(tmp_path):
    return Waiting(tmp_path / "started")


def test_nobody_waits(waiting):
    assert waiting.serve(lambda hosts: pytest.fail("nobody waits")) == []


def test_hosts_that_started_together_are_served_together(waiting):
    for host in ("two", "one", "two"):
        waiting.add(host)
    calls = []
    assert waiting.serve(calls.append) == ["one", "two"]
    assert calls == [["one", "two"]]
    assert waiting.hosts() == []


def test_a_host_that_starts_meanwhile_is_served_by_the_one_at_work(waiting):
    waiting.add("one")
    calls = []

    def deploy(hosts):
        calls.append(hosts)
        if hosts == ["one"]:
            waiting.add("two")
            assert waiting.serve(lambda hosts: pytest.fail("another one is at work")) == []

    assert waiting.serve(deploy) == ["one", "two"]
    assert calls == [["one"], ["two"]]


def test_a_failure_is_not_repeated_for_ever_and_frees_the_turn(waiting):
    def fail(hosts):
        raise SalternError("no")

    waiting.add("one")
    with pytest.raises(SalternError):
        waiting.serve(fail)
    assert waiting.hosts() == []
    waiting.add("two")
    assert waiting.serve(lambda hosts: None) == ["two"]
