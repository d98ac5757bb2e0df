"""No grain, but Salt's use of private keys, as far as it is too slow.

Grains are what a minion loads into the very process that its jobs are forked from.
"""

from __future__ import annotations

from typing import Any

import salt.crypt

_salts_own = salt.crypt.PrivateKey.__init__
_parsed: dict[tuple[bytes, str | None], dict[str, Any]] = {}


def parsed_once() -> dict[str, Any]:
    """Keep parsed private keys in this process and in those that it starts; return no grain.

    Salt 3008.3 parses the minion's key for each message to the master (``salt.crypt.sign_message`` and
    ``AsyncAuth.get_keys``) and holds its primes to be prime anew: 36 to 60 ms of CPU a message with
    2048 bits, while the signature takes 0.3 ms. States of a whole host are over a hundred messages.
    """
    # Grains are loaded anew at every refresh: the first one's stays.
    if _salts_own.__name__ != _init.__name__:
        salt.crypt.PrivateKey.__init__ = _init
    return {}


def _init(self: Any, key_bytes: bytes, passphrase: str | None = None) -> None:
    known = (key_bytes, passphrase)
    if known not in _parsed:
        _salts_own(self, key_bytes, passphrase)
        _parsed[known] = dict(vars(self))
    vars(self).update(_parsed[known])
