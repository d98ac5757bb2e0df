"""Which bytes an image's name means in this cloud: the digest that its registry gave last time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from saltern import files

Pins = dict[str, str]


def read(path: str | Path) -> Pins:
    """Return the pins of a file, full image name to digest; none if there is no file."""
    place = Path(path)
    return json.loads(place.read_text()) if place.exists() else {}


def write(path: str | Path, pins: Mapping[str, str]) -> None:
    """Write the file in one step."""
    Path(path).parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    files.write(Path(path), json.dumps(pins, indent=1, sort_keys=True) + "\n", 0o640)
