"""Collected logs: every line arrives once, also when rsyslog, a receiver or a kill is in the way."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from saltern.host import logs
from saltern.host.logs import Event, Query

from .services import HOST, Deployment, until

SERVER = "127.0.9.4"
PORT = 25140


class Logs(Deployment):
    """The collector, and containers that have something to say.

    :ivar folder: Where the logs of all hosts arrive.
    """

    def __init__(self, folder: Path, loaded: Any, call: Callable[..., Any], image: str) -> None:
        super().__init__("rsyslog", loaded, call, "rsyslog-server")
        self.folder = folder
        self._image = image
        self._states = loaded.states

    def deploy(self, options: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """Deploy the collector."""
        result = super().deploy({"directory": str(self.folder), **(options or {})}, **more)
        assert result["result"] is True, result["comment"]
        return result

    def say(self, name: str, script: str, **spec: Any) -> None:
        """Run a container that runs a script and then stays."""
        result = self._states["container.running"](
            name=name,
            service="talk",
            image=self._image,
            command=["sh", "-c", f"{script}\nexec sleep 3600"],
            stop_timeout=0,
            **spec,
        )
        assert result["result"] is True, result["comment"]

    def name(self, name: str) -> str:
        """Return a container's full name."""
        return self.container.removesuffix("rsyslog") + name

    def file(self, name: str, host: str = "one") -> Path:
        """Return a container's collected log."""
        return self.folder / host / f"{self.name(name)}.log"

    def written(self, name: str, host: str = "one") -> list[Event]:
        """Return what was collected of a container, as it stands in the files."""
        newest = self.file(name, host)
        files = [*sorted(newest.parent.glob(f"{newest.name}.*"), reverse=True), newest]
        lines = [line for file in files for line in file.read_text().split("\n")[:-1]]
        events = [logs.parse(line) for line in lines]
        assert None not in events
        return events

    def texts(self, name: str) -> list[str]:
        """Return the collected lines of a container."""
        return [event.text for event in self.written(name)]


@pytest.fixture
def collector(tmp_path: Path, salt_loaded: Any, call: Any, image: str) -> Logs:
    """Return the collector, not deployed yet."""
    return Logs(tmp_path / "logs", salt_loaded, call, image)


def count(first: int, last: int) -> str:
    """Return a script that writes numbered lines, a few hundred bytes each."""
    line = f'echo "line $i {"x" * 200}"'
    return f"i={first}; while [ $i -le {last} ]; do {line}; i=$((i+1)); done"


def numbers(events: list[Event]) -> list[int]:
    """Return the numbers of such lines."""
    return [int(event.text.split()[1]) for event in events]


def test_lines_arrive_with_their_container_level_and_mode(collector: Logs) -> None:
    collector.deploy()
    said = [
        "2026-11-24 13:40:01.123 7 WARNING nova.compute [req-1 - -] low on disk",
        "Traceback (most recent call last):",
        '  File "nova/compute.py", line 3, in <module>',
        "ValueError: it broke",
        '{"json": "breaks \\\\ here", "and": ["\\"", "%msg%", "\\\\n"]}',
        "2026-11-24 13:40:01 0 [Note] mariadbd: ready",
        "",
        "é 日本",
    ]
    script = "\n".join(f"cat <<'END'\n{line}\nEND" for line in said)
    raw = "printf 'red \\033[31m back\\r and zero \\000 and torn \\377 utf-8\\n'"
    collector.say("talker", f"{script}\n{raw}")
    events = until(
        lambda: len(found := collector.written("talker")) == len(said) + 1 and found, "all lines"
    )
    assert [event.text for event in events[:-1]] == said
    assert events[-1].text == "red #027[31m back#013 and zero ␀ and torn \ufffd utf-8"
    assert {(event.host, event.container) for event in events} == {
        ("one", collector.name("talker"))
    }
    assert [event.level for event in events if event.level != "-"] == ["warning", "notice"]
    file = collector.file("talker")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert file.stat().st_uid == 0
    assert stat.S_IMODE(collector.folder.stat().st_mode) == 0o770
    found = logs.search(collector.folder, Query(pattern="req-1"))
    assert [event.text for event in found] == said[:1]


def test_containers_of_others_are_left_out(collector: Logs, image: str) -> None:
    name = collector.name("stranger")
    collector.api.create_container(
        image,
        ["echo", "none of your business"],
        name=name,
        host_config=collector.api.create_host_config(network_mode="none"),
    )
    collector.api.start(name)
    collector.api.wait(name)
    collector.deploy()
    collector.say("talker", "echo hello")
    until(lambda: collector.texts("talker") == ["hello"], "the talker's line")
    ours = {f"{collector.name(one)}.log" for one in ("rsyslog", "talker")}
    assert {path.name for path in (collector.folder / "one").iterdir()} <= ours


