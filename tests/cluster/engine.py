"""What the test bed needs of this machine's Docker: containers that are hosts, volumes, a network."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import docker.errors

from saltern.containers import dockerapi
from saltern.containers.engine import Engine
from saltern.containers.fields import CAPABILITIES
from saltern.errors import SalternError

LABEL = "saltern.bed"
SPEC = "saltern.bed.spec"
# A host may do with itself what it likes, but not set the machine's clock or load modules into its kernel.
_NEVER = {"SYS_MODULE", "SYS_TIME"}
_PRIVATE = ("/root/.ssh", "/etc/saltern")


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"exit code {self.code}\n{self.out}\n{self.err}"


class Machine:
    """This machine's Docker, as far as it holds one test bed.

    :param name: The bed's name: prefix of all names and value of the label.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.api = docker.APIClient(version="auto", timeout=600)

    def ensure_network(self, subnet: str) -> bool:
        """Make the bed's network; return whether it was missing."""
        _route(subnet)
        if self.api.networks(names=[f"^{self.name}$"]):
            return False
        pool = docker.types.IPAMPool(subnet=subnet)
        self.api.create_network(
            self.name,
            driver="bridge",
            ipam=docker.types.IPAMConfig(pool_configs=[pool]),
            labels={LABEL: self.name},
        )
        return True

    def ensure(
        self, name: str, address: str, body: Mapping[str, Any], volumes: Sequence[str]
    ) -> str:
        """Make a container run as wanted; one made otherwise is made anew, its data gone.

        :param name: Without the bed's name.
        :param volumes: Its volumes, without the bed's name.
        :returns: What was done, or is to be known of it; nothing (empty) if it is as it should be.
        """
        full = self.full(name)
        image = self.image_id(body["Image"])
        wanted = hashlib.sha256(json.dumps([body, address], sort_keys=True).encode()).hexdigest()
        there = self.inspect(name)
        if there and there["Config"]["Labels"].get(SPEC) != wanted:
            self.remove([full], [self.full(one) for one in volumes])
            there = None
        if not there:
            for volume in volumes:
                self.api.create_volume(self.full(volume), labels={LABEL: self.name})
            endpoint = {"IPAMConfig": {"IPv4Address": address}}
            more = {
                "Labels": {LABEL: self.name, SPEC: wanted},
                "NetworkingConfig": {"EndpointsConfig": {self.name: endpoint}},
            }
            self.api.create_container_from_config({**body, **more}, full)
            self.api.start(full)
            return "created"
        if there["State"]["Paused"]:
            self.api.unpause(full)
            return "started"
        if not there["State"]["Running"]:
            self.api.start(full)
            return "started"
        # Its data may be worth more than a new image.
        return "" if there["Image"] == image else "has an older image (cluster-down ends that)"

    def image_id(self, image: str) -> str:
        """Return an image's id.

        :raises SalternError: It is not here.
        """
        try:
            return self.api.inspect_image(image)["Id"]
        except docker.errors.ImageNotFound as error:
            name = image.rpartition("/")[2].partition(":")[0]
            raise SalternError(f"{image} is not here: salt-run image.build {name}") from error

    def inspect(self, name: str) -> dict[str, Any] | None:
        """Return all of a container, None if there is none."""
        try:
            return self.api.inspect_container(self.full(name))
        except docker.errors.NotFound:
            return None

    def full(self, name: str) -> str:
        """Return the name by which this machine's Docker knows a container or volume of the bed."""
        return f"{self.name}-{name}"

    def run(self, name: str, command: Sequence[str], stdin: str | None = None) -> Done:
        """Run a command in a container and wait for its end."""
        data = None if stdin is None else stdin.encode()
        done = Engine().execute(self.full(name), list(command), stdin=data, timeout=3600)
        if done.retcode is None:
            raise SalternError(f"{name}: the end of {' '.join(command)} was not seen")
        return Done(done.retcode, done.stdout, done.stderr)

    def put(self, name: str, files: Mapping[str, str]) -> bool:
        """Write files into a container, path to text; return whether any differed.

        What lies in a private place is for root alone.
        """
        listing = "".join(f"{_digest(text)}  {path}\n" for path, text in files.items())
        if self.run(name, ["sha256sum", "--check", "--status"], listing).code == 0:
            return False
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for parent in sorted({Path(path).parent for path in files}):
                entry = tarfile.TarInfo(str(parent).lstrip("/"))
                entry.type, entry.mode = tarfile.DIRTYPE, _mode(parent)
                entry.mtime = int(time.time())
                archive.addfile(entry)
            for path, text in files.items():
                entry = tarfile.TarInfo(path.lstrip("/"))
                entry.size, entry.mode = len(text.encode()), _mode(Path(path).parent) & 0o666
                entry.mtime = int(time.time())
                archive.addfile(entry, io.BytesIO(text.encode()))
        self.api.put_archive(self.full(name), "/", buffer.getvalue())
        return True

    def containers(self) -> list[dict[str, Any]]:
        """Return the bed's containers as Docker lists them."""
        return self.api.containers(all=True, filters={"label": f"{LABEL}={self.name}"})

    def remove(self, containers: Sequence[str], volumes: Sequence[str]) -> None:
        """Kill and remove containers, and remove volumes with what they hold."""
        for one in containers:
            self.api.remove_container(one, force=True, v=True)
        for one in volumes:
            self.api.remove_volume(one)

    def clear(self) -> list[str]:
        """Remove everything of the bed; return the names of what there was."""
        mine = {"label": f"{LABEL}={self.name}"}
        containers = [one["Names"][0].lstrip("/") for one in self.containers()]
        volumes = [one["Name"] for one in self.api.volumes(filters=mine)["Volumes"] or []]
        networks = [one["Name"] for one in self.api.networks(filters=mine)]
        self.remove(containers, volumes)
        for one in self.api.networks(names=networks) if networks else ():
            subnet = one["IPAM"]["Config"][0]["Subnet"]
            subprocess.run(_nat("-D", subnet), check=False, capture_output=True)
        for one in networks:
            self.api.remove_network(one)
        return [*containers, *volumes, *networks]


