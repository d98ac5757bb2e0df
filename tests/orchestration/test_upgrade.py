"""An upgrade across three hosts with real containers: order, refusals, the way back, and killed runs."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import tarfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
import yaml

from .conftest import HOSTS, ROOT, Cloud, Result, until

pytestmark = pytest.mark.docker

OLD, NEW = "2026.1", "2026.2"
# Healthy after a moment, unless it is told to fail.
SERVER = 'test "$FAILS" = yes && exit 1; sleep "$SLOW"; touch /tmp/up; while :; do sleep 1; done'


def task(phase: str, **more) -> dict:
    """Return a task that writes its phase and the release of its image, and fails if the pillar says so."""
    script = f"echo {phase} $(cat /release) >> /log/done; test '{{{{ options.fails }}}}' != {phase}"
    return {
        "phase": phase,
        "name": f"Do {phase} of store",
        "command": ["sh", "-c", script],
        "volumes": ["{{ options.log }}:/log"],
        **more,
    }


STORE = {
    "summary": "A container with a schema",
    "roles": ["control"],
    "options": {
        "log": {"type": "string", "default": "/tmp", "description": "Where tasks write"},
        "fails": {"type": "string", "default": "", "description": "Phase whose task fails"},
        "broken_on": {"type": "array", "default": [], "description": "Where servers fail"},
        "slow": {"type": "integer", "default": 0, "description": "Seconds until it is up"},
        "colour": {"type": "string", "default": "red", "description": "Any option"},
    },
    "containers": {
        "store": {
            "command": ["sh", "-c", SERVER],
            "environment": {
                "FAILS": "{{ 'yes' if host.id in options.broken_on else 'no' }}",
                "SLOW": "{{ options.slow }}",
                "COLOUR": "{{ options.colour }}",
            },
            "tmpfs": ["/tmp"],
            "healthcheck": {
                "test": ["test", "-e", "/tmp/up"],
                "interval": 1,
                "retries": 3,
                "start_period": 1,
            },
            "stop_timeout": 1,
            "deadline": 20,
        }
    },
    "tasks": {
        "sync": task("deploy", skip_on_upgrade=True),
        "checks": task("upgrade_check"),
        "expand": task("expand"),
        "migrate": task("migrate"),
        "contract": task("contract"),
    },
}
FRONT = {
    "summary": "A container that requires the other",
    "roles": ["control"],
    "requires": ["store"],
    "options": {name: STORE["options"][name] for name in ("broken_on", "slow", "colour")},
    "containers": {"front": STORE["containers"]["store"]},
}


class Small:
    """A cloud of these two services."""

    def __init__(self, cloud: Cloud, api: docker.APIClient, namespace: str, log: Path) -> None:
        self.cloud = cloud
        self.api = api
        self.namespace = namespace
        self.log = log

    def set_pillar(self, release: str, front: dict | None = None, **options) -> None:
        """Write the pillar with a release and the services' options."""
        off = {name: {"enabled": False} for name in ("alpha", "beta", "gamma")}
        settings = {
            "release": release,
            "images": {"namespace": self.namespace},
            "services": off,
        }
        store = {"log": str(self.log), **options}
        self.cloud.set_pillar(settings=settings, store=store, front=front or {})

    def upgrade(self, *words: str, **pillar) -> Result:
        """Run the upgrade."""
        return self.cloud.run("state.orchestrate", "orch.upgrade", *words, **pillar)

    def rollback(self, *words: str, **pillar) -> Result:
        """Run the rollback."""
        return self.cloud.run("state.orchestrate", "orch.rollback", *words, **pillar)

    def releases(self, service: str = "store") -> dict[str, str]:
        """Return host to the release that its container runs; all of them run."""
        found = {}
        for host in HOSTS:
            one = self.api.inspect_container(f"orchestration-{host}-{service}")
            assert one["State"]["Running"]
            found[host] = one["Config"]["Labels"]["saltern.release"]
        return found

    def environment(self, host: str, service: str) -> list[str]:
        """Return the environment of a container."""
        return self.api.inspect_container(f"orchestration-{host}-{service}")["Config"]["Env"]

    def done(self) -> list[str]:
        """Return what tasks have done since last asked, each with the release of its image."""
        path = self.log / "done"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines


