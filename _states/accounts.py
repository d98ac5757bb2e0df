"""Accounts of a server, such as a database's administrator: files name them, and the server that runs is told."""

from __future__ import annotations

from typing import Any

from salt.exceptions import CommandExecutionError


def present(name: str) -> dict[str, Any]:
    """Have a running server know the accounts that its files name: by its tasks of phase ``accounts``.

    On each host after its own file is written: whichever member starts meanwhile with an older file, the last one
    to be told has it right.

    :param name: Name of the formula.

    .. code-block:: yaml

        Tell mariadb its accounts:
          accounts.present:
            - name: mariadb
    """
    ret: dict[str, Any] = {"name": name, "result": True, "changes": {}, "comment": "Current."}
    marker = f"{name}-accounts"
    try:
        told = {"config": __salt__["generation.texts"](name)}
        due = __salt__["once.due"](marker, told, ["config"])
        changes = {"accounts": next(iter(due.values()), None)}
        if due and __opts__["test"]:
            ret.update(result=None, changes=changes, comment="Would tell it.")
        elif due:
            __salt__["phase.run"]("accounts", [name])
            __salt__["once.done"](marker, told, ["config"])
            ret.update(changes=changes, comment="Told.")
    except CommandExecutionError as error:
        ret.update(result=False, comment=str(error))
    return ret
