"""Databases: what a service needs of MariaDB before its schema."""

from __future__ import annotations

from typing import Any

from salt.exceptions import CommandExecutionError

from saltern.run import plan


def present(name: str, patience: float = 300) -> dict[str, Any]:
    """Keep the database of a service, with its user and the user's password from the secrets, or two of them.

    :param name: Name of the formula; its ``service.yml`` names the database.
    :param patience: Seconds in which a server that is away may come back, as long as it may take to start.

    .. code-block:: yaml

        Create the database of keystone:
          database.present:
            - name: keystone
    """
    ret: dict[str, Any] = {"name": name, "result": True, "changes": {}, "comment": ""}
    missing = {name: {"old": None, "new": "database and user"}}
    try:
        if __opts__["test"]:
            if not __salt__["database.present"](name):
                comment = f"Would create the database of {name}."
                return ret | {"result": None, "changes": missing, "comment": comment}
        elif not __salt__["database.present"](name, patience):
            __salt__["database.create"](name, patience)
            comment = f"Created the database of {name} and its user."
            return ret | {"changes": missing, "comment": comment}
    except CommandExecutionError as error:
        if __opts__["test"]:
            return ret | {"result": None, "comment": f"{plan.UNKNOWN}{error}"}
        return ret | {"result": False, "comment": str(error)}
    return ret | {"comment": "The database and its user are there."}
