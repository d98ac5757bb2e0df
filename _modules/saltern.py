"""Saltern on one host: what orchestrations ask of it and have it do."""

from __future__ import annotations

import time
from typing import Any

from salt.exceptions import CommandExecutionError

from saltern import code, host
from saltern import plan as plans
from saltern.errors import SalternError

__func_alias__ = {"plan_": "plan"}


def facts() -> dict[str, Any]:
    """Return what a run must know of a host before it starts.

    :returns: ``code``: digest of the extension code; ``busy``: ``jid`` and ``fun`` of a state run
        under way, or None; ``time``: the host's clock in seconds since the epoch.

    CLI Example:

    .. code-block:: bash

        salt aio saltern.facts
    """
    running = __salt__["saltutil.is_running"]("state.*")
    busy = {key: running[0][key] for key in ("jid", "fun")} if running else None
    digest = code.digest(code.synced(__opts__["extension_modules"]))
    return {"code": digest, "busy": busy, "time": time.time()}


def plan_(services: list[str] | None = None) -> dict[str, Any]:
    """Return what a state run would change, changing nothing; secrets are hidden.

    :param services: Names of services; None is all of this host.
    :returns: :func:`facts` and ``services``: service to its states that would change, each with
        ``state`` (its ID), ``result``, ``comment`` and ``changes``. Empty while the host is busy.
    :raises CommandExecutionError: The states do not render.

    CLI Example:

    .. code-block:: bash

        salt aio saltern.plan
    """
    answer = facts()
    names = _services(services)
    if answer["busy"] or not names:
        return answer | {"services": {}}
    running = __salt__["state.sls"](names, test=True, state_events=False)
    # A state that fails in test mode is part of the plan, not a failure of this function.
    __context__.pop("retcode", None)
    hidden = __pillar__["cloud"].get("secrets", {})
    if not isinstance(running, dict):
        raise CommandExecutionError("\n".join(plans.hide([str(one) for one in running], hidden)))
    return answer | {"services": plans.of_states(running, hidden)}


def _services(chosen: list[str] | None) -> list[str]:
    """Return the host's services that were chosen, each after what it requires."""
    try:
        own = host.cloud(__pillar__, __opts__)["formulas"]
    except SalternError as error:
        raise CommandExecutionError(str(error)) from error
    return [name for name in own if chosen is None or name in chosen]
