"""Keys of the master and of this host's own minion; runs on the virtualenv's Python.

`salt-key --gen-keys` of 3008.3 writes the keys and then dies with a traceback, so keys are made with
the functions under it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import salt.config
import salt.crypt
import salt.key

from saltern import files
from saltern.bootstrap import minionkeys
from saltern.errors import SalternError
from steps import Outcome, SetupError
from steps.settings import Settings

# As in master.conf and minion.conf. Salt 3008 reads a minion's private key anew for every message:
# 35 ms with 2048 bits, 107 with 3072, 256 with 4096.
KEYSIZE = 2048


def own(config: Settings, role: str) -> str:
    """The fingerprint of the master's or minion's own key, which is made if there is none.

    Raises:
        SetupError: there is one, and it is damaged.
    """
    place = config.config_dir / "pki" / role
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (place / f"{role}.pem").exists():
        _make(place, role)
    for path in (place / f"{role}.pem", place / f"{role}.pub"):
        if not path.exists() or "-----END" not in path.read_text(errors="replace"):
            others = "; every host must then be prepared again" if role == "master" else ""
            raise SetupError(
                f"{path} is damaged: put {role}.pem and {role}.pub back from a backup of {place}, or remove "
                f"both and set up again, for a new key{others}"
            )
    return minionkeys.finger((place / f"{role}.pub").read_text())


def _make(place: Path, role: str) -> None:
    """Make a pair of keys: a crash leaves none or both, as the private one is named last."""
    with tempfile.TemporaryDirectory(dir=place, prefix=".new") as new:
        salt.crypt.write_keys(new, role, KEYSIZE)
        for name, mode in ((f"{role}.pub", 0o644), (f"{role}.pem", 0o400)):
            files.write(place / name, Path(new, name).read_text(), mode)


def accept(config: Settings) -> Outcome:
    """Accept this host's minion, and it alone, if its key is the one that lies on this host.

    Raises:
        SetupError: the master knows another key under that id.
    """
    short = f"sha256 {own(config, 'minion')[:17]}..."
    public = (config.config_dir / "pki/minion/minion.pub").read_text()
    with salt.key.get_key(salt.config.master_config(str(config.config_dir / "master"))) as master:
        try:
            changed = minionkeys.accept(master, config.id, public)
        except SalternError as error:
            raise SetupError(
                f"{error} (of .venv/bin), then set up again; else choose another ID="
            ) from error
    done = "accepted by fingerprint" if changed else "accepted"
    return Outcome(f"{config.id} {done}, {short}", changed)
