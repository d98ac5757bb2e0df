"""Revisions: what a service runs, noted at the end of its states, is its way back."""

from __future__ import annotations

from typing import Any

from salt.exceptions import CommandExecutionError


def noted(name: str) -> dict[str, Any]:
    """Keep what a service runs now as its newest revision. That is no change of the host.

    :param name: Name of the formula.

    .. code-block:: yaml

        Note what keystone runs:
          revision.noted:
            - name: keystone
    """
    ret: dict[str, Any] = {"name": name, "result": True, "changes": {}, "comment": ""}
    if __opts__["test"]:
        return ret | {"comment": "Not noted in test mode."}
    # A run of states has compiled its pillar just now.
    __context__["saltern.pillar"] = True
    try:
        id_ = __salt__["revision.note"]([name]).get(name)
    except CommandExecutionError as error:
        return ret | {"result": False, "comment": str(error)}
    return ret | {"comment": f"Revision {id_}." if id_ else "It has no containers here."}
