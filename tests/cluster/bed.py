"""The test bed: real hosts on one machine, with faults to order. docs/cluster.md is its manual."""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from saltern.cloud import formulas, model
from saltern.cloud import loading as clouds
from saltern.errors import SalternError
from saltern.images.options import Options
from saltern.images.workshop import Workshop
from saltern.service import merge
from steps import code, saltconfig
from steps.settings import Settings

from .engine import Done, Machine, host

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = Path(__file__).with_name("cluster.yml")
CHECKOUT = "/srv/saltern"  # where the master has this checkout
VENV = "/opt/saltern/venv"
KEY = "/root/.ssh/id_ed25519"
PILLAR = "/etc/saltern/pillar/cloud.sls"
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
PATIENCE = 120  # seconds for a host to boot


class Bed:
    """The test bed of a cluster file.

    :param file: A pillar with the key ``bed``, see cluster.yml; default: ``$CLUSTER`` or that one.
    """

    def __init__(self, file: str | Path | None = None) -> None:
        self.file = Path(file or os.environ.get("CLUSTER") or CLUSTER)
        data = yaml.safe_load(self.file.read_text())
        self.settings = data.pop("bed")
        self.hosts: dict[str, dict[str, Any]] = data["saltern"]["hosts"]
        self.machine = Machine(self.settings["name"])
        addresses = ipaddress.ip_network(self.settings["network"])
        self.registry, self.master = f"{addresses[2]}:5000", str(addresses[3])
        # Docker trusts loopback without TLS.
        self.local_registry = f"127.0.0.1:{self.settings['push_port']}"
        self._pillar = data
        self.virtual_address: str = data["saltern"]["internal_address"]

    # -- up, down, status ----------------------------------------------------------------------

    def up(
        self, bootstrap: bool = True, images: bool = True, show: Callable[[str], None] = print
    ) -> None:
        """Bring the bed up, or repair it; where nothing is missing, nothing is touched.

        :param bootstrap: Prepare the hosts, too (``orch.bootstrap_servers``).
        :param images: Push this machine's images to the registry.
        :param show: Gets a line a step.
        """
        steps: list[tuple[str, Callable[[], str]]] = [
            ("Network", self._network),
            ("Registry", self._registry),
            ("Hosts", self._hosts),
            ("Salt master", self._master),
            ("Pillar", self._fill_pillar),
            ("SSH", self._ssh),
        ]
        if images:
            steps.append(("Images", self._push))
        if bootstrap:
            steps.append(("Bootstrap", self._bootstrap))
        began = time.monotonic()
        for title, step in steps:
            since = time.monotonic()
            text = step()
            show(f"  {title:<12} {text}  ({time.monotonic() - since:.1f} s)")
        show(f"Test bed {self.machine.name} is up after {time.monotonic() - began:.1f} s.")

    def down(self) -> list[str]:
        """Remove all of the bed, and nothing else; return the names of what there was."""
        return self.machine.clear()

    def status(self) -> list[dict[str, str]]:
        """Return the bed's containers: name, address, state, memory in MB."""
        rows = []
        for one in sorted(self.machine.containers(), key=lambda one: one["Names"]):
            name = one["Names"][0].lstrip("/")
            network = one["NetworkSettings"]["Networks"].get(self.machine.name, {})
            used = 0
            if one["State"] == "running":
                memory = self.machine.api.stats(name, stream=False, one_shot=True)["memory_stats"]
                used = memory["usage"] - memory["stats"].get("total_inactive_file", 0)
            rows.append(
                {
                    "name": name.removeprefix(f"{self.machine.name}-"),
                    "address": network.get("IPAddress", ""),
                    "state": one["Status"],
                    "memory": f"{used / 1e6:.0f} MB",
                }
            )
        return rows

    # -- using it ------------------------------------------------------------------------------

    def run(self, name: str, *command: str, stdin: str | None = None, check: bool = True) -> Done:
        """Run a command on a host of the bed, or on ``master``.

        :param check: A failure is an assertion error with all that the command said.
        """
        done = self.machine.run(name, command, stdin)
        assert not check or done.code == 0, f"{name}: {' '.join(command)}\n{done}"
        return done

    def salt(self, program: str, *arguments: str, check: bool = True) -> Done:
        """Run one of Salt's commands on the master, as an operator in the checkout."""
        return self.run("master", "sh", "-c", f'cd {CHECKOUT} && exec "$@"', "sh",
                        f"{VENV}/bin/{program}", *arguments, check=check)  # fmt: skip

    def orch(self, name: str, *, check: bool = True, **pillar: Any) -> Done:
        """Run an orchestration on the master; keywords are its ``pillar=``."""
        extra = [f"pillar={json.dumps(pillar)}"] if pillar else []
        return self.salt("salt-run", "state.orchestrate", f"orch.{name}", *extra, check=check)

    def answers(self, host: str, function: str, *arguments: str) -> Any:
        """Return what an execution function says on a host."""
        said = self.salt("salt", "--out=json", "--static", host, function, *arguments)
        return json.loads(said.out)[host]

    @contextlib.contextmanager
    def pillar(self, changes: Mapping[str, Any]) -> Iterator[None]:
        """Merge something into the master's pillar, and take it away again; null removes a key."""
        before = self.run("master", "cat", PILLAR).out
        data = merge.merge(yaml.safe_load(before), dict(changes))
        self.machine.put("master", {PILLAR: yaml.safe_dump(data, sort_keys=False)})
        try:
            yield
        finally:
            self.machine.put("master", {PILLAR: before})

    def wanted(self) -> model.Cloud:
        """Return the cloud that the pillar describes.

        :raises SalternError: It is wrong.
        """
        catalog = formulas.load([ROOT / "formulas"])
        wanted = clouds.load(self._pillar, catalog, clouds.releases(ROOT / "images"))
        if wanted.problems:
            raise SalternError("\n".join(map(str, wanted.problems)))
        return wanted

    def push(self, *names: str) -> None:
        """Push images of this machine to the registry: names of folders below images/."""
        release = self.wanted().settings["release"]
        options = Options(release=release, registry=self.local_registry)
        Workshop(ROOT / "images", options).push(names)

    # -- faults --------------------------------------------------------------------------------

    def kill(self, host: str) -> None:
        """Take a host's power away. Its containers come back with it, by their restart policy."""
        self.machine.api.kill(self.machine.full(host), signal.SIGKILL)

    def start(self, host: str) -> None:
        """Start a host that was killed or stopped, and wait until it has booted."""
        self.machine.api.start(self.machine.full(host))
        self._booted(host)

    def restart(self, host: str) -> None:
        """Reboot a host cleanly, and wait until it has booted."""
        self.machine.api.stop(self.machine.full(host), timeout=PATIENCE)
        self.start(host)

    def pause(self, host: str) -> None:
        """Freeze a host: its connections stay open and nobody answers. :meth:`heal` ends it."""
        self.machine.api.pause(self.machine.full(host))

    def cut_off(self, host: str, *others: str) -> None:
        """Pull a host's network cable; with ``others``, only what it sends to and gets from these is lost."""
        if not others:
            self._cable(host, "down")
        for address in (self.hosts[other]["address"] for other in others):
            for chain, option in (("INPUT", "-s"), ("OUTPUT", "-d")):
                self.run(host, "iptables", "-w", "-I", chain, option, address, "-j", "DROP")

    def heal(self, host: str) -> None:
        """End :meth:`pause` and :meth:`cut_off`."""
        if (self.machine.inspect(host) or {})["State"]["Paused"]:
            self.machine.api.unpause(self.machine.full(host))
        self._cable(host, "up")
        for chain in ("INPUT", "OUTPUT"):
            for rule in self.run(host, "iptables", "-w", "-S", chain).out.splitlines():
                if re.fullmatch(rf"-A {chain} -[sd] \S+ -j DROP", rule):
                    self.run(host, "iptables", "-w", *rule.replace("-A", "-D", 1).split())

    def crash(self, process: str, *hosts: str, by: signal.Signals = signal.SIGKILL) -> int:
        """Kill all processes of a name on some hosts in one blow, as in a power cut; return how many.

        Restart policies act on that. They would not after `docker kill`, which counts as a wish to stop.

        :param by: SIGSTOP freezes them instead, SIGCONT wakes them up.
        """
        ids = [(self.machine.inspect(host) or {})["Id"] for host in hosts]
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                named = (folder / "comm").read_text().strip() == process[:15]
                if named and any(one in (folder / "cgroup").read_text() for one in ids):
                    found.append(int(folder.name))
        for pid in found:
            os.kill(pid, by)
        return len(found)

    def _cable(self, host: str, state: str) -> None:
        # This machine's end of the pair: the host keeps its addresses and routes, as with a real cable.
        index = self.run(host, "cat", "/sys/class/net/eth0/iflink").out.strip()
        links = json.loads(subprocess.check_output(["ip", "-json", "link", "show", "type", "veth"]))
        name = next(link["ifname"] for link in links if link["ifindex"] == int(index))
        subprocess.run(["ip", "link", "set", name, state], check=True)

    # -- steps ---------------------------------------------------------------------------------

    def _network(self) -> str:
        made = self.machine.ensure_network(self.settings["network"])
        return f"{self.settings['network']}{' made' if made else ''}"

    def _registry(self) -> str:
        port = {"5000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(self.settings["push_port"])}]}
        body = {
            "Image": _image("registry"),
            "ExposedPorts": {"5000/tcp": {}},
            "HostConfig": {
                "Binds": [f"{self.machine.full('registry')}:/var/lib/registry"],
                "PortBindings": port,
                "CapDrop": ["ALL"],
                "ReadonlyRootfs": True,
            },
        }
        address = self.registry.partition(":")[0]
        done = self.machine.ensure("registry", address, body, ["registry"])
        return f"{self.registry} {done or 'runs'}, for this machine {self.local_registry}"

    def _hosts(self) -> str:
        done = [self._ensure_host("master", self.master, mounts=[f"{ROOT}:{CHECKOUT}:ro"])]
        done += [self._ensure_host(name, one["address"]) for name, one in self.hosts.items()]
        for name in ("master", *self.hosts):
            self._booted(name)
        changed = [one for one in done if one]
        return f"{len(self.hosts)} and a master, {', '.join(changed) or 'all run'}"

    def _ensure_host(self, name: str, address: str, mounts: Sequence[str] = ()) -> str:
        bare = name in self.settings.get("bare", [])
        image = _image("testbed-bare" if bare else "testbed-host")
        volume = f"{name}-docker"
        # As any machine of a company has its CA.
        bundle = [f"{BUNDLE}:{BUNDLE}:ro"] if BUNDLE.exists() else []
        body = host(name, image, self.machine.full(volume), [*mounts, *bundle])
        done = self.machine.ensure(name, address, body, [volume])
        return f"{name} {done}" if done else ""

    def _booted(self, name: str) -> None:
        end = time.monotonic() + PATIENCE
        while True:
            # systemd's bus is there a moment after systemd; from then on it is systemd that waits.
            state = self.run(name, "systemctl", "is-system-running", "--wait", check=False)
            if state.out.strip() in ("running", "degraded"):
                return
            if time.monotonic() > end:
                raise SalternError(
                    f"{name} does not boot: docker exec {self.machine.full(name)} journalctl"
                )
            time.sleep(0.2)

    def _master(self) -> str:
        settings = Settings(address=self.master, checkout=Path(CHECKOUT))
        program = f"{VENV}/bin/salt-master"
        unit = {"role": "master", "program": program, "config_dir": settings.config_dir}
        files = {
            "/etc/saltern/salt/master": saltconfig.render(settings, "master"),
            "/etc/systemd/system/saltern-master.service": saltconfig.fill("salt.service", unit),
            # A master keeps the code that it once imported.
            "/etc/saltern/code.stamp": code.digest(Settings(checkout=ROOT)),
            "/etc/profile.d/saltern.sh": f"export PATH={VENV}/bin:$PATH; cd {CHECKOUT}\n",
        }
        changed = self.machine.put("master", files)
        if changed:
            self.run("master", "mkdir", "-p", "/var/lib/saltern", "/var/log/saltern")
            self.run("master", "systemctl", "daemon-reload")
            self.run("master", "systemctl", "enable", "saltern-master")
        # Type=notify: this returns when it answers.
        self.run("master", "systemctl", "restart" if changed else "start", "saltern-master")
        self.run("master", "systemctl", "is-active", "saltern-master")
        return f"{self.master} {'started' if changed else 'runs'}, checkout in {CHECKOUT}"

    def _fill_pillar(self) -> str:
        registry = {"images": {"registry": self.registry}}
        trust = {"bootstrap": {"insecure_registries": [self.registry]}}
        ssh = {"hosts": {name: {"ssh": {"priv": KEY}} for name in self.hosts}}
        # What tests break, they or an orchestration mend; remediation would be faster than their looks.
        alone = {"remediation": {"enabled": False}}
        data = merge.merge({"saltern": {**registry, **trust, **alone}}, self._pillar)
        data = merge.merge(data, {"saltern": ssh})
        text = yaml.safe_dump(data, sort_keys=False)
        changed = self.machine.put("master", {PILLAR: text})
        self.salt("salt-run", "saltern.genpwd")
        return f"{PILLAR}{' written' if changed else ''}"

    def _ssh(self) -> str:
        """Let the master in: its key on every host, every host's key in its known_hosts."""
        make = f"test -e {KEY} || ssh-keygen -q -t ed25519 -N '' -C saltern-bed -f {KEY}; cat {KEY}.pub"
        self.run("master", "mkdir", "-p", "-m", "700", "/root/.ssh")
        public = self.run("master", "sh", "-c", make).out
        known = ""
        for name, one in self.hosts.items():
            self.machine.put(name, {"/root/.ssh/authorized_keys": public})
            own = self.run(name, "cat", "/etc/ssh/ssh_host_ed25519_key.pub").out.split()
            known += f"{one['address']} {own[0]} {own[1]}\n"
        self.machine.put("master", {"/root/.ssh/known_hosts": known})
        return f"the master's key is on {len(self.hosts)} hosts, and theirs are known"

    def _push(self) -> str:
        wanted = self.wanted()
        here = Workshop(ROOT / "images", Options(release=wanted.settings["release"]))
        built = {tag for one in self.machine.api.images() for tag in one["RepoTags"] or ()}
        names = [one for one in wanted.images if here.name(one) in built]
        missing = sorted(set(wanted.images) - set(names))
        if names:
            self.push(*names)
        note = f"; not built: {', '.join(missing)}" if missing else ""
        return f"{len(names)} in the registry{note}"

    def _bootstrap(self) -> str:
        ids = [(self.machine.inspect(name) or {})["Id"] for name in ("master", *self.hosts)]
        files = sorted(one for one in (ROOT / "salt/bootstrap").rglob("*") if one.is_file())
        stamp = "\n".join([*ids, self.run("master", "cat", PILLAR).out, *map(_digest, files)])
        # Half a minute of both processors, which a bed that is as it was can do without.
        if not self.machine.put("master", {"/etc/saltern/bootstrap.stamp": stamp}):
            return "hosts are prepared"
        done = self.orch("bootstrap_servers", check=False)
        if done.code:
            self.run("master", "rm", "/etc/saltern/bootstrap.stamp")
            raise SalternError(f"orch.bootstrap_servers failed:\n{done.err[-4000:]}")
        return "hosts prepared, their minions answer"


def _image(name: str) -> str:
    return Workshop(ROOT / "images", Options()).name(name)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
