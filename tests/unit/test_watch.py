"""The watch of a host: what it says is small and rises, is said until it is gone, and outlives its process."""

from __future__ import annotations

import json

import pytest

from saltern.containers import stops
from saltern.containers.faults import Fault
from saltern.host import watch

STOPPED = Fault("container_stopped", "web", "web", "Exited")


class Eyes:
    """What a watch looks with, without Docker."""

    def __init__(self):
        self.found = []

    def look(self, engine):
        return self.found, False

    def first(self, engine):
        pass

    def stamps(self):
        return ()


@pytest.fixture
def eyes(monkeypatch):
    monkeypatch.setattr(watch, "Engine", lambda: None)
    monkeypatch.setattr(watch, "dockerd", lambda: "1 2")
    return Eyes()


def begin(eyes, path):
    said = []
    one = watch.Watch(eyes, path, lambda serial, when, found: said.append((serial, list(found))))
    return one, said


def test_a_fault_is_said_again_until_it_is_gone_and_then_that_it_is_gone(
    eyes, tmp_path, monkeypatch
):
    now = [1000.0]
    monkeypatch.setattr(watch.time, "monotonic", lambda: now[0])
    one, said = begin(eyes, watch.file(tmp_path))
    one._turn()
    assert said == []
    eyes.found = [STOPPED]
    for _ in range(80):
        now[0] += 1
        one._turn()
    assert [bool(found) for _, found in said] == [True] * 5  # after 30 s; then 3, 6, 12, 24 s later
    eyes.found = []
    for _ in range(80):
        now[0] += 1
        one._turn()
    assert [bool(found) for _, found in said] == [True] * 5 + [False]
    serials = [serial for serial, _ in said]
    assert serials == sorted(set(serials))


def test_its_serial_outlives_it_and_rises_where_its_file_is_lost(eyes, tmp_path):
    path = watch.file(tmp_path)
    eyes.found = [STOPPED]
    one, said = begin(eyes, path)
    one._turn()
    kept = json.loads(path.read_text())
    assert kept["serial"] == said[0][0] and list(kept["since"]) == [STOPPED.key]
    path.write_text(json.dumps({**kept, "serial": kept["serial"] + 10**9}))
    again, later = begin(eyes, path)
    again._turn()
    assert later[0][0] > kept["serial"] + 10**9
    assert later[0][1][0].since == said[0][1][0].since
    path.write_text("spoilt")
    lost, last = begin(eyes, path)
    lost._turn()
    assert last[0][0] >= said[0][0]
    assert watch.age(tmp_path) < 60
    assert watch.age(tmp_path / "none") is None


def test_what_a_daemon_that_went_down_stopped_was_nobodys_will(eyes, tmp_path, monkeypatch):
    eyes.stopped = tmp_path / "stopped"
    one, _ = begin(eyes, watch.file(tmp_path))
    one._turn()
    looked = json.loads(watch.file(tmp_path).read_text())["looked"]
    stops.note(eyes.stopped, "long-before", stops.SOMEBODY, looked - 1000)
    stops.note(eyes.stopped, "just-before", stops.SOMEBODY, looked - 5)
    stops.note(eyes.stopped, "while-down", stops.SOMEBODY, looked + 5)
    stops.note(eyes.stopped, "by-a-command", stops.SALTERN, looked - 5)
    again, _ = begin(eyes, watch.file(tmp_path))
    again._turn()
    assert len(stops.read(eyes.stopped)) == 4
    monkeypatch.setattr(watch, "dockerd", lambda: "")
    again._look()
    assert len(stops.read(eyes.stopped)) == 4
    monkeypatch.setattr(watch, "dockerd", lambda: "3 4")
    again._look()
    assert sorted(stops.read(eyes.stopped)) == ["by-a-command", "long-before"]


def test_what_goes_wrong_does_not_end_it(eyes, tmp_path, monkeypatch):
    turns = []

    def broken(engine):
        turns.append(1)
        raise RuntimeError("a bug")

    eyes.look = broken
    monkeypatch.setattr(watch.Watch, "_follow", lambda self, ended: None)
    monkeypatch.setattr(watch, "_SOON", 0.0)
    monkeypatch.setattr(watch._log, "disabled", True)
    one, said = begin(eyes, watch.file(tmp_path))
    one.run(lambda: len(turns) > 2)
    assert said == []


def test_a_message_is_bounded():
    text = watch.message("one", 1, 2.0, [Fault("r", "s", str(n), "x" * 5000) for n in range(900)])
    assert len(text) < 25_000
    assert len(json.loads(text)["faults"]) == 50
