"""Keys of the master and of this host's own minion; runs on the virtualenv's Python.

`salt-key --gen-keys` of 3008.3 writes the keys and then dies with a traceback, so keys are made with
the functions under it.
"""

from __future__ import annotations

import sys

import salt.config
import salt.crypt
import salt.key

from steps import Outcome, SetupError
from steps.settings import CHECKOUT, Settings

sys.path.insert(0, str(CHECKOUT / "_utils"))

from saltern import minionkeys
from saltern.errors import SalternError

# As in master.conf and minion.conf. Salt 3008 reads a minion's private key anew for every message:
# 35 ms with 2048 bits, 107 with 3072, 256 with 4096.
KEYSIZE = 2048


def own(config: Settings, role: str) -> str:
    """The fingerprint of the master's or minion's own key, which is made if there is none."""
    place = config.config_dir / "pki" / role
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (place / f"{role}.pem").exists():
        salt.crypt.write_keys(str(place), role, KEYSIZE)
    return minionkeys.finger((place / f"{role}.pub").read_text())


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
