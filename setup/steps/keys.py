"""Keys of the master and of this host's own minion; runs on the virtualenv's Python.

`salt-key --gen-keys` of 3008.3 writes the keys and then dies with a traceback, so keys are made with
the functions under it.
"""

from __future__ import annotations

import salt.config
import salt.crypt
import salt.key
import salt.utils.crypt

from steps import Outcome, SetupError
from steps.settings import Settings

# As in master.conf and minion.conf. Salt 3008 reads a minion's private key anew for every message:
# 35 ms with 2048 bits, 107 with 3072, 256 with 4096.
KEYSIZE = 2048


def own(config: Settings, role: str) -> str:
    """The fingerprint of the master's or minion's own key, which is made if there is none."""
    place = config.config_dir / "pki" / role
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (place / f"{role}.pem").exists():
        salt.crypt.write_keys(str(place), role, KEYSIZE)
    return finger((place / f"{role}.pub").read_text())


def finger(public_key: str) -> str:
    """SHA-256 fingerprint of a public key as `salt-call key.finger` and `master_finger` have it.

    Not as `salt-key --finger` of 3008.3 has it: that one hashes the BEGIN and END lines too, and so
    never agrees with what a minion says of itself (salt.utils.crypt.pem_finger: path, key).
    """
    lines = [line for line in public_key.splitlines() if line.strip()]
    body = "\n".join(lines[1:-1]) + "\n"
    return salt.utils.crypt.pem_finger(key=body.encode(), sum_type="sha256")


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
    return key["state"], finger(key["pub"])


def _short(fingerprint: str) -> str:
    return f"sha256 {fingerprint[:17]}..."
