"""What dies, is removed or edited is mended by the master, once, within its limits; what somebody stopped is left."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import itertools
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import psutil
import pytest
from salt.crypt import PrivateKey

from .conftest import HOSTS, PREFIX, Cloud, running, until
from .test_health import api, namespace  # noqa: F401 (fixtures)

pytestmark = pytest.mark.docker
# Other tests may keep the machine busy.
PATIENCE = 300
CROWD = [f"page-{number}" for number in range(1, 4)]
ALL = ["page", *CROWD]


@pytest.fixture(scope="module")
def daemons() -> Iterator[tuple[Path, dict[str, subprocess.Popen]]]:
    """A master and minions of this module alone: with remediation."""
    with running(engines=True) as found:
        yield found


class Page:
    """The service `page`: containers with configuration that Docker does not start again by itself."""

    def __init__(self, cloud: Cloud, api: docker.APIClient, namespace: str) -> None:  # noqa: F811
        self.cloud, self.api, self.namespace = cloud, api, namespace

    def set_pillar(self, **remediation: Any) -> None:
        settings = {
            "services": {"page": {"enabled": True}},
            "images": {"namespace": self.namespace},
            "remediation": remediation,
        }
        self.cloud.set_pillar(settings=settings)

    def deploy(self) -> None:
        done = self.cloud.deploy(services=["page"])
        assert done.code == 0, done.err

    def name(self, host: str, container: str = "page") -> str:
        return f"{PREFIX}{host}-{container}"

    def inspect(self, host: str, container: str = "page") -> dict[str, Any]:
        try:
            return self.api.inspect_container(self.name(host, container))
        except docker.errors.NotFound:
            return {"Id": "", "State": {"Running": False}}

    def healthy(self, host: str, container: str = "page") -> bool:
        return self.inspect(host, container)["State"].get("Health", {}).get("Status") == "healthy"

    def kill(self, host: str, container: str = "page") -> None:
        """End a container's process as a crash does, and see Docker notice it."""
        before = self.inspect(host, container)["State"]
        os.kill(before["Pid"], signal.SIGKILL)
        until(lambda: self.inspect(host, container)["State"]["Pid"] != before["Pid"])

    def generation(self, host: str) -> Path:
        (found,) = (self.cloud.folder / "minions" / host / "etc/services/page").glob("[!.]*")
        return found

    def incidents(self, *words: str) -> list[dict[str, Any]]:
        """Return the incidents of containers; a watch that has just begun is another matter."""
        done = self.cloud.run("saltern.incidents", *words, "--out=json")
        assert done.code == 0 and done.out, done.out + done.err
        found = json.loads(done.out)["incidents"]
        return [one for one in found if one["service"]]

    def of(self, host: str, rule: str) -> list[dict[str, Any]]:
        return [one for one in self.incidents(f"host={host}") if one["rule"] == rule]

    def over(self, host: str, rule: str, number: int = 1) -> list[dict[str, Any]]:
        """Wait until so many incidents of a rule are over, and return them."""
        found: list[dict[str, Any]] = []

        def ended() -> bool:
            found[:] = self.of(host, rule)
            return len(found) >= number and all(one["ended"] for one in found)

        until(ended, PATIENCE)
        return found

    def quiet(self) -> None:
        """Wait until every host has been asked and nothing is open or waits."""
        until(lambda: not self.incidents("open=True"), PATIENCE)

    @contextlib.contextmanager
    def db(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(self.cloud.folder / "var/remediation.db")) as db:
            yield db

    def engine(self, of: str) -> psutil.Process:
        """Return the process of an engine: of the master, or of a minion."""
        top = psutil.Process(self.cloud.processes[of].pid)
        (found,) = (
            one
            for one in top.children(recursive=True)
            if " ".join(one.cmdline())
            .rstrip()
            .endswith(("Engine", "saltern_watch)", "saltern_remediation)"))
        )
        return found


@pytest.fixture(scope="module")
def deployed(daemons, api, namespace) -> Iterator[Page]:  # noqa: F811
    """The containers, on all hosts; at the end they are destroyed, and nothing of them is left or comes back."""
    page = Page(Cloud(*daemons), api, namespace)
    page.set_pillar()
    page.deploy()
    yield page
    page.set_pillar()
    destroyed = page.cloud.run(
        "state.orchestrate", "orch.destroy", services=["page"], confirm="yes", wait=120
    )
    assert destroyed.code == 0, destroyed.err
    for host in HOSTS:
        var = page.cloud.folder / "minions" / host / "var"
        kept = [
            one
            for kind in ("stopped", "revisions", "generations")
            for one in (var / kind).glob("*")
        ]
        assert kept == []
    assert api.containers(all=True, filters={"name": f"^/{PREFIX}[a-z]+-page"}) == []


@pytest.fixture
def page(deployed: Page) -> Page:
    """All containers up, nothing in maintenance, the first pillar and an empty journal."""
    shutil.rmtree(deployed.cloud.folder / "var/maintenance", ignore_errors=True)
    deployed.set_pillar()
    until(lambda: all(deployed.healthy(host, name) for host in HOSTS for name in ALL), PATIENCE)
    deployed.quiet()
    with deployed.db() as db:
        db.execute("DELETE FROM incidents")
        db.commit()
    return deployed


