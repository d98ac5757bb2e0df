"""A Docker daemon of a test's own, as set-up runs it: it may crash without harm to what the machine's runs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import docker

from steps import docker as step
from steps import processes
from steps.settings import Settings


class Machine:
    """A daemon with everything under one folder, and set-up's settings for it.

    :param root: The folder; its name is short, as sockets lie in it.
    :param flags: Of its command line.
    """

    def __init__(self, root: Path, flags: tuple[str, ...] = ()) -> None:
        self.config = Settings(etc=root / "etc", var=root / "var", log=root / "log")
        self.file = root / "daemon.json"
        socket, run, data = root / "sock", root / "run", root / "data"
        places = {
            "config-file": self.file,
            "data-root": data,
            "exec-root": run / "docker",
            "pidfile": run / "docker.pid",
            "host": f"unix://{socket}",
        }
        # In a network of its own: without a bridge, a daemon removes the one that it finds, the machine's docker0.
        flags = (*(f"--{key}={value}" for key, value in places.items()), *flags)
        command = ("unshare", "--net", "dockerd", *flags)
        self.daemon = step.Daemon(self.file, str(socket), run, data, command)

    def set_up(self) -> str:
        """Run set-up's two steps; return what the second one says."""
        step.configure(self.config, self.daemon)
        return step.start(self.config, self.daemon).text

    def pid(self) -> int:
        """Return the daemon's process id."""
        return step.ours(self.config)[0]

    def crash(self) -> None:
        """Kill the daemon; its containerd dies with it."""
        pid = self.pid()
        os.kill(pid, signal.SIGKILL)
        assert processes.wait(lambda: pid not in processes.find("dockerd"), 20)

    @property
    def url(self) -> str:
        """The daemon's address, as in ``DOCKER_HOST``."""
        return f"unix://{self.daemon.socket}"

    def end(self) -> None:
        """Stop the daemon and all that it ran."""
        with contextlib.suppress(docker.errors.DockerException):
            api = docker.APIClient(self.url)
            for one in api.containers(all=True):
                api.remove_container(one["Id"], force=True)
        processes.stop(lambda: step.ours(self.config))
        # What a killed daemon has mounted stays.
        mounted = [
            line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()
        ]
        for place in reversed(mounted):
            if Path(place).is_relative_to(self.file.parent):
                subprocess.run(["umount", "--lazy", place], check=True)