def test_a_stop_loses_nothing_and_repeats_nothing(collector: Logs) -> None:
    """Docker rotates meanwhile: what was not read is in a file that nobody follows."""
    collector.deploy()
    small = {"driver": "json-file", "max-size": "200k", "max-file": "10"}
    script = f"{count(1, 500)}; while [ ! -e /tmp/go ]; do sleep 0.1; done; {count(501, 4000)}"
    collector.say("counter", script, tmpfs=["/tmp"], log_options=small)
    until(lambda: len(collector.written("counter")) == 500, "the first lines")
    collector.api.stop(collector.container)
    _touch(collector, "counter", "/tmp/go")
    until(
        lambda: b"line 4000 " in collector.api.logs(collector.name("counter"), tail=1), "the last"
    )
    collector.api.start(collector.container)
    until(lambda: 4000 in numbers(collector.written("counter")), "the last line")
    until(lambda: len(collector.written("counter")) >= 4000, "all lines")
    assert sorted(numbers(collector.written("counter"))) == list(range(1, 4001))
    collector.api.restart(collector.container, timeout=60)
    collector.say("another", "echo up")
    until(lambda: collector.texts("another") == ["up"], "the collector is back")
    assert len(collector.written("counter")) == 4000


def test_a_kill_loses_nothing_and_is_seen_once(collector: Logs) -> None:
    collector.deploy()
    line = f'i=$((i+1)); echo "line $i {"x" * 200}"'
    script = f"i=0; while [ ! -e /tmp/stop ]; do {line}; [ $((i % 50)) = 0 ] && sleep 0.1; done"
    collector.say("counter", f"{script}; echo line $((i+1)) is the last", tmpfs=["/tmp"])
    for _ in range(3):
        seen = collector.file("counter").stat().st_size if collector.file("counter").exists() else 0
        until(lambda seen=seen: collector.file("counter").stat().st_size > seen, "more lines")
        collector.kill("rsyslogd")
    _touch(collector, "counter", "/tmp/stop")
    until(lambda: "is the last" in collector.texts("counter")[-1], "the last line")
    last = numbers(collector.written("counter"))[-1]
    query = Query(containers=(collector.name("counter"),), lines=10 * last)
    assert numbers(logs.search(collector.folder, query)) == list(range(1, last + 1))


def test_a_kill_loses_nothing_of_what_waits_to_be_read(collector: Logs) -> None:
    collector.say("counter", f"{count(1, 20000)}; echo line 20001 is the last")
    until(
        lambda: b"is the last" in collector.api.logs(collector.name("counter"), tail=1), "all lines"
    )
    collector.deploy()
    for _ in range(4):
        seen = collector.file("counter").stat().st_size if collector.file("counter").exists() else 0
        until(lambda seen=seen: collector.file("counter").stat().st_size > seen, "more lines")
        collector.kill("rsyslogd")
    until(lambda: "is the last" in collector.texts("counter")[-1], "the last line")
    query = Query(containers=(collector.name("counter"),), lines=200000)
    assert numbers(logs.search(collector.folder, query)) == list(range(1, 20002))


def test_a_position_lost_with_the_power_stops_nothing(collector: Logs) -> None:
    collector.deploy()
    _touch(collector, "rsyslog", "/var/spool/collector/imfile-state:1:2")
    collector.api.restart(collector.container, timeout=60)
    collector.say("talker", "echo hello")
    until(lambda: collector.texts("talker") == ["hello"], "the talker's line")


def test_logs_are_rotated_by_size_and_stay_whole(collector: Logs) -> None:
    collector.deploy({"rotate_mb": 1, "rotate_keep": 2})
    collector.say("counter", count(1, 8000))
    collector.say("other", count(1, 3000))
    for name, last in (("counter", 8000), ("other", 3000)):
        until(lambda name=name, last=last: last in numbers(collector.written(name)), "all lines")
    files = sorted(collector.file("counter").parent.glob(f"{collector.name('counter')}.log*"))
    assert [file.name.partition(".log")[2] for file in files] == ["", ".1", ".2"]
    for file in files[1:]:
        assert 1 << 20 <= file.stat().st_size < (1 << 20) + 1000
        assert stat.S_IMODE(file.stat().st_mode) == 0o640
    kept = numbers(collector.written("counter"))
    assert kept == list(range(kept[0], 8001))
    assert numbers(collector.written("other")) == list(range(1, 3001))