@pytest.fixture(scope="module")
def api() -> docker.APIClient:
    """Return Docker's SDK, to see what the product has started."""
    return docker.APIClient(version="auto")


@pytest.fixture(scope="module")
def namespace(api: docker.APIClient) -> Iterator[str]:
    """Make images of a static busybox, of two releases, and return their namespace."""
    namespace = f"saltern-upgrade-{os.getpid()}"
    names = [(f"{namespace}/{one}", old) for one in ("store", "front") for old in (OLD, NEW)]
    for name, release in names:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            tar.add("/bin/busybox", "bin/busybox")
            for applet in ("sh", "sleep", "test", "touch", "cat"):
                entry = tarfile.TarInfo(f"bin/{applet}")
                entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(entry)
            entry = tarfile.TarInfo("release")
            entry.size = len(release)
            tar.addfile(entry, io.BytesIO(release.encode()))
        api.import_image_from_data(
            buffer.getvalue(), name, release, changes=[f"LABEL saltern.release={release}"]
        )
    yield namespace
    for name, release in names:
        api.remove_image(f"{name}:{release}", force=True)


@pytest.fixture(scope="module")
def formulas(daemons) -> Iterator[None]:
    """Bring the two services, and the releases that there are."""
    folder, _ = daemons
    older = folder / "images/locks/2026.1.txt"
    older.touch()
    shutil.copy(ROOT / "images/releases.yml", folder / "images")
    homes = {"store": STORE, "front": FRONT}
    for name, service in homes.items():
        home = folder / "formulas" / name
        home.mkdir()
        (home / "service.yml").write_text(yaml.safe_dump(service))
        (home / "init.sls").write_text("#!service\n")
    yield
    older.unlink()
    for name in homes:
        shutil.rmtree(folder / "formulas" / name)


@pytest.fixture
def small(cloud, api, namespace, formulas, tmp_path) -> Iterator[Small]:
    """The old release of both services on all hosts."""
    small = Small(cloud, api, namespace, tmp_path)
    small.set_pillar(OLD)
    deployed = cloud.deploy()
    assert deployed.code == 0, deployed.err
    small.done()
    yield small
    for one in api.containers(all=True, filters={"name": "^/orchestration-[a-z]+-(store|front)"}):
        api.remove_container(one["Id"], force=True)
    for path in cloud.folder.glob("minions/*/var/*/*"):
        if path.parent.name in ("once", "revisions"):
            path.unlink()
    (cloud.folder / "var/upgrade.json").unlink(missing_ok=True)


def test_an_upgrade_expands_replaces_host_by_host_and_contracts(small):
    small.set_pillar(NEW)
    tested = small.upgrade("test=True")
    assert tested.code == 0, tested.err
    assert small.done() == [f"upgrade_check {NEW}"]
    result = small.upgrade()
    assert result.code == 0, result.err
    assert "2026.1 -> 2026.2: store, front." in result.err
    assert small.done() == [
        f"{phase} {NEW}" for phase in ("upgrade_check", "expand", "migrate", "contract")
    ]
    assert small.releases() == small.releases("front") == dict.fromkeys(HOSTS, NEW)
    again = small.upgrade()
    assert again.code == 0, again.err
    assert "Everything runs 2026.2" in again.err
    deployed = small.cloud.deploy()
    assert "Nothing to change." in deployed.err
    assert small.done() == []


@pytest.mark.upgrades
def test_a_single_service_is_upgraded_and_the_others_stay(small):
    small.set_pillar(NEW)
    result = small.upgrade(services=["store"])
    assert result.code == 0, result.err
    assert small.releases() == dict.fromkeys(HOSTS, NEW)
    assert small.releases("front") == dict.fromkeys(HOSTS, OLD)
    refused = small.cloud.deploy()
    assert refused.code == 1
    assert "2026.1 runs in front: that is an upgrade" in refused.last_block
    assert "salt-run state.orchestrate orch.upgrade" in refused.last_block


def test_a_server_that_does_not_come_up_takes_all_hosts_back(small):
    small.set_pillar(NEW, front={"broken_on": ["two"]})
    result = small.upgrade()
    assert result.code == 1
    assert "front" in result.last_block
    assert "Went back to what they came from:" in result.last_block
    assert "store on one, two, three" in result.last_block
    assert small.releases() == small.releases("front") == dict.fromkeys(HOSTS, OLD)
    assert f"contract {NEW}" not in small.done()
    # The old release can be deployed, and its schema task has nothing to do.
    small.set_pillar(OLD)
    deployed = small.cloud.deploy()
    assert deployed.code == 0, deployed.err
    assert small.done() == []
    # Mended, the same command ends well.
    small.set_pillar(NEW)
    assert small.upgrade().code == 0
    assert small.releases("front") == dict.fromkeys(HOSTS, NEW)


