"""What a host says to the master about its faults, and whether it is the host that says it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# The strongest that Salt 3008 has for signatures.
ALGORITHM = "PKCS1v15-SHA224"
# Characters of a message; the watch sends at most some 25,000.
_MOST = 100_000
# A file name and nothing else, as it becomes part of a path.
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Word:
    """A message that its host has signed.

    :ivar serial: It rises with each message of a host.
    :ivar key: What names the key that it was signed with.
    """

    host: str
    serial: int
    key: str


def read(signed: Any, verified: Callable[[str], str]) -> Word | None:
    """Return what a host says; None if it is not what a watch sends, or not that host's.

    :param signed: The text that was signed.
    :param verified: Returns of a host what names its key if that has signed the text, else nothing.
    """
    if not isinstance(signed, str) or len(signed) > _MOST:
        return None
    try:
        said = json.loads(signed)
    except ValueError:
        return None
    if not isinstance(said, dict):
        return None
    host, serial = said.get("host"), said.get("serial")
    if not isinstance(host, str) or not _HOST.fullmatch(host) or type(serial) is not int:
        return None
    if not 0 < serial < 2**63 or not (key := verified(host)):
        return None
    return Word(host, serial, key)
