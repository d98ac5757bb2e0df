"""Render YAML whose plain values are the texts that stand there: ``0750`` is "0750", ``yes`` is "yes"."""

from __future__ import annotations

from typing import Any

import yaml
from salt.utils.yamlloader import SaltYamlSafeLoader


class _Loader(SaltYamlSafeLoader):
    """Salt's loader without an opinion on numbers and truth values."""

    def construct_text(self, node: yaml.ScalarNode) -> str:
        """Return what stands there."""
        return str(node.value)


for _kind in ("bool", "int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader.construct_text)


def render(text: Any, saltenv: str = "base", sls: str = "", **kwargs: Any) -> Any:
    """Return the data of a file.

    :param text: YAML, also as a stream.
    """
    return yaml.load(text.read() if hasattr(text, "read") else text, Loader=_Loader) or {}
