"""Salt's use of RSA keys, as far as it is too slow for many hosts."""

from __future__ import annotations

from typing import Any

import salt.crypt
from cryptography.hazmat.primitives import serialization

_salts_own = salt.crypt.PrivateKey.__init__
_parsed: dict[tuple[bytes, str | None], dict[str, Any]] = {}


def parse_once() -> None:
    """Keep parsed private keys until this process, which is a job's, ends.

    Salt 3008.3 parses the minion's key for each message to the master (``salt.crypt.sign_message`` and
    ``AsyncAuth.get_keys``) and holds its primes to be prime anew: 36 ms of CPU a message with 2048 bits,
    while the signature takes 0.3 ms. The minion has validated its key when it started.
    """
    salt.crypt.PrivateKey.__init__ = _init


def _init(self: Any, key_bytes: bytes, passphrase: str | None = None) -> None:
    known = (key_bytes, passphrase)
    if known not in _parsed:
        password = passphrase.encode() if passphrase else None
        try:
            key = serialization.load_pem_private_key(
                key_bytes, password=password, unsafe_skip_rsa_key_validation=True
            )
        except ValueError:
            _salts_own(self, key_bytes, passphrase)  # it says what is wrong
            return
        _parsed[known] = {"key": key, "_signer": None}
    vars(self).update(_parsed[known])