def test_another_host_keeps_the_logs_too_also_after_it_was_away(
    collector: Logs, tmp_path: Path, salt_loaded: Any, call: Any
) -> None:
    hosts = {
        "one": {"address": HOST, "roles": ["compute"]},
        "two": {"address": SERVER, "roles": ["control"]},
    }
    server = Deployment("rsyslog-server", salt_loaded, call, "rsyslog")
    server.host, server.hosts = "two", hosts
    kept = tmp_path / "kept"
    kept.mkdir()
    os.chown(kept, 0, 42597)
    kept.chmod(0o770)
    place = {"rsyslog": {"directory": str(kept), "rotate_mb": 1, "rotate_keep": 9}}
    result = server.deploy(others=place)
    assert result["result"] is True, result["comment"]

    collector.hosts = hosts
    collector.deploy()
    collector.say(
        "counter",
        f"{count(1, 2000)}; while [ ! -e /tmp/go ]; do sleep 0.1; done; {count(2001, 5000)}",
        tmpfs=["/tmp"],
    )
    copy = kept / "one" / f"{collector.name('counter')}.log"
    until(lambda: len(copy.read_text().splitlines()) == 2000, "the first lines arrive")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o640
    assert copy.stat().st_uid == 42597
    assert copy.read_text() == collector.file("counter").read_text()

    server.api.stop(server.container)
    _touch(collector, "counter", "/tmp/go")
    until(lambda: len(collector.written("counter")) == 5000, "all lines are here")
    server.api.start(server.container)
    query = Query(containers=(collector.name("counter"),), lines=100_000)
    until(lambda: len(logs.search(kept, query)) == 5000, "all lines are there", 300)
    assert logs.search(kept, query) == logs.search(collector.folder, query)

    server.api.stop(server.container)
    collector.say("other", count(1, 3000))
    until(lambda: len(collector.written("other")) == 3000, "all lines are here")
    collector.api.restart(collector.container, timeout=60)
    server.api.start(server.container)
    query = Query(containers=(collector.name("other"),), lines=100_000)
    # What was under way when both were stopped is on the host alone.
    until(lambda: len(logs.search(kept, query)) >= 2999, "all lines are there", 300)
    assert set(logs.search(kept, query)) <= set(logs.search(collector.folder, query))
    assert {path.name for path in kept.iterdir()} == {"one"}


def test_a_receiver_of_the_operator_gets_everything(collector: Logs) -> None:
    with (
        socket.create_server((HOST, PORT)) as as_json,
        socket.create_server((HOST, PORT + 1)) as as_syslog,
    ):
        collector.deploy(
            {
                "forward": [
                    {"host": HOST, "port": PORT, "format": "json"},
                    {"host": HOST, "port": PORT + 1},
                ]
            }
        )
        collector.say("talker", "echo '2026-11-24 13:40:01.123 7 ERROR nova it \"broke\"'")
        needle = collector.name("talker").encode()
        event = json.loads(_received(as_json, needle))
        line = _received(as_syslog, needle).decode()
    assert event["message"] == '2026-11-24 13:40:01.123 7 ERROR nova it "broke"'
    assert (event["host"], event["service"], event["level"]) == ("one", "talk", "error")
    header, _, text = line.partition(" - - - ")
    assert text == event["message"]
    priority, time, *names = header.split(" ")
    assert priority == "<131>1"
    assert names == ["one", collector.name("talker")]
    assert event["time"].startswith(time.removesuffix("Z"))


def test_a_receiver_that_is_away_for_good_stops_nothing(collector: Logs) -> None:
    collector.deploy({"queue_mb": 1, "forward": [{"host": HOST, "port": PORT}]})
    # More than both queues take, in memory and on the disk; less than Docker keeps in one file, which it would rotate
    # away within a second, before a collector that has much else to read comes to it.
    collector.say("counter", count(1, 20000))
    until(lambda: len(collector.written("counter")) == 20000, "all lines are here")


def _touch(collector: Logs, name: str, path: str) -> None:
    made = collector.api.exec_create(collector.name(name), ["sh", "-c", f"echo >{path}"])
    collector.api.exec_start(made["Id"])


def _received(listener: socket.socket, needle: bytes) -> bytes:
    """Return the first line with a needle that somebody sends."""
    listener.settimeout(60)
    connection, _ = listener.accept()
    connection.settimeout(60)
    with connection, connection.makefile("rb") as stream:
        return next(line for line in stream if needle in line).rstrip(b"\n")
