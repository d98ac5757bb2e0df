"""A small cloud of two services with real containers, of two releases, which tests upgrade."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
import yaml

from ..conftest import HOSTS, PREFIX, ROOT, Cloud, Result

OLD, NEW = "2026.1", "2026.2"
# Stands for the folder in which tasks write.
LOG = "/LOG"


def held(name: str) -> str:
    """Return what holds a script as long as a test wants it, see :meth:`Small.hold`."""
    hold = f"/log/hold-{name}"
    return f"if test -e {hold}; then : > /log/reached-{name}; while test -e {hold}; do sleep 1; done; fi"


# Unless it is told to fail, or held. Its data say which release began them.
SERVER = (
    'test "$FAILS" = yes && exit 1; test -e /data/born || cat /release > /data/born; '
    f"{held('server')}; touch /tmp/up; while :; do sleep 1; done"
)


def task(phase: str, **more) -> dict:
    """Return a task that writes its phase and the release of its image, and fails if the pillar says so."""
    done = f"echo {phase} $(cat /release) >> /log/done"
    script = f"{done}; {held(phase)}; test '{{{{ options.fails }}}}' != {phase}"
    return {
        "phase": phase,
        "name": f"Do {phase} of store",
        "command": ["sh", "-c", script],
        "volumes": [f"{LOG}:/log"],
        **more,
    }


STORE = {
    "summary": "A container with a schema",
    "roles": ["control"],
    "options": {
        "fails": {"type": "string", "default": "", "description": "Phase whose task fails"},
        "broken_on": {"type": "array", "default": [], "description": "Where servers fail"},
        "colour": {"type": "string", "default": "red", "description": "Any option"},
    },
    "volumes": {"store": "data"},
    "containers": {
        "store": {
            "command": ["sh", "-c", SERVER],
            "environment": {
                "FAILS": "{{ 'yes' if host.id in options.broken_on else 'no' }}",
                "COLOUR": "{{ options.colour }}",
            },
            "tmpfs": ["/tmp"],
            "volumes": ["store:/data", f"{LOG}:/log"],
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
    "options": {name: STORE["options"][name] for name in ("broken_on", "colour")},
    "volumes": {"front": "data"},
    "containers": {"front": STORE["containers"]["store"] | {"volumes": ["front:/data"]}},
    "tasks": {
        "checks": {
            "phase": "upgrade_check",
            "command": ["sh", "-c", held("front_check")],
            "volumes": [f"{LOG}:/log"],
        }
    },
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
        self.cloud.set_pillar(settings=settings, store=options, front=front or {})

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
            one = self.api.inspect_container(f"{PREFIX}{host}-{service}")
            assert one["State"]["Running"]
            found[host] = one["Config"]["Labels"]["saltern.release"]
        return found

    def environment(self, host: str, service: str) -> list[str]:
        """Return the environment of a container."""
        return self.api.inspect_container(f"{PREFIX}{host}-{service}")["Config"]["Env"]

    def hold(self, name: str) -> None:
        """Hold the task of a phase, the store's ``server`` before it is up, or a gate, until it is let go."""
        Path(self.log, f"reached-{name}").unlink(missing_ok=True)
        Path(self.log, f"hold-{name}").touch()

    def reached(self, name: str) -> bool:
        """Return whether something is held there."""
        return Path(self.log, f"reached-{name}").exists()

    def let_go(self, name: str) -> None:
        """Let what is held go on, and nothing be held there again."""
        Path(self.log, f"hold-{name}").unlink()

    def names(self) -> set[str]:
        """Return the names of all containers, also of those that do not run."""
        found = self.api.containers(all=True, filters={"name": f"^/{PREFIX}"})
        return {one["Names"][0].removeprefix("/") for one in found}

    def born(self) -> set[str]:
        """Return which releases have begun the data of the servers."""
        mounts = [
            one for name in self.names() for one in self.api.inspect_container(name)["Mounts"]
        ]
        data = [Path(one["Source"]) for one in mounts if one["Destination"] == "/data"]
        return {Path(folder, "born").read_text() for folder in data}

    @property
    def unfinished(self) -> bool:
        """Whether the master keeps an upgrade that has begun."""
        return (self.cloud.folder / "var/upgrade.json").exists()

    def revisions(self, service: str = "store") -> set[str]:
        """Return the releases of the newest revisions that hosts keep."""
        files = self.cloud.folder.glob(f"minions/*/var/revisions/{service}.json")
        return {json.loads(path.read_text())[-1]["release"] for path in files}

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
        (home / "service.yml").write_text(yaml.safe_dump(service).replace(LOG, str(folder / "log")))
        (home / "init.sls").write_text("#!service\n")
    yield
    older.unlink()
    for name in homes:
        shutil.rmtree(folder / "formulas" / name)


@pytest.fixture
def small(cloud, api, namespace, formulas) -> Iterator[Small]:
    """The old release of both services on all hosts."""
    log = cloud.folder / "log"
    log.mkdir()
    small = Small(cloud, api, namespace, log)
    small.set_pillar(OLD)
    deployed = cloud.deploy()
    assert deployed.code == 0, deployed.err
    small.done()
    yield small
    for one in api.containers(all=True, filters={"name": f"^/{PREFIX}[a-z]+-(store|front)"}):
        api.remove_container(one["Id"], force=True)
    for volume in api.volumes(filters={"name": f"^{PREFIX}"})["Volumes"] or []:
        api.remove_volume(volume["Name"])
    shutil.rmtree(log)
    for path in cloud.folder.glob("minions/*/var/*/*"):
        if path.parent.name in ("once", "revisions"):
            path.unlink()
    (cloud.folder / "var/upgrade.json").unlink(missing_ok=True)
