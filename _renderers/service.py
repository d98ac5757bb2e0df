"""Render ``#!service``: the states of a formula from its service.yml, then those of the body."""

from __future__ import annotations

from typing import Any

import yaml


def render(
    body: Any, saltenv: str = "base", sls: str = "", argline: str = "", **kwargs: Any
) -> dict[str, Any]:
    """Return the states of the formula that the SLS is named after.

    :param body: Text after the shebang: YAML of further states, or nothing.
    :param sls: Name of the SLS, which is the service's.
    """
    text = body.read() if hasattr(body, "read") else body
    more = yaml.safe_load(text.removeprefix("#!service")) if isinstance(text, str) else text
    return __salt__["formula.states"](sls.partition(".")[0], more)
