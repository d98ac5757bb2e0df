"""Keystone's catalogue: the services, endpoints, users and roles that the formulas declare."""

from __future__ import annotations

import json
from typing import Any

from salt.exceptions import CommandExecutionError

from saltern import masking
from saltern.host import facts
from saltern.host.adapter import salt_errors
from saltern.service import identity, scope


def differences(verify: bool = False, prune: bool | None = None) -> dict[str, dict[str, Any]]:
    """Return what differs in Keystone from what the formulas declare; changes nothing.

    :param verify: Also try every user's password, a quarter of a second of Keystone's time each.
    :param prune: Also list services that Saltern registered and that do not run any more;
        default: keystone:prune_catalog of the pillar.
    :returns: Thing to ``{"old": ..., "new": ...}``, without secrets.
    :raises CommandExecutionError: The toolbox does not run here, or Keystone does not answer.

    CLI Example:

    .. code-block:: bash

        salt aio catalog.differences verify=True
    """
    return _run(prune, "--check", *(["--verify"] if verify else []))


def register(verify: bool = False, prune: bool | None = None) -> dict[str, dict[str, Any]]:
    """Make Keystone know what the formulas declare; what it knows besides is left alone.

    :param verify: Also try every user's password and set those that do not work.
    :param prune: Also remove services that Saltern registered and that do not run any more;
        default: keystone:prune_catalog of the pillar.
    :returns: What changed: thing to ``{"old": ..., "new": ...}``, without secrets.
    :raises CommandExecutionError: The toolbox does not run here, or Keystone refuses something.

    CLI Example:

    .. code-block:: bash

        salt aio catalog.register verify=True
    """
    return _run(prune, *(["--verify"] if verify else []))


def _run(prune: bool | None, *arguments: str) -> dict[str, dict[str, Any]]:
    """Run ``register`` in the toolbox with what is wanted on its standard input."""
    with salt_errors():
        cloud = facts.cloud(__pillar__, __opts__)
        own, client = (scope.provider(cloud, what) for what in ("identity", "client"))
        context = facts.context(own, __pillar__, __opts__, __grains__)
        if prune is None:
            prune = context["options"]["prune_catalog"]
        wanted = json.dumps(identity.wanted(context, prune))
    answer = __salt__["container.exec"](client, ["register", *arguments], stdin=wanted)
    if answer["retcode"]:
        text = answer["stderr"].strip() or f"register ended with status {answer['retcode']}"
        raise CommandExecutionError(masking.mask(text, __pillar__["cloud"]["secrets"]))
    return json.loads(answer["stdout"])["changes"]
