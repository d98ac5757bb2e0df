"""How YAML is read: by the parser in C, where there is one, which takes a tenth of the time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse(text: str) -> Any:
    """Return the data of a YAML text, None if there are none.

    :raises yaml.YAMLError: It is not YAML.
    """
    return yaml.load(text, Loader=Loader)


def read(path: str | Path) -> Any:
    """Return the data of a YAML file.

    :raises yaml.YAMLError: It is not YAML.
    """
    return parse(Path(path).read_text())
