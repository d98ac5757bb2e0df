"""A master and many minions of its own on this machine, configured as set-up does it, in one temporary folder.

Neither the machine's Salt nor its Docker is touched: the daemons have free ports and folders of their own,
and each host speaks to a Docker of its own, see ``dockerd.py``.
"""

from __future__ import annotations

import compileall
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
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import salt.client
import salt.crypt
import yaml
from salt.exceptions import SaltClientError

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "_utils"), str(ROOT / "setup")]

from saltern.cloud import formulas, loading, secrets  # noqa: E402
from saltern.run import code  # noqa: E402
from steps import keys, saltconfig  # noqa: E402
from steps.settings import Settings  # noqa: E402

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
CONTROLS = 3
# Hosts that make their first highstate at the same time: it is not measured.
_TOGETHER = 10
# Containers run nothing: what a host asks of services has a stand-in.
STAND_INS = {
    "database": '''"""The databases of services are all there."""


def present(service, patience=0):
    """Return that they are."""
    return True
''',
    "required": '''"""What a service requires answers."""


def missing(service):
    """Return that nothing is missing."""
    return {}
''',
}


class Bed:
    """The test bed: its hosts, its pillar, its commands and what they cost.

    :param hosts: How many hosts there are at most.
    :param seconds: How long a host may be silent (``saltern:silence``): all of them share this machine's
        processors.
    """

    def __init__(self, hosts: int, seconds: float = 60) -> None:
        self.names = [f"host{number:03d}" for number in range(1, hosts + 1)]
        self.running: list[str] = []
        # Sockets of daemons have paths of at most 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="saltern-scale-"))
        self._silence = seconds
        self._processes: dict[str, subprocess.Popen] = {}
        self._log = (self.folder / "daemons.log").open("w")

    def __enter__(self) -> Bed:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all processes and remove the folder."""
        # A second Ctrl-C must not leave anything behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for process in self._processes.values():
            if process.stdin:
                process.stdin.close()
        for name, process in self._processes.items():
            with contextlib.suppress(subprocess.TimeoutExpired, ProcessLookupError):
                if name != "master":
                    process.wait(20)
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    # -- the cloud -----------------------------------------------------------------------------

    def set_pillar(self, **services: dict[str, Any]) -> None:
        """Write the pillar of all running hosts: three control hosts, compute hosts for the rest."""
        controls = ["control", "network"]
        if len(self.running) <= CONTROLS:
            controls.append("compute")
        hosts = {
            name: {
                "address": f"10.1.{number // 250}.{number % 250 + 1}",
                "roles": controls if number < CONTROLS else ["compute"],
            }
            for number, name in enumerate(self.running)
        }
        # Moving addresses want an interface in the hosts' network, which this machine does not have.
        cloud_ = {
            "internal_address": "10.9.0.1",
            "hosts": hosts,
            "services": {"keepalived": {"enabled": False}},
        }
        data = {"saltern": cloud_, **services}
        (self.folder / "etc/pillar/cloud.sls").write_text(yaml.safe_dump(data, sort_keys=False))

    def grow(self, count: int) -> None:
        """Let the cloud have so many hosts, all of them as the pillar wants them."""
        new = self.names[len(self.running) : count]
        self.running = self.names[:count]
        self.set_pillar()
        for name in new:
            self._write(f"{self._home(name)}/docker.sock", "dockerd")
        self._until(lambda: all((self._home(name) / "docker.sock").exists() for name in new), 30)
        for name in new:
            self._write(str(self._home(name)), "minions")
        self._until(self._answer, 600)
        done: dict[str, Any] = {}
        for start in range(0, count, _TOGETHER):
            group = self.running[start : start + _TOGETHER]
            done |= self.job("state.highstate", group, seconds=3600)
        wrong = {host: _failed(one) for host, one in done.items() if _failed(one)}
        if wrong or len(done) < count:
            silent = sorted({*self.running} - {*done})
            sys.exit(f"highstate failed: {json.dumps(wrong, indent=1)[:3000]}\nsilent: {silent}")

    def job(self, fun: str, hosts: list[str], seconds: float) -> dict[str, Any]:
        """Run a function on hosts; return host to what it returned."""
        with salt.client.LocalClient(str(self._config / "master")) as client:
            return client.cmd(hosts, fun, (), seconds, "list")

    def command(self, *words: str) -> tuple[str, ...]:
        """Return a command line of salt-run with this master's configuration."""
        return (str(BIN / "salt-run"), "-c", str(self._config), *words)

    # -- what it costs -------------------------------------------------------------------------

    def cpu(self) -> dict[str, float]:
        """Return the CPU seconds that each kind of daemon has used, ended children included."""
        return {name: _cpu(process.pid) for name, process in self._processes.items()}

    def master_mb(self) -> float:
        """Return the proportional set size of the master's processes in MB (shared pages once)."""
        total = 0
        for process in _tree(self._processes["master"].pid):
            with contextlib.suppress(psutil.Error):
                total += process.memory_full_info().pss
        return round(total / 1e6, 1)

    # -- its parts -----------------------------------------------------------------------------

    @property
    def _config(self) -> Path:
        return self.folder / "etc/salt"

    def _home(self, name: str) -> Path:
        return self.folder / "h" / name

    def _start(self) -> None:
        ports = _free_ports()
        master = Settings(
            publish_port=ports[0],
            ret_port=ports[1],
            checkout=self.folder / "checkout",
            etc=self.folder / "etc",
            var=self.folder / "var",
            log=self.folder / "log",
            run=self.folder / "run",
        )
        catalog = write_master(master)
        _more(
            master, "master", auto_accept=True, saltern={**_roots(master), "silence": self._silence}
        )
        self._homes(master)
        self._spawn("master", str(BIN / "salt-master"), "-c", str(master.config_dir))
        pillar = {"saltern": {"hosts": {"a": {"address": "10.0.0.1", "roles": [*_roles(catalog)]}}}}
        names = [f"saltern/{one}:2026.2" for one in loading.load(pillar, catalog).images]
        (self.folder / "images.json").write_text(json.dumps(names))
        self._spawn(
            "dockerd", sys.executable, str(HERE / "dockerd.py"), str(self.folder / "images.json")
        )
        self._spawn("minions", sys.executable, str(HERE / "minions.py"))

    def _homes(self, master: Settings) -> None:
        """Make the minions' folders: configuration, keys, and the code, as ``saltutil.sync_all`` does."""
        finger = keys.own(master, "master")
        one_key = self.folder / "key"
        one_key.mkdir()
        # One key for all: making a hundred takes longer than all that is measured.
        salt.crypt.write_keys(str(one_key), "minion", keys.KEYSIZE)
        extensions = self.folder / "extmods"
        served = code.served([str(master.etc / "overrides"), str(master.checkout / "salt")])
        for name, path in served.items():
            (extensions / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, extensions / name)
        compileall.compile_dir(extensions, quiet=1)
        for name in self.names:
            home = self._home(name)
            minion = replace(
                master,
                id=name,
                etc=home / "etc",
                var=home / "var",
                log=home / "log",
                run=home / "run",
            )
            for place in (minion.config_dir, minion.log, minion.run):
                place.mkdir(parents=True)
            (minion.config_dir / "minion").write_text(saltconfig.render(minion, "minion", finger))
            saltern = {**_roots(minion), "bin": str(home), "prefix": "scale-"}
            _more(
                minion,
                "minion",
                saltern=saltern,
                auth_timeout=60,
                auth_tries=10,
                # The code is there already.
                autoload_dynamic_modules=False,
            )
            shutil.copytree(one_key, minion.config_dir / "pki/minion")
            shutil.copytree(extensions, minion.var / "cache/minion/extmods")

    def _answer(self) -> bool:
        try:
            # Salt prints that it knows no such minions, before they have come.
            with contextlib.redirect_stdout(self._log), contextlib.redirect_stderr(self._log):
                answers = self.job("test.ping", self.running, seconds=10)
            return list(answers.values()).count(True) == len(self.running)
        except SaltClientError:  # the master is still coming up
            return False

    def _spawn(self, name: str, *command: str) -> None:
        # Hosts keep the code that they have compiled, whatever the one who measures has set.
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        self._processes[name] = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            text=True,
            start_new_session=True,
            env=environment,
            # A shell starts background jobs with Ctrl-C ignored, and children would inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def _write(self, line: str, process: str) -> None:
        pipe = self._processes[process].stdin
        pipe.write(f"{line}\n")
        pipe.flush()

    def _until(self, condition: Callable[[], bool], seconds: float) -> None:
        end = time.monotonic() + seconds
        while not condition():
            for name, process in self._processes.items():
                if process.poll() is not None:
                    log = (self.folder / "daemons.log").read_text()[-3000:]
                    sys.exit(f"{name} has ended:\n{log}")
            if time.monotonic() > end:
                sys.exit(f"the test bed was not ready within {seconds:g} s")
            time.sleep(0.2)


