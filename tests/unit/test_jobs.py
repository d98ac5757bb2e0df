"""Jobs on hosts: answers, silence, deadlines and lost jobs, over a made-up event bus and clock."""

from __future__ import annotations

import threading

import pytest

from saltern.errors import SalternError
from saltern.run import code, lock
from saltern.run.jobs import Answer, Jobs, StateDone, interruptible
from saltern.run.lock import Lock


class Bus:
    """A master: knows accepted keys, lets each host answer as the test says, keeps the time."""

    def __init__(self, *hosts: str) -> None:
        self.hosts = hosts
        self.published: list[tuple[str, str, list[str]]] = []
        self.waiting: list[tuple[float, dict]] = []
        self.now = 0.0
        self.event = self

    def pub(self, hosts, fun, arguments, **_):
        jid = str(len(self.published))
        self.published.append((jid, fun, hosts))
        return {"jid": jid, "minions": [host for host in hosts if host in self.hosts]}

    def answer(self, at: float, jid: str, host: str, value, retcode: int = 0, by: str = "") -> None:
        data = {"return": value, "retcode": retcode, "id": by or host}
        self.waiting.append((at, {"tag": f"salt/job/{jid}/ret/{host}", "data": data}))

    def state(self, at: float, jid: str, host: str, state: dict) -> None:
        data = {"id": host, "data": {"ret": state, "len": 3}}
        self.waiting.append((at, {"tag": f"salt/job/{jid}/prog/{host}/0", "data": data}))

    def get_event(self, wait, **_):
        self.waiting.sort(key=lambda one: one[0])
        if self.waiting and self.waiting[0][0] <= self.now + wait:
            at, event = self.waiting.pop(0)
            self.now = max(self.now, at)
            return event
        self.now += wait
        return None

    def time(self) -> float:
        return self.now


def follow(bus, hosts=("a", "b"), **options):
    jobs = Jobs(bus, silence=10, clock=bus.time)
    jobs.start("test.it", list(hosts), **options)
    return list(jobs.events())


def test_it_ends_when_the_last_host_has_answered():
    bus = Bus("a", "b")
    bus.answer(1, "0", "b", "B")
    bus.answer(3, "0", "a", "A", retcode=1)
    found = follow(bus)
    assert [(one.host, one.ok, one.value, one.seconds) for one in found] == [
        ("b", True, "B", 1),
        ("a", False, "A", 3),
    ]


def test_states_are_told_as_they_finish():
    bus = Bus("a")
    bus.state(1, "0", "a", {"__id__": "First"})
    bus.answer(2, "0", "a", {})
    first, last = follow(bus, ["a"])
    assert isinstance(first, StateDone)
    assert first.state == {"__id__": "First"}
    assert isinstance(last, Answer)


def test_an_answer_counts_only_from_the_host_itself():
    bus = Bus("a", "b")
    bus.answer(1, "0", "a", "forged", by="b")
    bus.answer(2, "0", "a", "true")
    bus.answer(3, "0", "b", "true")
    assert [one.value for one in follow(bus)] == ["true", "true"]


def test_a_host_without_an_accepted_key_fails_at_once():
    bus = Bus("a")
    bus.answer(1, "0", "a", "A")
    found = {one.host: one for one in follow(bus)}
    assert found["a"].ok
    assert "key of b is not accepted" in found["b"].reason


def test_a_silent_host_is_asked_once_and_then_given_up():
    bus = Bus("a", "b")
    bus.answer(1, "0", "a", "A")
    silent = follow(bus)[-1]
    assert (silent.host, silent.ok) == ("b", False)
    assert "does not answer" in silent.reason
    assert bus.published[1:] == [("1", "saltutil.find_job", ["b"])]


def test_a_host_that_still_works_is_waited_for():
    bus = Bus("a")
    for probe, at in (("1", 12), ("2", 24)):
        bus.answer(at, probe, "a", {"jid": "0"})
    bus.answer(30, "0", "a", "late")
    (answer,) = follow(bus, ["a"])
    assert (answer.ok, answer.value) == (True, "late")


def test_a_host_that_has_lost_the_job_is_a_failure():
    bus = Bus("a")
    for probe, at in (("1", 12), ("2", 13)):
        bus.answer(at, probe, "a", {})
    (answer,) = follow(bus, ["a"])
    assert "no longer works on job 0" in answer.reason


def test_a_job_has_a_deadline():
    bus = Bus("a")
    for probe in range(1, 9):
        bus.answer(12 * probe, str(probe), "a", {"jid": "0"})
    (answer,) = follow(bus, ["a"], deadline=50)
    assert "not finished within 50 s" in answer.reason


def test_the_lock_is_held_by_one_and_names_its_holder(tmp_path):
    held = Lock(tmp_path / "lock", {"command": "salt-run x", "user": "root", "since": "noon"})
    with pytest.raises(SalternError, match=r"salt-run x \(pid \d+, user root, since noon\)"):
        Lock(tmp_path / "lock", {"command": "salt-run y"})
    held.release()
    held.release()
    Lock(tmp_path / "lock", {"command": "salt-run y"}).release()


def test_people_wait_for_remediation_and_it_waits_for_nobody(tmp_path):
    opts = {"saltern": {"var": str(tmp_path)}, "user": "root"}
    held = lock.take(opts, "salt-run x", who=lock.REMEDIATION)
    with pytest.raises(lock.HeldError):
        lock.take(opts, "salt-run y", who=lock.REMEDIATION)
    threading.Timer(0.5, held.release).start()
    mine = lock.take(opts, "salt-run y", who="ann")
    with pytest.raises(lock.HeldError, match="salt-run y"):
        lock.take(opts, "salt-run x", who=lock.REMEDIATION)
    mine.release()


def test_the_same_code_has_the_same_digest_on_master_and_minion(tmp_path):
    for folder in (
        "over/_modules",
        "salt/_modules/sub",
        "salt/_utils",
        "ext/modules/sub",
        "ext/utils",
    ):
        (tmp_path / folder).mkdir(parents=True)
    for served, synced, text in (
        ("over/_modules/a.py", "ext/modules/a.py", "overridden"),
        ("salt/_modules/sub/b.py", "ext/modules/sub/b.py", "b"),
        ("salt/_utils/c.py", "ext/utils/c.py", "c"),
    ):
        (tmp_path / served).write_text(text)
        (tmp_path / synced).write_text(text)
    (tmp_path / "salt/_modules/a.py").write_text("hidden by the override")
    (tmp_path / "salt/_utils/data.yml").write_text("not brought to minions")
    wanted = code.digest(code.served([str(tmp_path / "over"), str(tmp_path / "salt")]))
    assert code.digest(code.synced(str(tmp_path / "ext"))) == wanted
    (tmp_path / "ext/modules/a.py").write_text("old")
    assert code.digest(code.synced(str(tmp_path / "ext"))) != wanted


def test_an_interrupt_inside_salts_client_is_an_interrupt():
    with pytest.raises(SystemExit), interruptible():
        raise RuntimeError("Event loop stopped before Future completed.")
    with pytest.raises(RuntimeError, match="other"), interruptible():
        raise RuntimeError("other")
