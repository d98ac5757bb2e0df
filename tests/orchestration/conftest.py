"""A master and three minions of their own, as processes on free ports, with formulas of test states.

Each formula touches a file on its "host" (a folder), so that tests see what has run where. The hosts
are plain processes: orchestration is proved here, containers are proved elsewhere.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
HOSTS = ("one", "two", "three")
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
    "secrets": {"password": {}},
    "options": {
        "content": {"type": "string", "default": "first", "description": "Content of the file"},
        "slow": {"type": "number", "default": 0, "description": "Seconds the service takes"},
        "broken_on": {"type": "array", "default": [], "description": "Hosts whose gate is shut"},
    },
}
REQUIRES = {"alpha": [], "beta": ["alpha"], "gamma": ["beta"]}


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

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config"
        self.pillar: dict[str, Any] = {}
        self.reset()

    def reset(self) -> None:
        """Give the cloud its first pillar and empty hosts."""
        for host in HOSTS:
            root = self.folder / "hosts" / host
            root.mkdir(parents=True, exist_ok=True)
            for path in root.iterdir():
                path.unlink()
        self.set_pillar()

    def set_pillar(self, hosts: tuple[str, ...] = HOSTS, **options: dict[str, Any]) -> None:
        """Write the pillar: the cloud's hosts and each service's options."""
        places = {
            name: {"address": f"127.0.1.{number}", "roles": ["control"]}
            for number, name in enumerate(hosts, 1)
        }
        data = {"saltern": {"internal_address": "127.0.1.100", "hosts": places}, **options}
        (self.folder / "pillar/cloud.sls").write_text(yaml.safe_dump(data))

    def command(self, *words: str) -> list[str]:
        """Return a command line of salt-run with this cloud's configuration."""
        return [str(Path(sys.executable).with_name("salt-run")), "-c", str(self.config), *words]

    def run(self, *words: str, **pillar: Any) -> Result:
        """Run salt-run to its end."""
        extra = [f"pillar={json.dumps(pillar)}"] if pillar else []
        done = subprocess.run(
            self.command(*words, *extra), capture_output=True, text=True, timeout=180, check=False
        )
        return Result(done.returncode, done.stdout, done.stderr)

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
    (folder / "images/locks").mkdir(parents=True)
    (folder / "images/locks/2026.2.txt").touch()
    (folder / "images/users.yml").write_text("{}\n")
    (folder / "pillar").mkdir()
    (folder / "pillar/top.sls").write_text("base:\n  '*': [cloud]\n")
    (folder / "config").mkdir()
    secrets = folder / "secrets.yml"
    secrets.write_text(yaml.safe_dump({name: {"password": SECRET} for name in REQUIRES}))
    secrets.chmod(0o600)


@pytest.fixture(scope="session")
def master(salt_factories, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cloud")
    _files(folder)
    overrides = {
        "file_roots": {"base": [str(ROOT / "salt"), str(folder / "formulas")]},
        "pillar_roots": {"base": [str(folder / "pillar")]},
        "module_dirs": [str(ROOT / "salt")],
        "ext_pillar": [
            {
                "saltern": {
                    "formulas": [str(folder / "formulas")],
                    "images": str(folder / "images"),
                    "secrets": str(folder / "secrets.yml"),
                }
            }
        ],
        "fileserver_followsymlinks": True,
        "saltern": {"etc": str(folder / "etc"), "var": str(folder / "var"), "silence": 2},
        "worker_threads": 3,
        "log_level_logfile": "warning",
        "log_granular_levels": {},
    }
    daemon = salt_factories.salt_master_daemon("saltern-test-master", overrides=overrides)
    with daemon.started(start_timeout=120):
        yield daemon, folder


@pytest.fixture(scope="session")
def minions(master):
    daemon, folder = master
    made = {}
    for host in HOSTS:
        overrides = {
            "root": str(folder / "hosts" / host),
            "saltern": {"etc": str(folder / "etc" / host), "var": str(folder / "var" / host)},
            "enable_fqdns_grains": False,
            "log_level_logfile": "warning",
            "log_granular_levels": {},
        }
        made[host] = daemon.salt_minion_daemon(host, overrides=overrides)
    started = [one.started(start_timeout=120) for one in made.values()]
    for one in started:
        one.__enter__()
    yield made
    for one in reversed(started):
        one.__exit__(None, None, None)


@pytest.fixture
def cloud(master, minions):
    daemon, folder = master
    if not (folder / "config/master").exists():
        os.symlink(daemon.config_file, folder / "config/master")
    return Cloud(folder)