def _route(subnet: str) -> None:
    """Let the bed's hosts reach what this machine reaches, where Docker leaves the network alone."""
    rules = subprocess.check_output(["iptables", "-w", "-t", "nat", "-S", "POSTROUTING"], text=True)
    if subnet not in rules:
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        subprocess.run(_nat("-A", subnet), check=True)


def _nat(action: str, subnet: str) -> list[str]:
    rule = f"POSTROUTING -s {subnet} ! -d {subnet} -j MASQUERADE"
    return ["iptables", "-w", "-t", "nat", action, *rule.split()]


def host(name: str, image: str, docker_volume: str, mounts: Sequence[str] = ()) -> dict[str, Any]:
    """Return the body of a container that is a host: its own systemd, devices and Docker.

    :param docker_volume: Full name of the volume for its Docker.
    """
    bounding = dockerapi.bounding_set(Path("/proc/self/status").read_text())
    missing = {one for bit, one in enumerate(CAPABILITIES) if not bounding >> bit & 1}
    devices = [one for one in ("/dev/net/tun", "/dev/kvm") if Path(one).exists()]
    return {
        "Image": image,
        "Hostname": name,
        "StopTimeout": 120,
        "HostConfig": {
            "CapAdd": ["ALL"],
            "CapDrop": sorted(missing | _NEVER),
            "CgroupnsMode": "private",
            "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined"],
            "MaskedPaths": [],
            "ReadonlyPaths": [],
            "DeviceCgroupRules": ["a *:* rwm"],
            "Devices": [
                {"PathOnHost": one, "PathInContainer": one, "CgroupPermissions": "rwm"}
                for one in devices
            ],
            "Tmpfs": {"/run": "", "/run/lock": "", "/tmp": "exec"},
            "Binds": [f"{docker_volume}:/var/lib/docker", *mounts],
        },
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _mode(folder: Path) -> int:
    return 0o700 if str(folder).startswith(_PRIVATE) else 0o755
