"""The history of runs: what is kept, folded, dropped and shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from saltern.errors import Failure, SalternError
from saltern.run import history

NOBODY = [1, 0.0]  # a process that is no more: process 1 did not begin in 1970


def run(number, changes=True, result=history.DONE, **more):
    """Return a run as it is kept."""
    states = {"states": 1 if changes else 0}
    return {
        "id": f"2026112809{number:010}",
        "who": "ann",
        "command": "salt-run state.orchestrate orch.deploy",
        "started": 1_795_000_000.0 + number,
        "seconds": 72.0,
        "result": result,
        "process": NOBODY,
        "phases": [],
        "services": {"glance": {"one": states}},
        "failures": [],
        **more,
    }


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "history"


def begin(folder, number=1, **more):
    """Begin a record."""
    given = {"who": "ann", "command": "salt-run state.orchestrate orch.deploy", **more}
    return history.Record(folder, f"2026112809{number:010}", **given)


STATES = {
    "a": {
        "name": "glance",
        "changes": {"glance-api.conf": "-a\n+b"},
        "generation": {"before": "0a", "after": "0b"},
        "duration": 1200.5,
    },
    "b": {
        "name": "glance-api",
        "changes": {
            "image": {"old": "x:1 (0)", "new": "x:2 (1)"},
            "config": {"old": "0a", "new": "0b"},
        },
        "duration": 400.0,
    },
    "c": {"name": "other", "changes": {}},
}


def test_of_a_hosts_states_the_generations_the_images_and_a_number_are_kept():
    assert history.of_states(STATES) == {
        "states": 2,
        "seconds": 1.6,
        "generation": {"before": "0a", "after": "0b"},
        "images": {"glance-api": {"old": "x:1 (0)", "new": "x:2 (1)"}},
    }


def test_a_run_is_there_from_its_beginning_for_its_owner_alone(folder):
    record = begin(folder)
    (kept,) = history.read(folder)
    assert kept["result"] == history.RUNNING
    assert (folder / f"{kept['id']}.json").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    record.applied("glance", "one", STATES, True)
    record.phase("Apply", True, 1.23, "Changed 1 service.", [])
    record.end(history.DONE)
    (kept,) = history.read(folder)
    assert (kept["result"], kept["services"]["glance"]["one"]["states"]) == ("done", 2)
    assert [path.suffix for path in folder.iterdir()] == [".json"]


def test_each_host_and_each_phase_say_when_they_ended_in_the_order_of_time(folder):
    record = begin(folder)
    record.applied("glance", "one", STATES, True)
    record.applied("keystone", "one", STATES, True)
    record.phase("Apply", True, 0.1, "Changed 2 services.", [])
    record.end(history.DONE)
    (kept,) = history.read(folder)
    hosts = [kept["services"][name]["one"]["ended"] for name in ("glance", "keystone")]
    times = [0, *hosts, kept["phases"][0]["ended"], kept["seconds"]]
    assert times == sorted(times)


def test_a_run_whose_process_is_gone_was_killed(folder):
    script = (
        "import os, signal; from pathlib import Path; from saltern.run import history; "
        f"history.Record(Path({str(folder)!r}), '1', 'ann', 'x'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    path = {**os.environ, "PYTHONPATH": "_utils"}
    subprocess.run([sys.executable, "-c", script], env=path, check=False)
    (kept,) = history.read(folder)
    assert kept["result"] == history.KILLED
    assert "killed" in history.table([kept])
    assert "was killed" in history.text(kept)


def test_two_runs_of_one_id_are_two(folder):
    begin(folder).end(history.DONE)
    begin(folder).phase("Stop", True, 1, "Changed 1 of 1 host.", ["one"])
    assert len(history.read(folder)) == 2


def test_no_secret_is_kept(folder):
    record = begin(folder, hide=lambda text: text.replace("hunter22", "***"))
    record.phase("Apply", False, 1, "wrong: hunter22", [])
    record.end(history.FAILED, [Failure("wrong: hunter22", "one", remedy="not hunter22")])
    (path,) = folder.iterdir()
    assert "hunter22" not in path.read_text()
    assert "***" in path.read_text()


def test_long_texts_and_many_failures_do_not_fill_the_disk(folder):
    record = begin(folder)
    record.end(history.FAILED, [Failure("x" * 10**6, f"host{number}") for number in range(500)])
    (path,) = folder.iterdir()
    assert path.stat().st_size < 200_000
    assert "and 450 more failures" in history.text(json.loads(path.read_text()))


def test_runs_alike_that_change_nothing_are_one(folder):
    for number in range(1, 6):
        begin(folder, number).end(history.DONE)
    begin(folder, 6, who="bob").end(history.DONE)
    kept = history.read(folder)
    assert [(one["who"], one.get("times")) for one in kept] == [("ann", 5), ("bob", None)]
    assert "5 times since" in history.table(kept)
    record = begin(folder, 7)
    record.applied("glance", "one", STATES, True)
    record.end(history.DONE)
    begin(folder, 8).end(history.DONE)
    assert len(history.read(folder)) == 4


def test_runs_that_fail_alike_are_one_and_others_are_not():
    reasons = [{"host": "one", "service": "", "state": "", "reason": "silent", "remedy": ""}]
    last = run(1, changes=False, result=history.FAILED, failures=reasons)
    same = run(2, changes=False, result=history.FAILED, failures=reasons)
    assert history.folded([last], same) == [last["id"]]
    assert same["times"] == 2
    other = run(3, changes=False, result=history.FAILED)
    assert history.folded([last], other) == []
    assert history.folded([run(1, result=history.KILLED)], run(2, changes=False)) == []


def test_what_changed_nothing_never_pushes_out_what_did():
    matter = [run(number) for number in range(30)]
    idle = [run(number, changes=False) for number in range(30, 90)]
    gone = history.superfluous([*matter, *idle, run(90, changes=False)], 40, 1e9)
    left = {one["id"] for one in [*matter, *idle]} - set(gone)
    assert {one["id"] for one in matter[-29:]} <= left
    assert len(left) + 1 == 40


def test_the_oldest_go_when_there_are_too_many_or_they_take_too_much():
    runs = [run(number) for number in range(12)]
    assert history.superfluous(runs, 10, 1e9) == [runs[0]["id"], runs[1]["id"]]
    size = len(json.dumps(runs[0], indent=1))
    assert len(history.superfluous(runs, 100, 3.5 * size)) == 9
    assert history.superfluous(runs[:1], 100, 1) == []


def test_a_run_that_goes_on_is_never_dropped():
    runs = [run(0, result=history.RUNNING), *(run(number) for number in range(1, 12))]
    assert runs[0]["id"] not in history.superfluous(runs, 10, 1)


def test_the_table_says_what_changed_where_and_what_failed():
    failure = {"host": "two", "service": "nova", "state": "Run", "reason": "no\nx", "remedy": ""}
    phases = [{"phase": "Pull", "ok": True, "seconds": 1, "said": "2 images.", "changed": ["one"]}]
    failed = run(2, result=history.FAILED, failures=[failure], phases=phases)
    lines = history.table([run(1, changes=False), failed]).splitlines()
    assert lines[0].split() == ["run", "when", "(UTC)", "who", "took", "result", "command"]
    assert lines[1].endswith("ann  1 min 12 s  nothing to do  orch.deploy")
    assert lines[3:] == ["    glance: one", "    2 images.", "    FAILED two nova: no"]
    assert history.table([]) == "No run yet"


def test_one_run_is_shown_whole():
    services = {"glance": {"one": history.of_states(STATES), "two": {"states": 0, "ok": False}}}
    said = history.text(run(1, services=services))
    for line in (
        "command  salt-run state.orchestrate orch.deploy",
        "  glance on one: 2 states changed in 1.6 s",
        "  glance on one: generation 0a -> 0b",
        "  glance on one: image of glance-api: x:1 (0) -> x:2 (1)",
        "  glance on two: 0 states changed, FAILED",
    ):
        assert line in said.splitlines()


def test_a_run_is_found_by_its_id_and_an_unknown_one_named_with_the_known_ones():
    runs = [run(1), run(2)]
    assert history.one_of(runs, runs[0]["id"]) is runs[0]
    assert history.one_of(runs, "last") is runs[1]
    with pytest.raises(SalternError, match=runs[1]["id"]):
        history.one_of(runs, "20261128")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_file_that_somebody_has_spoilt_is_left_out(folder, text):
    begin(folder).end(history.DONE)
    (folder / "0.json").write_text(text)
    assert len(history.read(folder)) == 1


def test_who_runs_it_is_the_login_behind_sudo_or_what_acts_for_nobody():
    person = {"__cli": "salt-run"}
    assert history.who(person, {"SUDO_USER": "ann"}) == "ann"
    assert history.who(person, {}) != ""
    with history.acting("the reactor"):
        assert history.who({"__cli": "salt-master"}) == "the reactor"
        assert history.who(person, {"SUDO_USER": "ann"}) == "ann"
    assert history.who({"__cli": "salt-master"}) == "the master"