@pytest.mark.upgrades
@pytest.mark.parametrize("phase", ["upgrade_check", "expand", "migrate"])
def test_what_fails_before_the_first_container_leaves_all_as_it_is(small, phase):
    small.set_pillar(NEW, fails=phase)
    result = small.upgrade()
    assert result.code == 1
    assert "exit" in result.last_block
    assert small.releases() == small.releases("front") == dict.fromkeys(HOSTS, OLD)
    assert "contract" not in " ".join(small.done())


@pytest.mark.upgrades
def test_a_failed_contract_is_gone_on_with(small):
    small.set_pillar(NEW, fails="contract")
    assert small.upgrade().code == 1
    refused = small.cloud.deploy()
    assert refused.code == 1
    assert "the upgrade of store, front is not finished" in refused.last_block
    small.done()
    small.set_pillar(NEW)
    result = small.upgrade()
    assert result.code == 0, result.err
    assert f"contract {NEW}" in small.done()
    assert small.releases() == dict.fromkeys(HOSTS, NEW)


def test_a_killed_upgrade_is_gone_on_with(small):
    small.set_pillar(NEW, slow=3)
    with small.cloud.started("state.orchestrate", "orch.upgrade") as process:
        until(lambda: NEW in set(_images(small)))
        process.send_signal(signal.SIGKILL)
        process.wait()
    result = small.upgrade()
    assert result.code == 0, result.err
    assert small.releases() == small.releases("front") == dict.fromkeys(HOSTS, NEW)
    assert f"contract {NEW}" in small.done()


@pytest.mark.upgrades
def test_an_upgrade_that_was_killed_can_be_taken_back(small):
    small.set_pillar(NEW, slow=3)
    with small.cloud.started("state.orchestrate", "orch.upgrade") as process:
        until(lambda: NEW in set(_images(small)))
        process.send_signal(signal.SIGKILL)
        process.wait()
    result = small.rollback()
    assert result.code == 0, result.err
    assert small.releases() == small.releases("front") == dict.fromkeys(HOSTS, OLD)


def _images(small: Small) -> list[str]:
    found = small.api.containers(filters={"name": "^/orchestration-[a-z]+-store$"})
    return [one["Labels"].get("saltern.release", "") for one in found]


@pytest.mark.upgrades
def test_what_cannot_be_done_is_refused_before_anything_changes(small):
    small.set_pillar(NEW)
    assert small.upgrade(services=["stor"]).code == 1
    assert small.upgrade().code == 0
    small.set_pillar(OLD)
    small.done()
    down = small.upgrade()
    assert down.code == 1
    assert "2026.1 is older than 2026.2" in down.last_block
    assert small.done() == []
    assert small.releases() == dict.fromkeys(HOSTS, NEW)


@pytest.mark.upgrades
def test_a_cloud_that_is_not_well_is_mended_first(small):
    small.api.stop("orchestration-two-front", timeout=1)
    small.set_pillar(NEW)
    result = small.upgrade(services=["store"])
    assert result.code == 0, result.err
    small.api.stop("orchestration-three-store", timeout=1)
    result = small.upgrade()
    assert result.code == 1
    assert "store" in result.last_block
    assert "salt-run saltern.status" in result.last_block


def test_a_changed_option_is_taken_back_days_later(small):
    small.set_pillar(OLD, front={"colour": "green"})
    assert small.cloud.deploy().code == 0
    assert "COLOUR=green" in small.environment("two", "front")
    unnamed = small.rollback()
    assert unnamed.code == 1
    assert "no service is named" in unnamed.last_block
    result = small.rollback(services=["front"])
    assert result.code == 0, result.err
    assert "COLOUR=red" in small.environment("two", "front")
    first = small.rollback(services=["store"])
    assert first.code == 1
    assert "keeps no earlier revision" in first.last_block
    listed = small.cloud.run("saltern.plan", "--out=json")
    assert json.loads(listed.out)
