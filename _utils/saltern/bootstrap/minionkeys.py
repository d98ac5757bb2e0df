"""Keys of minions on their master: known by fingerprint, accepted only if they are the host's own."""

from __future__ import annotations

from typing import Any

import salt.utils.crypt

from saltern.errors import SalternError


def finger(public_key: str) -> str:
    """Return the SHA-256 fingerprint of a public key as ``salt-call key.finger`` and ``master_finger``
    have it.

    Not as ``salt-key --finger`` of 3008.3 has it: that one hashes the BEGIN and END lines too, and so
    never agrees with what a minion says of itself (salt.utils.crypt.pem_finger: path, key).
    """
    lines = [line for line in public_key.splitlines() if line.strip()]
    body = "\n".join(lines[1:-1]) + "\n"
    return salt.utils.crypt.pem_finger(key=body.encode(), sum_type="sha256")


def accept(master: Any, minion: str, public_key: str) -> bool:
    """Accept a minion if the key that the master has of it is the one read on its host.

    A master that has none yet gets it, so that nobody else can take the id meanwhile.

    :param master: ``salt.key.get_key(opts)`` of the master.
    :param public_key: PEM text, read on the host itself over a channel that is trusted.
    :returns: Whether it was accepted now; False if it was already.
    :raises SalternError: The master knows another key under that id, or has refused this one.
    """
    wanted = finger(public_key)
    state, found = known(master, minion)
    if (state, found) == ("accepted", wanted):
        return False
    if not found:
        master.cache.store("keys", minion, {"state": "pending", "pub": public_key})
        state, found = known(master, minion)
    if (state, found) != ("pending", wanted):
        raise SalternError(
            f"the master has the key of another minion '{minion}' ({state}, {found}); "
            f"this host's is {wanted}. If the master's is obsolete: salt-key -d {minion}"
        )
    master.accept(match_dict={"minions_pre": [minion]})
    if known(master, minion) != ("accepted", wanted):
        raise SalternError(f"the key of '{minion}' was not accepted: see salt-key -L")
    return True


def known(master: Any, minion: str) -> tuple[str, str]:
    """Return the state (accepted, pending, ...) and fingerprint of a key, empty if there is none."""
    key = master.cache.fetch("keys", minion)
    if not key:
        return "", ""
    return key["state"], finger(key["pub"])
