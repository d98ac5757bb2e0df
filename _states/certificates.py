"""Certificates that services show and trust, delivered without touching their containers."""

from __future__ import annotations

from typing import Any

from salt.exceptions import CommandExecutionError


def present(name: str) -> dict[str, Any]:
    """Keep a service's certificates as the master has them; running containers read new ones.

    :param name: Name of the formula.

    .. code-block:: yaml

        Deliver the certificates of haproxy:
          certificates.present:
            - name: haproxy
    """
    ret: dict[str, Any] = {"name": name, "result": True, "changes": {}, "comment": "Current."}
    try:
        changes = __salt__["certificates.differences"](name)
        if changes and __opts__["test"]:
            ret.update(result=None, changes=changes, comment="Would write them.")
        elif changes:
            ret.update(changes=__salt__["certificates.write"](name), comment="Wrote them.")
    except CommandExecutionError as error:
        ret.update(result=False, comment=str(error))
    return ret
