"""What is wrong with a host's containers: compared with its revisions, and with who has stopped what."""

from __future__ import annotations

import pytest

from saltern import files
from saltern.containers import deaths, faults, stops
from saltern.containers.actual import Container, Snapshot
from saltern.containers.lock import locked, was_held
from saltern.containers.stops import SALTERN, SOMEBODY, Stop
from saltern.service import generation

SPEC = '{"command": ["memcached"]}'
WANTED = {
    "memcached": {
        "containers": {
            "memcached": {
                "image": "saltern/memcached:1",
                "image_id": "sha256:aaa",
                "config": "c0ffee",
                "spec": {"command": ["memcached"]},
            }
        }
    }
}


def container(**fields) -> Container:
    given = {
        "id": "1",
        "name": "memcached",
        "part": "",
        "full_name": "memcached",
        "service": "memcached",
        "state": "running",
        "status": "Up",
        "health": "healthy",
        "image": "saltern/memcached:1",
        "image_id": "sha256:aaa",
        "created": 0,
        "spec_digest": "",
        "spec_json": SPEC,
        "config": "c0ffee",
        "once": False,
    }
    return Container(**{**given, **fields})


def find(*containers, stopped=None, held=(), written=True, images=("sha256:aaa",)):
    there = {(one.name, one.part): one for one in containers}
    snapshot = Snapshot(there, {one: one for one in images}.get)
    return [
        one.rule
        for one in faults.find(WANTED, snapshot, stopped or {}, held, lambda *names: written)
    ]


def test_a_container_as_it_was_is_no_fault():
    assert find(container()) == []
    assert find(container(health="starting")) == []
    assert find(container(health="")) == []


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"state": "exited", "health": ""}, faults.STOPPED),
        ({"state": "created", "health": ""}, faults.STOPPED),
        ({"state": "dead", "health": ""}, faults.STOPPED),
        ({"state": "restarting"}, faults.UNHEALTHY),
        ({"health": "unhealthy"}, faults.UNHEALTHY),
        ({"state": "paused"}, faults.BY_HAND),
        ({"image_id": "sha256:bbb"}, faults.CHANGED),
        ({"config": "beef"}, faults.CHANGED),
        ({"spec_json": "{}"}, faults.CHANGED),
        ({"service": "mine"}, faults.CHANGED),
    ],
)
def test_what_differs_has_a_rule(fields, rule):
    assert find(container(**fields)) == [rule]


def test_one_that_is_gone_is_missing_unless_its_successor_runs():
    assert find() == [faults.MISSING]
    assert find(container(part="next")) == []
    assert find(container(part="failed")) == [faults.MISSING]


def test_what_somebody_stopped_is_left_alone_but_what_was_removed_is_not():
    by = {"memcached": Stop(SOMEBODY, 5)}
    assert find(container(state="exited"), stopped=by) == [faults.BY_HAND]
    assert find(container(), stopped=by) == []
    assert find(stopped=by) == [faults.MISSING]
    assert find(stopped={"memcached": Stop(SALTERN, 5)}) == [faults.BY_HAND]


def test_what_a_run_is_at_is_not_judged():
    assert find(held={"memcached"}) == []


def test_configuration_and_images_count_and_what_nobody_knows_does_not():
    assert find(container(), written=False) == [faults.CONFIGURATION]
    assert find(container(), written=None) == []
    assert find(container(), images=()) == [faults.IMAGE]


def test_a_fault_has_lasted_before_it_is_one_and_keeps_its_time():
    found = [
        faults.Fault(faults.UNHEALTHY, "a", "a", ""),
        faults.Fault(faults.STOPPED, "b", "b", ""),
    ]
    grace = {faults.UNHEALTHY: 10.0}
    lasting, since = faults.remembered(found, {}, 100, grace)
    assert [one.name for one in lasting] == ["b"]
    lasting, since = faults.remembered(found, since, 111, grace)
    assert [(one.name, one.since) for one in lasting] == [("a", 100), ("b", 100)]
    assert faults.remembered([], since, 112, grace) == ([], {})


def test_what_is_told_of_a_fault_is_bounded():
    assert len(faults.Fault("rule", "a", "a", "x" * 9000).plain()["said"]) == 300


