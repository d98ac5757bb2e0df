"""Logs of the whole cloud, searched from the master: who is asked, what is shown, what is hidden."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import PREFIX

SERVICES: dict[str, dict[str, Any]] = {
    "rsyslog": {
        "provides": ["logs"],
        "options": {"directory": {"type": "string", "default": "", "description": "Folder"}},
        "containers": {"rsyslog": {"image": "rsyslog"}},
    },
    "rsyslog-server": {
        "provides": ["log_server"],
        "containers": {"rsyslog-server": {"image": "rsyslog"}},
    },
}


def write(folder: Path, host: str, container: str, text: str, level: str = "info") -> None:
    """Collect a line that a container has just written."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
    path = folder / host / f"{container}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(f"{now} {host} {container} {level} {text}\n")


@pytest.fixture
def logs(cloud) -> Iterator[dict[str, Path]]:
    """Give the cloud logs: host to its folder. The first host keeps the others', too."""
    folders = {host: cloud.folder / "logs" / host for host in cloud.hosts}
    # It brings the hosts the code to search with.
    deployed = cloud.deploy(services=["alpha"])
    assert deployed.code == 0, deployed.out + deployed.err
    for name, service in SERVICES.items():
        home = cloud.folder / "formulas" / name
        home.mkdir()
        known = {"summary": name, "roles": ["control"], **service}
        (home / "service.yml").write_text(yaml.safe_dump(known))
        (home / "init.sls").write_text("{}\n")
    path = cloud.folder / "pillar/cloud.sls"
    data = yaml.safe_load(path.read_text())
    data["saltern"]["services"] = {"rsyslog-server": {"hosts": ["one"]}}
    for host, place in data["saltern"]["hosts"].items():
        place["options"] = {"rsyslog": {"directory": str(folders[host])}}
    path.write_text(yaml.safe_dump(data))
    for host, folder in folders.items():
        write(folder, host, f"{PREFIX}{host}-rsyslog", f"said on {host} req-1")
    write(folders["one"], "two", f"{PREFIX}two-rsyslog", "sent by two")
    yield folders
    shutil.rmtree(cloud.folder / "logs")
    for name in SERVICES:
        shutil.rmtree(cloud.folder / "formulas" / name)


def texts(cloud, *words: str) -> list[str]:
    """Return the texts that a search finds."""
    done = cloud.run("saltern.logs", "--out=json", *words)
    assert done.code == 0, done.out + done.err
    return [event["text"] for event in json.loads(done.out)["logs"]]


def test_the_host_that_keeps_the_logs_answers_and_a_host_for_itself(cloud, logs):
    assert texts(cloud) == ["said on one req-1", "sent by two"]
    assert texts(cloud, "pattern=req-[0-9]") == ["said on one req-1"]
    assert texts(cloud, "service=rsyslog-server") == []
    assert texts(cloud, "service=rsyslog", "host=one") == ["said on one req-1"]
    assert texts(cloud, "host=two") == ["said on two req-1"]
    with cloud.silent("two"):
        assert texts(cloud, "host=two") == ["sent by two"]


def test_people_see_lines_and_nothing_secret(cloud, logs):
    write(logs["one"], "one", f"{PREFIX}one-rsyslog", f"password {cloud.secret} leaked", "error")
    cloud.forget_jobs()
    shown = cloud.run("saltern.logs", "level=warning")
    assert shown.code == 0, shown.err
    (line,) = shown.out.strip().splitlines()
    assert line.startswith(f"one {PREFIX}one-rsyslog 20")
    assert line.endswith(" password *** leaked")
    assert cloud.secret.encode() not in cloud.job_cache()


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("service=rsyslogd", "did you mean rsyslog"),
        ("host=tow", "did you mean two"),
        ("pattern=req-[", "req-["),
        ("level=warn", "warning"),
        ("since=yesterday", "15m"),
    ],
)
def test_a_wrong_question_is_answered_with_what_is_allowed(cloud, logs, word, told):
    done = cloud.run("saltern.logs", word)
    assert done.code == 1
    assert told in done.out + done.err
    assert "Traceback" not in done.out + done.err


def test_new_lines_are_followed(cloud, logs):
    words = ("saltern.logs", "follow=True")
    with cloud.started(*words, stdout=subprocess.PIPE, text=True) as follower:
        assert {follower.stdout.readline().split(" ", 3)[3] for _ in range(2)} == {
            "said on one req-1\n",
            "sent by two\n",
        }
        write(logs["one"], "two", f"{PREFIX}two-rsyslog", "later")
        assert follower.stdout.readline().endswith(" later\n")
        follower.send_signal(signal.SIGINT)
        out, _ = follower.communicate(timeout=60)
    assert "Traceback" not in out
