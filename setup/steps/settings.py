"""What set-up may be told, and where things lie."""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from saltern import files, paths
from steps import CHECKOUT, SetupError

# name of the field -> the variable of `make` that sets it
TOLD = {
    "address": "ADDRESS",
    "id": "ID",
    "publish_port": "PUBLISH_PORT",
    "ret_port": "RET_PORT",
}


@dataclass(frozen=True)
class Settings:
    """All that differs between one set-up and another.

    What the operator told once (address, id, ports) is kept in ``<etc>/setup.json``, so that a later
    `make deploy` without arguments does not move the master back to loopback.
    """

    address: str = "127.0.0.1"
    id: str = "aio"
    publish_port: int = 4505
    ret_port: int = 4506
    checkout: Path = CHECKOUT
    etc: Path = Path(paths.ETC)
    var: Path = Path(paths.VAR)
    log: Path = Path(paths.LOG)
    run: Path = Path(paths.RUN)

    @property
    def config_dir(self) -> Path:
        """Salt's configuration directory (the Saltfile names it)."""
        return self.etc / "salt"

    @property
    def virtualenv(self) -> Path:
        """The virtualenv everything runs on."""
        return self.checkout / ".venv"

    @property
    def stamps(self) -> Path:
        """Where set-up notes what it has done, for its next run."""
        return self.var / "setup"

    @property
    def master_address(self) -> str:
        """Where this host's own minion finds the master."""
        return "127.0.0.1" if self.address == "0.0.0.0" else self.address

    def save(self) -> None:
        """Keep what the operator told."""
        told = {name: value for name, value in asdict(self).items() if name in TOLD}
        write(self.etc / "setup.json", json.dumps(told, indent=2) + "\n", 0o640)


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings: variables given now, else those given last time, else the defaults.

    Raises:
        SetupError: a value cannot be used.
    """
    roots = {
        name: Path(environ[f"SALTERN_{name.upper()}"])
        for name in ("etc", "var", "log", "run")
        if environ.get(f"SALTERN_{name.upper()}")
    }
    kept = _kept(Settings(**roots).etc / "setup.json")
    for name, variable in TOLD.items():
        if value := environ.get(f"SALTERN_{variable}"):
            kept[name] = value
    return Settings(**roots, **_checked(kept))


def _kept(path: Path) -> dict[str, str | int]:
    """What the operator told once; nothing if that was never."""
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        found = None
    if not isinstance(found, dict) or not found.keys() <= TOLD.keys():
        given = " ".join(f"{variable}=..." for variable in TOLD.values())
        raise SetupError(
            f"{path} is damaged (a power cut, or an edit by hand): remove it and give again what differs "
            f"from the defaults: rm {path} && make setup {given}"
        )
    return found


def _checked(values: dict[str, str | int]) -> dict[str, str | int]:
    for name in ("publish_port", "ret_port"):
        if name in values:
            if not str(values[name]).isdigit() or not 0 < int(values[name]) < 65536:
                raise SetupError(f"{TOLD[name]}={values[name]} is not a port: give 1 to 65535")
            values[name] = int(values[name])
    if "address" in values:
        try:
            ipaddress.ip_address(values["address"])
        except ValueError:
            raise SetupError(
                f"ADDRESS={values['address']} is not an IP address: give one of this host's own"
            ) from None
    if "id" in values and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", str(values["id"])):
        raise SetupError(f"ID={values['id']} is no minion id: letters, digits, '.', '_' and '-'")
    return values


def write(path: Path, text: str, mode: int) -> bool:
    """Write a file if its text differs; a crash leaves the old one or the new one.

    Returns:
        Whether it was written.
    """
    if path.exists() and path.read_text() == text and path.stat().st_mode & 0o777 == mode:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, text, mode)
    return True
