"""The virtualenv `.venv`, from the locks."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from steps import Outcome, SetupError
from steps.settings import Settings, write

LOCKS = ("requirements.txt", "requirements-dev.txt")


def stamp(config: Settings) -> str:
    """What the virtualenv was made from: both locks, and the Python under it."""
    digest = hashlib.sha256(f"{sys.version}\0{os.path.realpath(sys.executable)}".encode())
    for lock in LOCKS:
        digest.update((config.checkout / lock).read_bytes())
    return digest.hexdigest()


def build(config: Settings) -> Outcome:
    """Make the virtualenv unless it was made from these locks and this Python already."""
    place = config.virtualenv
    made_from = place / "saltern.stamp"
    wanted = stamp(config)
    python = f"Python {sys.version.split()[0]} ({sys.executable})"
    if made_from.exists() and made_from.read_text() == wanted:
        return Outcome(f"{python}, as locked")
    # A half-made or outdated one is made anew: seconds, and nothing left over from older locks.
    shutil.rmtree(place, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(place)])
    locks = [word for lock in LOCKS for word in ("-r", str(config.checkout / lock))]
    _run([str(place / "bin" / "pip"), "install", "--quiet", "--no-deps", *locks])
    write(made_from, wanted, 0o644)
    return Outcome(f"{python}, {_count(config.checkout)} packages installed", changed=True)


def _count(checkout: Path) -> int:
    return sum((checkout / lock).read_text().count("==") for lock in LOCKS)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise SetupError(f"{' '.join(command)} failed:\n{last}")
