"""Roster of salt-ssh: the hosts of the pillar that have ``ssh``; their keys must be known."""

from __future__ import annotations

from typing import Any

from saltern.bootstrap import hosts
from saltern.run import inventory


def targets(tgt: str | list[str], tgt_type: str = "glob", **kwargs: Any) -> dict[str, Any]:
    """Return how to reach the hosts that a target means, in the words of salt-ssh.

    CLI Example:

    .. code-block:: bash

        salt-ssh control1 test.ping
    """
    raw = __opts__.get(hosts.ROSTER)
    if raw is None:
        script = hosts.preflight(__opts__["file_roots"]["base"])
        raw = hosts.roster(inventory.checked(__opts__), script)
    return __utils__["roster_matcher.targets"](raw, tgt, tgt_type, "ipv4")
