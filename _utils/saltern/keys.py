"""Salt's use of RSA keys, as far as it is too slow."""

from __future__ import annotations

from typing import Any

import salt.crypt

_salts_own = salt.crypt.PrivateKey.__init__
_parsed: dict[tuple[bytes, str | None], dict[str, Any]] = {}


def parse_once() -> None:
    """Keep parsed private keys until this process, which is a job's, ends.

    Salt 3008.3 parses the minion's key for each message to the master (``salt.crypt.sign_message`` and
    ``AsyncAuth.get_keys``) and holds its primes to be prime anew: 36 to 60 ms of CPU a message with
    2048 bits, while the signature takes 0.3 ms. States of a whole host are over a hundred messages.
    """
    salt.crypt.PrivateKey.__init__ = _init


def _init(self: Any, key_bytes: bytes, passphrase: str | None = None) -> None:
    known = (key_bytes, passphrase)
    if known not in _parsed:
        _salts_own(self, key_bytes, passphrase)
        _parsed[known] = dict(vars(self))
    vars(self).update(_parsed[known])