def test_what_crashes_is_started_again_and_the_journal_says_so(page: Page):
    before = page.inspect("one")["Id"]
    page.kill("one")
    until(lambda: page.healthy("one"), PATIENCE)
    (one,) = page.over("one", "container_stopped")
    assert (one["service"], one["name"], one["done"], one["tries"]) == (
        "page",
        "page",
        "started",
        1,
    )
    assert one["began"] <= one["seen"] <= one["decided"] <= one["acted"] <= one["ended"]
    assert page.inspect("one")["Id"] == before
    shown = page.cloud.run("saltern.incidents", "host=one").out
    assert "container_stopped" in shown and "done: started" in shown
    assert oct((page.cloud.folder / "var/remediation.db").stat().st_mode)[-3:] == "600"


def test_what_fails_its_health_check_is_restarted(page: Page):
    page.api.exec_start(page.api.exec_create(page.name("three"), ["rm", "/tmp/up"]))
    until(lambda: not page.healthy("three"), PATIENCE)
    (one,) = page.over("three", "container_unhealthy")
    assert one["done"] == "restarted"
    assert page.healthy("three")


def test_what_was_removed_is_deployed_again_on_that_host_alone(page: Page):
    others = [page.inspect(host)["Id"] for host in ("one", "three")]
    page.api.remove_container(page.name("two"), force=True)
    until(lambda: page.healthy("two"), PATIENCE)
    (one,) = page.over("two", "container_missing")
    assert one["done"] == "orch.deploy"
    assert [page.inspect(host)["Id"] for host in ("one", "three")] == others
    history = json.loads(page.cloud.run("saltern.history", "--out=json").out)["history"]
    assert history[-1]["who"] == "remediation"
    assert list(history[-1]["services"]["page"]) == ["two"]


def test_configuration_that_was_edited_or_deleted_is_written_again(page: Page):
    folder = page.generation("three")
    wanted = (folder / "page.conf").read_text()
    (folder / "page.conf").write_text("words = mine\n")
    until(lambda: (folder / "page.conf").read_text() == wanted, PATIENCE)
    page.over("three", "configuration_changed")
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    until(lambda: (folder / "page.conf").is_file(), PATIENCE)
    page.over("three", "configuration_changed", 2)
    assert (folder / "page.conf").read_text() == wanted
    assert page.healthy("three")


def test_what_was_made_anew_by_hand_is_replaced(page: Page):
    old = page.inspect("one")
    page.api.remove_container(old["Id"], force=True)
    labels = {key: one for key, one in old["Config"]["Labels"].items() if "spec" not in key}
    made = page.api.create_container(
        old["Config"]["Image"], ["sh"], name=page.name("one"), labels=labels, stdin_open=True
    )["Id"]
    page.api.start(made)
    until(lambda: page.healthy("one"), PATIENCE)
    page.quiet()
    assert page.inspect("one")["Id"] not in (old["Id"], made)


def test_what_somebody_stopped_is_left_alone_and_shown_until_somebody_starts_it(page: Page):
    page.api.stop(page.name("two"), timeout=0)
    until(lambda: page.of("two", "stopped_by_hand"), PATIENCE)
    # Something else happens there and is mended: what was stopped stays so.
    page.kill("two", "page-1")
    page.over("two", "container_stopped")
    assert not page.inspect("two")["State"]["Running"]
    # Its memory is on the disk.
    page.engine("two").kill()
    page.kill("two", "page-2")
    page.over("two", "container_stopped", 2)
    assert not page.inspect("two")["State"]["Running"]
    status = page.cloud.run("saltern.status", "services=[page]").out
    assert "stopped_by_hand" in status
    page.api.start(page.name("two"))
    page.over("two", "stopped_by_hand")


def test_a_command_of_saltern_that_stops_is_somebodys_wish(page: Page):
    done = page.cloud.run("state.orchestrate", "orch.stop", services=["page"], hosts=["one"])
    assert done.code == 0, done.err
    until(lambda: len(page.of("one", "stopped_by_hand")) == len(ALL), PATIENCE)
    assert not page.inspect("one")["State"]["Running"]
    page.deploy()
    page.quiet()
    assert page.healthy("one")


def test_what_came_while_the_master_was_away_is_mended_when_it_is_back(page: Page):
    page.cloud.kill("master")
    for name in CROWD:
        page.kill("one", name)
    page.cloud.restart("master")
    until(lambda: all(page.healthy("one", name) for name in CROWD), PATIENCE)
    page.quiet()


def test_a_master_that_is_restarted_in_mid_work_goes_on(page: Page):
    for name in CROWD:
        page.kill("two", name)
    page.api.remove_container(page.name("two"), force=True)
    until(lambda: page.incidents("open=True"), PATIENCE)
    page.cloud.kill("master")
    page.cloud.restart("master")
    until(lambda: all(page.healthy("two", name) for name in ALL), PATIENCE)
    page.quiet()


