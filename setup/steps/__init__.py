"""Steps of set-up: each is a function of the settings that returns an :class:`Outcome`.

Everything up to the virtualenv runs on Debian's Python with nothing but its standard library; the
steps after it run on the virtualenv's Python, because they use Salt's own library.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
# The library's modules that need nothing but Python are set-up's, too.
sys.path.insert(0, str(CHECKOUT / "_utils"))


class SetupError(Exception):
    """Set-up cannot go on; the message is for people and names the remedy."""


@dataclass(frozen=True)
class Outcome:
    """What a step did: one line for the screen, and whether anything on the machine changed."""

    text: str
    changed: bool = False
