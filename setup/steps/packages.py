"""Debian packages, installed only when what they bring is missing."""

from __future__ import annotations

import os
import shutil
import subprocess

from steps import Outcome, SetupError
from steps.settings import Settings

# package -> what of it set-up, images and prechecks use. Looked up by file, so that another
# packaging of the same thing (docker-ce) is left alone.
WANTED = {
    "docker.io": "dockerd",
    "debootstrap": "debootstrap",
    "iptables": "iptables",
    "iproute2": "ip",
    "ca-certificates": "update-ca-certificates",
    "openssh-client": "ssh",
}
# Looked for once those are there: Debian 12's docker.io brings the client, Debian 13's does not.
THEN = {"docker-cli": "docker"}
SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def install(config: Settings) -> Outcome:
    """Install what is missing."""
    installed: list[str] = []
    for wanted in (WANTED, THEN):
        missing = [name for name, tool in wanted.items() if not shutil.which(tool, path=SEARCH)]
        if not missing:
            continue
        if not shutil.which("apt-get"):
            raise SetupError(
                f"{', '.join(missing)} missing and no apt-get here: "
                "set-up works on Debian 12 and 13 (and their relatives)"
            )
        if not installed:
            apt(config, "update")
        apt(config, "install", "--no-install-recommends", *missing)
        installed += missing
    if installed:
        return Outcome(f"installed: {', '.join(installed)}", changed=True)
    return Outcome(f"present: {', '.join(WANTED)}")


def apt(config: Settings, *arguments: str) -> None:
    """Run apt-get without questions; what it says goes to a log file.

    Raises:
        SetupError: apt-get failed; the message ends with its last lines.
    """
    config.log.mkdir(parents=True, exist_ok=True, mode=0o750)
    log = config.log / "apt.log"
    command = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=120", *arguments]
    with log.open("a") as out:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            check=False,
        )
    if done.returncode:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise SetupError(f"{' '.join(command)} failed (all of it in {log}):\n{last}")