def test_an_event_that_is_forged_or_sent_again_has_no_effect(page: Page):
    log = page.cloud.folder / "master/log"

    def known() -> int:
        with page.db() as db:
            return (db.execute("SELECT serial FROM hosts WHERE host='two'").fetchone() or (0,))[0]

    def word(serial: int, key: str) -> dict[str, Any]:
        """Return what says that two has something to say, signed with the key of a host."""
        text = json.dumps({"host": "two", "serial": serial, "time": time.time(), "faults": []})
        path = page.cloud.folder / "minions" / key / "pki/minion.pem"
        signature = PrivateKey.from_file(str(path)).sign(text.encode(), "PKCS1v15-SHA224")
        return {"signed": text, "signature": base64.b64encode(signature).decode()}

    def send(payload: dict[str, Any]) -> None:
        """Send an event from host one; who sends it proves nothing in either direction."""
        words = json.dumps(["saltern/faults", payload])
        done = page.cloud.run("salt.execute", "one", "event.send", f"arg={words}", "--out=json")
        assert json.loads(done.out) == {"one": True}

    def refused(payload: dict[str, Any]) -> None:
        before = log.read_text().count("is not signed by the host that it names")
        send(payload)
        until(
            lambda: log.read_text().count("is not signed by the host that it names") > before,
            PATIENCE,
        )

    serial = known()
    higher = max(serial, int(time.time() * 1000)) + 10**6
    refused(word(higher, "one"))
    refused({"signed": [1], "signature": {"a": "b"}})
    refused({"other": "{{ 1 / 0 }}"})
    assert known() == serial
    send(word(higher, "two"))
    until(lambda: known() == higher, PATIENCE)
    send(word(higher - 1, "two"))
    refused(word(higher + 5, "three"))
    assert known() == higher
    assert page.incidents() == []
    # So that what two itself says counts again.
    with page.db() as db:
        db.execute("DELETE FROM hosts")
        db.commit()


def test_maintenance_silences_it_until_it_ends(page: Page):
    begun = page.cloud.run("saltern.maintenance", "host=two", "reason=disk change", "hours=2")
    assert begun.code == 0, begun.err
    page.kill("two")
    until(lambda: any("maintenance" in one["decision"] for one in page.incidents()), PATIENCE)
    # Elsewhere work goes on.
    page.kill("one")
    page.over("one", "container_stopped")
    assert not page.inspect("two")["State"]["Running"]
    page.cloud.run("saltern.maintenance", "host=two", "end=True")
    page.over("two", "container_stopped")
    assert page.healthy("two")


def test_a_rule_that_observes_shows_and_does_nothing(page: Page):
    page.set_pillar(rules={"container_stopped": "observe", "container_missing": "off"})
    time.sleep(6)  # the engine reads the pillar anew every five seconds
    page.kill("one")
    until(
        lambda: [one["decision"] for one in page.of("one", "container_stopped")] == ["observed"],
        PATIENCE,
    )
    page.api.remove_container(page.name("three"), force=True)
    (folder := page.generation("three") / "page.conf").write_text("mine\n")
    page.over("three", "configuration_changed")
    assert not page.inspect("one")["State"]["Running"]
    assert "mine" not in folder.read_text()
    page.set_pillar()
    page.over("one", "container_stopped")
    assert page.of("three", "container_missing") == []


def test_a_crowd_that_dies_is_started_host_by_host_within_the_cap(page: Page):
    page.set_pillar(hosts=1)
    time.sleep(6)
    for host in HOSTS:
        for name in ALL:
            page.kill(host, name)
    until(
        lambda: all(page.healthy(host, name) for host in HOSTS for name in ALL),
        PATIENCE,
    )
    page.quiet()
    found = [one for one in page.incidents() if one["rule"] == "container_stopped"]
    assert len({(one["host"], one["name"]) for one in found}) == len(HOSTS) * len(ALL)
    spans = sorted(
        (
            min(one["decided"] for one in found if one["host"] == host),
            max(one["acted"] for one in found if one["host"] == host),
        )
        for host in HOSTS
    )
    # One host after the other.
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans)), spans


def test_a_run_under_way_is_not_disturbed(page: Page):
    lock = page.cloud.folder / "var/rollout.lock"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write('{"command": "a test"}')
        file.flush()
        page.kill("one")
        until(lambda: any("another run" in one["decision"] for one in page.incidents()), PATIENCE)
        assert not page.inspect("one")["State"]["Running"]
    page.over("one", "container_stopped")


def test_names_that_do_not_exist_are_refused_with_the_nearest(page: Page):
    wrong = page.cloud.run("saltern.incidents", "host=onee")
    assert wrong.code == 1 and "Did you mean 'one'" in wrong.out + wrong.err
    page.set_pillar(rules={"container_stoped": "act"})
    wrong = page.cloud.run("saltern.plan")
    assert wrong.code == 1
    assert "saltern:remediation:rules:container_stoped" in wrong.out
    assert "Did you mean 'container_stopped'" in wrong.out
