"""Remediation on the master: note what hosts tell of. docs/remediation.md."""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
from pathlib import Path

from salt.crypt import PublicKey
from salt.exceptions import SaltException

from saltern.run import incidents, words

log = logging.getLogger(__name__)


def noted(signed: str, signature: str) -> bool:
    """Note for the engine of remediation that a host has something to say; for the reactor.

    No field of Salt's events proves who has sent it. What counts is what the host has signed with the key that the
    master has accepted, and that is newer than what it has said before.

    :param signed: Host, serial, time and faults as JSON, as the host has signed it.
    :param signature: The signature, Base64.
    :returns: Whether it counts.

    CLI Example:

    .. code-block:: bash

        salt-run remediation.noted '{}' ''
    """

    def verified(host: str) -> str:
        path = Path(__opts__["pki_dir"], "minions", host)
        try:
            good = PublicKey.from_file(str(path)).verify(
                signed.encode(), base64.b64decode(signature), words.ALGORITHM
            )
        except (OSError, SaltException, binascii.Error):
            return ""
        return hashlib.sha256(path.read_bytes()).hexdigest() if good else ""

    word = words.read(signed, verified)
    if not word:
        log.warning(
            "an event of remediation is not signed by the host that it names: %.100s", signed
        )
        return False
    return incidents.Journal(incidents.file(__opts__)).note(word.host, word.serial, word.key)
