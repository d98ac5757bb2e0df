"""Collected logs: what a line means, which lines answer a question, whom to ask."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from saltern.errors import SalternError
from saltern.host import logs
from saltern.host.logs import Event, Query

NOW = datetime(2026, 11, 24, 14, 0, 0, tzinfo=UTC)


def written(time: str, text: str, container: str = "nova-api", level: str = "info") -> str:
    """Return a line as rsyslog writes it."""
    return f"2026-11-24T{time}Z one {container} {level} {text}\n"


def put(folder: Path, name: str, *lines: str, host: str = "one", modified: str = "13:59") -> Path:
    """Write a collected log, last written to at some time of that day."""
    path = folder / host / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(lines))
    time = datetime.fromisoformat(f"2026-11-24T{modified}+00:00").timestamp()
    os.utime(path, (time, time))
    return path


def texts(folder: Path, **query) -> list[str]:
    """Return the texts of an answer."""
    return [event.text for event in logs.search(folder, Query(**query))]


def at(text: str) -> datetime:
    """Return a time of that day."""
    return logs.moment(text, NOW)


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (
            "2026-11-24T13:45:43.91Z aio nova-api error  two  blanks \n",
            Event("2026-11-24T13:45:43.91Z", "aio", "nova-api", "error", " two  blanks "),
        ),
        (
            "2026-11-24T13:45:43Z aio nova-api - \n",
            Event("2026-11-24T13:45:43Z", "aio", "nova-api", "-", ""),
        ),
        ("half a line", None),
        ("a line of five words", None),
    ],
)
def test_a_line_is_an_event_or_none(line, event):
    assert logs.parse(line) == event


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("90s", "13:58:30"),
        ("15m", "13:45:00"),
        ("1h", "13:00:00"),
        ("2026-11-24T12:30", "12:30:00"),
        ("2026-11-24 12:30:15", "12:30:15"),
        ("2026-11-24T13:30+01:00", "12:30:00"),
    ],
)
def test_times_are_spans_or_dates(text, meant):
    assert at(text) == datetime.fromisoformat(f"2026-11-24T{meant}+00:00")


def test_a_wrong_question_says_what_is_allowed():
    for question, told in (
        (lambda: at("yesterday"), "15m"),
        (lambda: Query(pattern="req-["), "req-["),
        (lambda: Query(level="warn"), "warning"),
        (lambda: Query(lines=0), "1 or more"),
    ):
        with pytest.raises(SalternError, match=re.escape(told)):
            question()


def test_the_newest_lines_of_all_hosts_come_in_order(tmp_path):
    put(tmp_path, "nova-api.log", written("13:00:00.5", "b"), written("13:00:00.51", "c"))
    put(tmp_path, "glance-api.log", written("13:00:00.499999999", "a", "glance-api"))
    put(tmp_path, "nova-compute.log", written("13:00:01", "d", "nova-compute"), host="two")
    put(tmp_path, "notes.txt", written("13:00:00", "not a log"))
    assert texts(tmp_path) == ["a", "b", "c", "d"]
    assert texts(tmp_path, lines=2) == ["c", "d"]
    assert texts(tmp_path, hosts=("two",)) == ["d"]
    assert texts(tmp_path, containers=("glance-api", "nova-compute")) == ["a", "d"]


def test_rotated_files_are_read_as_far_as_needed(tmp_path):
    for number in range(3):
        name = f"nova-api.log.{number}" if number else "nova-api.log"
        put(
            tmp_path,
            name,
            written(f"13:0{3 - number}:00", f"first of {number}"),
            written(f"13:0{3 - number}:30", f"last of {number}"),
        )
    put(tmp_path, "nova-api.log.10", written("12:00:00", "oldest"))
    assert texts(tmp_path)[0] == "oldest"
    assert texts(tmp_path, lines=3) == ["last of 1", "first of 0", "last of 0"]


def test_time_level_and_pattern_narrow_the_answer(tmp_path):
    put(
        tmp_path,
        "nova-api.log",
        written("12:00:00", "[req-1 - -] early"),
        written("13:10:00", "[req-2 - -] broke", level="error"),
        written("13:20:00", "[req-2 - -] late", level="-"),
        written("13:30:00", "[req-3 - -] fine"),
        written("13:40:00", "worse", level="critical"),
    )
    assert texts(tmp_path, since=at("1h"), lines=2) == ["[req-3 - -] fine", "worse"]
    assert texts(tmp_path, pattern="req-[12]", since=at("1h")) == [
        "[req-2 - -] broke",
        "[req-2 - -] late",
    ]
    assert texts(tmp_path, level="error") == ["[req-2 - -] broke", "worse"]
    assert texts(tmp_path, until=at("2026-11-24T13:20")) == [
        "[req-1 - -] early",
        "[req-2 - -] broke",
    ]


def test_files_that_are_too_old_are_not_opened(tmp_path):
    put(tmp_path, "nova-api.log", written("13:50:00", "in an old file"), modified="12:00")
    assert texts(tmp_path, since=at("1h")) == []


def test_lines_that_were_handed_over_late_are_found(tmp_path):
    put(
        tmp_path,
        "nova-api.log",
        written("13:30:00", "before"),
        written("12:30:00", "handed over"),
        written("13:40:00", "after"),
    )
    assert texts(tmp_path, since=at("1h")) == ["before", "after"]
    assert texts(tmp_path) == ["handed over", "before", "after"]


def test_a_repeated_line_is_seen_once(tmp_path):
    again = written("13:00:00.123456789", "once")
    put(tmp_path, "nova-api.log", again, written("13:00:01", "then"), again)
    assert texts(tmp_path) == ["once", "then"]


def test_a_line_that_is_being_written_waits_and_a_long_one_is_cut(tmp_path):
    long = "x" * 100_000
    put(
        tmp_path,
        "nova-api.log",
        written("13:00:00", long),
        written("13:00:01", "half").rstrip("\n"),
    )
    (event,) = logs.search(tmp_path, Query())
    assert event.text == "x" * 4000 + "... (96000 more characters)"


def test_bytes_that_are_no_text_do_no_harm(tmp_path):
    path = put(tmp_path, "nova-api.log", written("13:00:00", "torn"))
    path.write_bytes(path.read_bytes().replace(b"torn", b"to\xffrn"))
    assert texts(tmp_path, pattern="to") == ["to\ufffdrn"]


def test_a_service_means_its_containers_and_a_container_itself():
    catalog = {
        "nova": {"containers": {"nova-api": {}, "nova-scheduler": {}}},
        "keystone": {"containers": {"keystone": {}, "keystone-cron": {}}},
        "toolbox": {},
    }
    assert logs.containers("nova", catalog) == ["nova-api", "nova-scheduler"]
    assert logs.containers("nova-api", catalog) == ["nova-api"]
    assert logs.containers("keystone", catalog) == ["keystone", "keystone-cron"]
    with pytest.raises(SalternError, match="nova-api"):
        logs.containers("nova-apii", catalog)


def test_whom_to_ask():
    hosts = ["control1", "control2", "compute1"]
    kept = ["control1", "control2"]
    assert logs.places(None, hosts, hosts, kept) == ["control1", "control2"]
    assert logs.places("compute1", hosts, hosts, kept) == ["compute1", "control1", "control2"]
    assert logs.places("control2", hosts, hosts, kept) == ["control2", "control1"]
    assert logs.places(None, ["aio"], ["aio"], []) == ["aio"]
    assert logs.places("compute1", hosts, hosts, []) == ["compute1"]
    with pytest.raises(SalternError, match="compute1"):
        logs.places("compute", hosts, hosts, kept)
    with pytest.raises(SalternError, match="rsyslog-server"):
        logs.places(None, hosts, hosts, [])
    with pytest.raises(SalternError, match="enable"):
        logs.places(None, hosts, [], [])


def test_people_see_host_and_container_in_front():
    event = {
        "time": "2026-11-24T13:45:43.917470623Z",
        "host": "aio",
        "container": "nova-api",
        "level": "info",
        "text": "hello",
    }
    assert logs.text([event]) == "aio nova-api 2026-11-24T13:45:43.917 hello"
    assert logs.text([]) == "Nothing found"