def event(action: str, when: float = 0, **attributes):
    attributes = {"name": "web", **attributes}
    return {
        "Action": action,
        "timeNano": int(when * 1e9),
        "Actor": {"ID": "1", "Attributes": attributes},
    }


@pytest.mark.parametrize(
    ("events", "by_hand"),
    [
        ([event("die", exitCode="137")], False),
        ([event("oom"), event("die", exitCode="137")], False),
        ([event("kill", 1, signal="15"), event("die", 2), event("stop", 3)], True),
        ([event("kill", 1, signal="9"), event("die", 2)], True),
        # A program that ends by itself, or takes long, when asked to read its configuration.
        ([event("kill", 1, signal="1"), event("die", 9)], False),
        # A command that was survived, a start, a crash.
        ([event("kill", 1, signal="15"), event("start", 2), event("die", 3)], False),
        # Its own signal for stopping.
        ([event("kill", 1, signal="28"), event("die", 2), event("stop", 3)], True),
    ],
)
def test_a_kill_before_a_death_is_somebodys_will(events, by_hand):
    seen = deaths.Deaths()
    found = [one for one in map(seen.take, events) if one]
    assert bool(found) == by_hand
    assert all(name == "web" for name, _ in found)


def test_a_burst_of_events_is_one_look_and_endless_ones_do_not_put_it_off():
    one = deaths.Debounce()
    assert not one.due(0)
    one.note(10.0)
    one.note(10.1)
    assert not one.due(10.2)
    assert one.due(10.31)
    assert not one.due(11)
    for tenth in range(11):
        one.note(20 + tenth / 10)
    assert one.due(21.0)


def test_pauses_double_up_to_a_limit():
    assert [deaths.pause(tries, 3, 300) for tries in (0, 1, 2, 3, 8, 500)] == [
        3,
        3,
        6,
        12,
        300,
        300,
    ]


def test_marks_outlive_processes_and_a_spoilt_one_is_none(tmp_path):
    stops.note(tmp_path / "stopped", "web", SOMEBODY, 5)
    stops.note(tmp_path / "stopped", "api", SALTERN, 6)
    (tmp_path / "stopped/broken").write_text("{")
    assert stops.read(tmp_path / "stopped") == {
        "web": Stop(SOMEBODY, 5),
        "api": Stop(SALTERN, 6),
    }
    stops.forget_those(tmp_path / "stopped", lambda name, one: one.by == SOMEBODY)
    assert list(stops.read(tmp_path / "stopped")) == ["api"]
    stops.forget(tmp_path / "stopped", "api")
    stops.forget(tmp_path / "stopped", "api")
    assert stops.read(tmp_path / "stopped") == {}
    assert stops.read(tmp_path / "nothing") == {}


def test_a_lock_says_that_it_is_held_and_until_when_it_was(tmp_path):
    assert not was_held(tmp_path, "web", 0)
    with locked(tmp_path, "web"):
        assert was_held(tmp_path, "web", float("inf"))
    ended = (tmp_path / "web.lock").stat().st_mtime
    assert not was_held(tmp_path, "web", float("inf"))
    assert was_held(tmp_path, "web", ended)
    assert not was_held(tmp_path, "web", ended + 1)


def test_a_generation_is_compared_with_what_was_written(tmp_path):
    folder = tmp_path / "services/web/abc"
    folder.mkdir(parents=True)
    (folder / "web.conf").write_text("a")
    note = generation.note(str(tmp_path), "web")
    assert generation.as_noted(note, folder.parent, "abc") is None
    note.parent.mkdir()
    note.write_text(f"abc {files.digest(folder)}\n")
    assert generation.as_noted(note, folder.parent, "abc") is True
    assert generation.as_noted(note, folder.parent, "other") is False
    before = files.stamp(folder.parent)
    (folder / "web.conf").write_text("bc")
    assert generation.as_noted(note, folder.parent, "abc") is False
    assert files.stamp(folder.parent) != before
    (folder / "web.conf").write_text("a")
    assert generation.as_noted(note, folder.parent, "abc") is True
    (folder / "web.conf").chmod(0o777)
    assert generation.as_noted(note, folder.parent, "abc") is False
    (folder / "web.conf").unlink()
    assert generation.as_noted(note, folder.parent, "abc") is False
    assert files.digest(tmp_path / "none") == ""
