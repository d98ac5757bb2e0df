"""A service starts when what it requires answers, not when its container is up."""

from __future__ import annotations

import time
from typing import Any

from salt.exceptions import CommandExecutionError


def answers(name: str, patience: float = 300) -> dict[str, Any]:
    """All that a service requires answers through the load balancer; it is waited for.

    :param name: Name of the formula; ``requires`` of its ``service.yml`` says what it needs.
    :param patience: Seconds to wait, as long as the slowest container may take to become healthy.

    .. code-block:: yaml

        Wait until what keystone requires answers:
          required.answers:
            - name: keystone
    """
    ret: dict[str, Any] = {"name": name, "result": True, "changes": {}, "comment": ""}
    if __opts__["test"]:
        return ret | {"comment": "Not asked in test mode."}
    end = time.monotonic() + patience
    try:
        while missing := __salt__["required.missing"](name):
            if time.monotonic() > end:
                said = "; ".join(f"{what}: {why}" for what, why in missing.items())
                comment = f"{name} requires what did not answer within {patience:.0f} s: {said}"
                return ret | {"result": False, "comment": comment}
            time.sleep(0.5)
    except CommandExecutionError as error:
        return ret | {"result": False, "comment": str(error)}
    return ret | {"comment": f"All that {name} requires answers."}