def write_master(master: Settings) -> formulas.Catalog:
    """Write what a master needs but its pillar, as set-up and ``saltern.genpwd`` do; return its catalogue."""
    # A copy: figures must not change because somebody saves a file meanwhile.
    for name in ("salt", "formulas", "pillar"):
        ignored = shutil.ignore_patterns("__pycache__", "cloud.sls")
        shutil.copytree(ROOT / name, master.checkout / name, ignore=ignored)
    shutil.copytree(ROOT / "images/locks", master.checkout / "images/locks")
    for name in ("distros.yml", "releases.yml", "users.yml"):
        shutil.copy(ROOT / "images" / name, master.checkout / "images")
    for place in (master.etc / "pillar", master.etc / "overrides/_modules", master.log):
        place.mkdir(parents=True)
    for name, text in STAND_INS.items():
        (master.etc / f"overrides/_modules/{name}.py").write_text(text)
    catalog = formulas.load([master.checkout / "formulas"])
    stored, _ = secrets.fill(catalog, {})
    secrets.write(master.etc / "secrets.yml", stored)
    saltconfig.files(master)
    return catalog


def _failed(answer: Any) -> Any:
    """Return what of a highstate's answer is a failure: its states, or an answer that has none."""
    if not isinstance(answer, dict):
        return answer
    return [state for state in answer.values() if not state["result"]]


def _roots(settings: Settings) -> dict[str, str]:
    return {"etc": str(settings.etc), "var": str(settings.var)}


def _roles(catalog: formulas.Catalog) -> set[str]:
    return {role for formula in catalog.values() for role in formula.get("roles", [])}


def _more(settings: Settings, name: str, **options: Any) -> None:
    """Write what differs from set-up's configuration where operators write it."""
    folder = settings.config_dir / f"{name}.d"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scale.conf").write_text(yaml.safe_dump(options))


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


def _tree(pid: int) -> Iterator[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        yield process
        yield from process.children(recursive=True)


def _cpu(pid: int) -> float:
    total = 0.0
    for process in _tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total
