"""Remediation on a host: say what is wrong with its containers, and start those that are dead. docs/remediation.md."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from saltern import paths, space
from saltern.containers import faults as faults_
from saltern.containers.engine import Engine
from saltern.containers.host import Host
from saltern.errors import SalternError
from saltern.host import look, watch
from saltern.host.adapter import salt_errors

# More starts at a time make none of them faster: dockerd is what takes the time.
_STARTS_AT_ONCE = 4


def faults() -> dict[str, Any]:
    """Return what is wrong with the containers of this host now.

    :returns: ``faults``: fields of :class:`saltern.containers.faults.Fault` each; ``busy``: whether a run is at
        some of them, of which nothing is said; ``time``: the host's clock; ``short``: places with too little room;
        ``watched``: seconds since the watch looked last, None if it never has.

    CLI Example:

    .. code-block:: bash

        salt '*' remediation.faults
    """
    with salt_errors():
        eyes = look.Eyes(__opts__, lambda: bool(__salt__["saltutil.is_running"]("state.*")))
        try:
            found, busy = eyes.look(Engine())
        except SalternError as error:
            found, busy = [look.Fault(look.DOCKER, "", "docker", str(error))], False
        now, var = time.time(), paths.root("var", __opts__)
        found, _ = faults_.remembered(found, watch.since(var), now, {})
        return {
            "faults": [one.plain() for one in found],
            "busy": busy,
            "time": now,
            "short": space.short(look.room(__opts__)),
            "watched": watch.age(var),
        }


def start(names: list[str], restart: bool = False, deadline: float = 120) -> dict[str, str]:
    """Start containers as they are, a few at a time, and wait for their health.

    :param names: Names without the prefix.
    :param restart: Stop those that run first.
    :param deadline: Seconds that each may take to become healthy.
    :returns: Name to why it did not come up; nothing if it did.

    CLI Example:

    .. code-block:: bash

        salt control1 remediation.start '[keystone-api, glance-api]'
    """
    prefix, var = __opts__.get("saltern", {}).get("prefix", ""), paths.root("var", __opts__)

    def started(name: str) -> str:
        try:
            # A connection each: Docker's client is not for several threads.
            Host(Engine(), prefix, locks=Path(var, "locks")).started(name, deadline, restart)
        except SalternError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(_STARTS_AT_ONCE) as pool:
        return dict(zip(names, pool.map(started, names), strict=True))
