"""Formulas on a host: which services it runs, and what they mean as states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saltern.host import facts
from saltern.host.adapter import salt_errors
from saltern.service import states as expand


def services() -> list[str]:
    """Return the services of this host, each after what it requires.

    :raises CommandExecutionError: The pillar is wrong, or this host is not in the inventory.

    CLI Example:

    .. code-block:: bash

        salt aio formula.services
    """
    with salt_errors():
        return list(facts.cloud(__pillar__, __opts__)["formulas"])


def states(service: str, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the states of a service on this host, as ``state.show_sls`` prints them.

    :param service: Name of the formula.
    :param more: States that follow those of its ``service.yml``.
    :raises CommandExecutionError: The pillar is wrong or this host does not run the service.

    CLI Example:

    .. code-block:: bash

        salt aio formula.states keystone
    """
    with salt_errors():
        context = facts.context(service, __pillar__, __opts__, __grains__)
        return expand.states(service, facts.cloud(__pillar__, __opts__), context, more)
