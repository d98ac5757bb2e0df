"""Keys of the master and of this host's own minion; runs on the virtualenv's Python.

`salt-key --gen-keys` of 3008.3 writes the keys and then dies with a traceback, so keys are made with
the functions under it.
"""

from __future__ import annotations

from pathlib import Path

import salt.config
import salt.crypt
import salt.key
import salt.utils.crypt

from steps import Outcome, SetupError
from steps.settings import Settings

KEYSIZE = 3072  # as in master.conf and minion.conf


def own(config: Settings, role: str) -> str:
    """The fingerprint of the master's or minion's own key, which is made if there is none."""
    place = config.config_dir / "pki" / role
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (place / f"{role}.pem").exists():
        salt.crypt.write_keys(str(place), role, KEYSIZE)
    return finger(place / f"{role}.pub")


def finger(public_key: Path) -> str:
    """SHA-256 fingerprint of a public key file, as `salt-key --finger` shows it."""
    return salt.utils.crypt.pem_finger(path=str(public_key), sum_type="sha256")


def accept(config: Settings) -> Outcome:
    """Accept this host's minion, and it alone, if its key is the one that lies on this host.

    Raises:
        SetupError: the master knows another key under that id.
    """
    wanted = own(config, "minion")
    with salt.key.get_key(salt.config.master_config(str(config.config_dir / "master"))) as master:
        state, known = _known(master, config.id)
        if state == "accepted" and known == wanted:
            return Outcome(f"{config.id} accepted, {_short(wanted)}")
        if not known:
            public = (config.config_dir / "pki/minion/minion.pub").read_text()
            master.cache.store("keys", config.id, {"state": "pending", "pub": public})
            state, known = _known(master, config.id)
        if known != wanted or state != "pending":
            raise SetupError(
                f"the master has the key of another minion '{config.id}' ({state}, {known}); "
                f"this host's is {wanted}.\nIf the other is obsolete: "
                f".venv/bin/salt-key -d {config.id}, then set up again; else choose another ID="
            )
        master.accept(match_dict={"minions_pre": [config.id]})
        if _known(master, config.id) != ("accepted", wanted):
            raise SetupError(f"the key of '{config.id}' was not accepted: see `salt-key -L`")
    return Outcome(f"{config.id} accepted by fingerprint, {_short(wanted)}", changed=True)


def _known(master: salt.key.Key, minion: str) -> tuple[str, str]:
    key = master.cache.fetch("keys", minion)
    if not key:
        return "", ""
    return key["state"], salt.utils.crypt.pem_finger(key=key["pub"].encode(), sum_type="sha256")


def _short(fingerprint: str) -> str:
    return f"sha256 {fingerprint[:17]}..."
