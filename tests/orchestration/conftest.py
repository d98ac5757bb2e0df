"""A master and three minions of their own, as processes on free ports, with formulas of test states.

Each formula touches a file on its "host" (a folder), so that tests see what has run where. The hosts
are plain processes: orchestration is proved here, containers are proved elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import salt.payload
import yaml

ROOT = Path(__file__).parents[2]
HOSTS = ("one", "two", "three")
# Of its containers; other processes may run tests of this tier, too.
PREFIX = f"orchestration{os.getpid()}-"
SECRET = "Zq8sWm3nVt5xKp7rLb2dFg9hJc4yTe6u"

# A file a service; its content is the pillar's, so that a changed option is a changed service.
SERVICE_SLS = """
{%- set name = sls %}
{%- set option = pillar['cloud']['services'][name]['options'] %}
Stop {{ name }} at the gate:
  test.configurable_test_state:
    - changes: False
    - result: {{ pillar['cloud']['host']['id'] not in option['broken_on'] or opts['test'] }}
    - comment: The gate of {{ name }} is shut.

{%- if option['slow'] %}
Take time for {{ name }}:
  cmd.run:
    - name: sleep {{ option['slow'] }}
    - unless: test -e {{ opts['root'] }}/{{ name }}
{%- endif %}

Write the file of {{ name }}:
  file.managed:
    - name: {{ opts['root'] }}/{{ name }}
    - contents: {{ option['content'] }} {{ pillar['cloud']['secrets'][name]['password'] }}
    - require:
      - test: Stop {{ name }} at the gate
"""
SERVICE = {
    "roles": ["control"],
    # So that each host knows the others.
    "names": ["*"],
    "secrets": {"password": {}},
    "certificates": ["external"],
    "options": {
        "content": {"type": "string", "default": "first", "description": "Content of the file"},
        "slow": {"type": "number", "default": 0, "description": "Seconds the service takes"},
        "broken_on": {"type": "array", "default": [], "description": "Hosts whose gate is shut"},
    },
}
REQUIRES = {"alpha": [], "beta": ["alpha"], "gamma": ["beta"]}
# Services that only some tests switch on: a container on real Docker, and one that asks alpha.
WEB = {
    "summary": "A container that is healthy while a file is there",
    "roles": ["control"],
    "enabled": False,
    "certificates": ["external"],
    "containers": {
        "web": {
            "image": "web",
            "command": [
                "sh",
                "-c",
                'test -n "$BROKEN" && exit 1; touch /tmp/up; while :; do sleep 1; done',
            ],
            "tmpfs": ["/tmp"],
            # Docker counts no failure before its first success, or the end of the start period.
            "healthcheck": {
                "test": ["test", "-e", "/tmp/up"],
                "interval": 1,
                "retries": 1,
                "start_period": 1,
            },
            "stop_timeout": 1,
            "deadline": 5,
        }
    },
}
# Containers that Docker does not start again by itself, with configuration.
PAGE = {
    **WEB,
    "summary": "Containers with configuration",
    "user": 0,
    "config_dir": "/etc/page",
    "config": {"page.conf": {"format": "raw"}},
    "options": {"words": {"type": "string", "default": "first", "description": "What it says"}},
    "containers": {
        name: {**WEB["containers"]["web"], "restart_policy": "no"}
        for name in ("page", *(f"page-{number}" for number in range(1, 4)))
    },
}
ORACLE = {
    "summary": "Asks alpha in test mode",
    "roles": ["control"],
    "enabled": False,
    "requires": ["alpha"],
}
ORACLE_SLS = """
Ask alpha:
  oracle.answers:
    - name: {{ opts['root'] }}/alpha
"""
ORACLE_STATE = """
from pathlib import Path

from saltern.run import plan


def answers(name):
    ret = {"name": name, "result": True, "changes": {}, "comment": "It answers."}
    if Path(name).exists():
        return ret
    why = f"there is no {Path(name).name}"
    if __opts__["test"]:
        return ret | {"result": None, "comment": f"{plan.UNKNOWN}{why}"}
    return ret | {"result": False, "comment": why}
"""


@dataclass
class Result:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def last_block(self) -> str:
        """Return what stands last on the screen, from the word FAILED on."""
        return self.err[self.err.index("\nFAILED") :] if "\nFAILED" in self.err else ""


class Cloud:
    """The test cloud: its pillar, its commands and what its hosts hold."""

    hosts = HOSTS
    secret = SECRET

    def __init__(self, folder: Path, processes: dict[str, subprocess.Popen]) -> None:
        self.folder = folder
        self.processes = processes

    def reset(self) -> None:
        """Give the cloud its first pillar and empty hosts."""
        for host in HOSTS:
            root = self.folder / "hosts" / host
            root.mkdir(parents=True, exist_ok=True)
            for path in root.iterdir():
                path.unlink()
        for place in (self.folder, *self.folder.glob("minions/*/var")):
            shutil.rmtree(place / "certificates", ignore_errors=True)
        for name in ("history", "plans", "maintenance"):
            shutil.rmtree(self.folder / "var" / name, ignore_errors=True)
        (self.folder / "var/drift.json").unlink(missing_ok=True)
        self.set_pillar()
        self.forget_jobs()

    def set_pillar(
        self,
        hosts: tuple[str, ...] = HOSTS,
        settings: dict[str, Any] | None = None,
        **options: dict[str, Any],
    ) -> None:
        """Write the pillar: the cloud's hosts, its other settings and each service's options."""
        places = {
            name: {"address": f"127.0.1.{number}", "roles": ["control"]}
            for number, name in enumerate(hosts, 1)
        }
        saltern = {"internal_address": "127.0.1.100", "hosts": places, **(settings or {})}
        data = {"saltern": saltern, **options}
        (self.folder / "pillar/cloud.sls").write_text(yaml.safe_dump(data, sort_keys=False))

    def command(self, *words: str) -> list[str]:
        """Return a command line of salt-run with this cloud's configuration."""
        config = str(self.folder / "config")
        return [str(Path(sys.executable).with_name("salt-run")), "-c", config, *words]

    def run(self, *words: str, **pillar: Any) -> Result:
        """Run salt-run to its end."""
        extra = [f"pillar={json.dumps(pillar)}"] if pillar else []
        done = subprocess.run(
            self.command(*words, *extra), capture_output=True, text=True, timeout=180, check=False
        )
        return Result(done.returncode, done.stdout, done.stderr)

    @contextlib.contextmanager
    def started(self, *words: str, **options: Any) -> Iterator[subprocess.Popen]:
        """Start salt-run and yield it; it does not outlive the block."""
        options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **options}
        # A shell starts background jobs with Ctrl-C ignored, and children would inherit that.
        options["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
        with subprocess.Popen(self.command(*words), **options) as process:
            try:
                yield process
            finally:
                process.kill()

    @contextlib.contextmanager
    def silent(self, host: str) -> Iterator[None]:
        """Stop a minion so that it does not answer, as one cut off from the network."""
        os.killpg(self.processes[host].pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.processes[host].pid, signal.SIGCONT)

    def restart(self, host: str) -> None:
        """Stop a minion and start it anew, as when its host reboots."""
        old = self.processes[host]
        old.terminate()
        old.wait()
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        self.processes[host] = subprocess.Popen(
            old.args, stderr=subprocess.DEVNULL, start_new_session=True, **quiet
        )

    def kill(self, name: str) -> None:
        """Kill a minion, or ``master``, with all its processes."""
        os.killpg(self.processes[name].pid, signal.SIGKILL)
        self.processes[name].wait()

    def listens(self) -> bool:
        """Return whether the master has come up."""
        port = yaml.safe_load((self.folder / "config/master").read_text())["ret_port"]
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def up(self) -> list[str]:
        """Return the minions that answer."""
        done = self.run("manage.up", "--out=json", "timeout=2")
        return json.loads(done.out or "[]") if done.code == 0 else []

    def jobs(self, fun: str) -> list[tuple[str, tuple[str, ...]]]:
        """Return the jobs of a function since :meth:`forget_jobs`: services and hosts."""
        found = []
        for path in sorted(
            (self.folder / "master/cache/jobs").glob("*/*/.load.p"),
            key=lambda path: salt.payload.loads(path.read_bytes())["jid"],
        ):
            load = salt.payload.loads(path.read_bytes())
            # Where a test has emptied the job cache under a job, its return stands for the load: no "arg".
            if load["fun"] == fun and "arg" in load:
                kwargs = next((one for one in load["arg"] if isinstance(one, dict)), {})
                services = ",".join(kwargs.get("mods", kwargs.get("services", [])))
                found.append((services, tuple(load["tgt"])))
        return found

    def job_cache(self) -> bytes:
        """Return all that the master keeps of jobs."""
        jobs = (self.folder / "master/cache/jobs").rglob("*")
        return b"".join(path.read_bytes() for path in jobs if path.is_file())

    def forget_jobs(self) -> None:
        """Empty the job cache."""
        shutil.rmtree(self.folder / "master/cache/jobs", ignore_errors=True)

    def deploy(self, **pillar: Any) -> Result:
        """Run the deploy orchestration."""
        return self.run("state.orchestrate", "orch.deploy", **pillar)

    def written(self) -> dict[str, list[str]]:
        """Return host to the services that have been applied there."""
        return {
            host: sorted(path.name for path in (self.folder / "hosts" / host).iterdir())
            for host in HOSTS
        }

    def content(self, host: str, service: str) -> str:
        """Return what a service wrote, without the secret."""
        return (self.folder / "hosts" / host / service).read_text().split()[0]


def until(condition, seconds: float = 60) -> None:
    """Wait until ``condition()`` holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def _files(folder: Path) -> None:
    for name, requires in REQUIRES.items():
        home = folder / "formulas" / name
        home.mkdir(parents=True)
        service = {**SERVICE, "summary": f"Test service {name}", "requires": requires}
        (home / "service.yml").write_text(yaml.safe_dump(service))
        (home / "init.sls").write_text(SERVICE_SLS)
    for name, service, sls in (
        ("web", WEB, "#!service\n"),
        ("page", PAGE, "#!service\n"),
        ("oracle", ORACLE, ORACLE_SLS),
    ):
        home = folder / "formulas" / name
        home.mkdir()
        (home / "service.yml").write_text(yaml.safe_dump(service))
        (home / "init.sls").write_text(sls)
    (folder / "formulas/page/files").mkdir()
    (folder / "formulas/page/files/page.conf").write_text("words = {{ options.words }}\n")
    # A copy: tests must not fail because somebody saves a file while they run.
    shutil.copytree(ROOT / "salt", folder / "salt", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "salt/_states/oracle.py").write_text(ORACLE_STATE)
    (folder / "images/locks").mkdir(parents=True)
    (folder / "images/locks/2026.2.txt").touch()
    (folder / "images/users.yml").write_text("{}\n")
    for name in ("distros.yml", "releases.yml"):
        shutil.copy(ROOT / "images" / name, folder / "images")
    (folder / "pillar").mkdir()
    shutil.copy(ROOT / "pillar/top.sls", folder / "pillar")
    (folder / "config").mkdir()
    secrets = folder / "secrets.yml"
    secrets.write_text(yaml.safe_dump({name: {"password": SECRET} for name in REQUIRES}))
    secrets.chmod(0o600)


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


def _paths(folder: Path, log: str) -> dict[str, Any]:
    """Return the settings that keep a daemon inside its folder."""
    return {
        "user": "root",
        "pki_dir": str(folder / "pki"),
        "cachedir": str(folder / "cache"),
        "extension_modules": str(folder / "cache/extmods"),
        "sock_dir": str(folder / "sock"),
        "pidfile": str(folder / "pid"),
        "log_file": str(folder / log),
        "log_level_logfile": "warning",
    }


def _configure(folder: Path, engines: bool) -> dict[str, list[str]]:
    """Write the daemons' configuration and return their command lines, by minion id or "master"."""
    publish, ret = _free_ports()
    master = {
        **_paths(folder / "master", "log"),
        "id": "saltern_master",
        "interface": "127.0.0.1",
        "publish_port": publish,
        "ret_port": ret,
        "auto_accept": True,
        "sqlite_queue_dir": str(folder / "master/queues"),
        "key_logfile": str(folder / "master/key.log"),
        "file_roots": {"base": [str(folder / "salt"), str(folder / "formulas")]},
        "file_ignore_glob": ["*.pyc", "*/__pycache__/*"],
        "fileserver_followsymlinks": True,
        "pillar_roots": {"base": [str(folder / "pillar")]},
        "module_dirs": [str(folder / "salt")],
        "ext_pillar": [
            {
                "saltern": {
                    "formulas": [str(folder / "formulas")],
                    "images": str(folder / "images"),
                    "secrets": str(folder / "secrets.yml"),
                    "certificates": str(folder / "certificates"),
                }
            }
        ],
        "saltern": {"etc": str(folder / "etc"), "var": str(folder / "var"), "silence": 5},
        "reactor": [
            {"salt/minion/*/start": [str(folder / "salt/reactor/started.sls")]},
            {"saltern/faults": [str(folder / "salt/reactor/faults.sls")]},
        ],
        "worker_threads": 3,
        "state_output": "changes",
        "state_verbose": False,
        "engines": ["saltern_remediation"] if engines else [],
    }
    binaries = Path(sys.executable).parent
    (folder / "config/master").write_text(yaml.safe_dump(master))
    commands = {"master": [str(binaries / "salt-master"), "-c", str(folder / "config")]}
    for host in HOSTS:
        home = folder / "minions" / host
        (home / "config").mkdir(parents=True)
        minion = {
            **_paths(home, "log"),
            "id": host,
            "master": "127.0.0.1",
            "master_port": ret,
            "publish_port": publish,
            "root": str(folder / "hosts" / host),
            "saltern": {
                "etc": str(home / "etc"),
                "var": str(home / "var"),
                "bin": str(home),
                "prefix": f"{PREFIX}{host}-",
            },
            "enable_fqdns_grains": False,
            "enable_gpu_grains": False,
            "engines": ["saltern_watch"] if engines else [],
        }
        if engines:
            # As a host gets it: a minion starts its engines once.
            for path in (folder / "salt").glob("_[a-z]*"):
                shutil.copytree(path, home / "cache/extmods" / path.name[1:])
        (home / "config/minion").write_text(yaml.safe_dump(minion))
        commands[host] = [str(binaries / "salt-minion"), "-c", str(home / "config")]
    return commands


@contextlib.contextmanager
def running(engines: bool = False) -> Iterator[tuple[Path, dict[str, subprocess.Popen]]]:
    """Start the master and its minions; yield their folder and the processes by minion id.

    :param engines: With remediation, which would mend what other tests break.
    """
    # Not pytest's own folder: sockets of the master have paths of at most 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="saltern-test-"))
    _files(folder)
    Cloud(folder, {}).reset()
    processes = {}
    with (folder / "daemons.log").open("w") as log:
        for name, command in _configure(folder, engines).items():
            processes[name] = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
    cloud = Cloud(folder, processes)
    try:
        until(lambda: set(cloud.up()) == set(HOSTS), 120)
        yield folder, processes
    finally:
        for process in processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def daemons() -> Iterator[tuple[Path, dict[str, subprocess.Popen]]]:
    """The master and its minions, as :func:`running` yields them."""
    with running() as found:
        yield found


@pytest.fixture
def cloud(daemons) -> Cloud:
    """A cloud whose hosts hold nothing and whose pillar is the first one."""
    cloud = Cloud(*daemons)
    cloud.reset()
    return cloud
