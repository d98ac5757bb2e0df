"""Databases: what a service needs of MariaDB before its schema."""

from __future__ import annotations

from typing import Any

from salt.exceptions import CommandExecutionError


def present(name: str) -> dict[str, Any]:
    """Keep the database of a service, with its user and the user's password from the secrets.

    :param name: Name of the formula; its ``service.yml`` names the database.

    .. code-block:: yaml

        Create the database of keystone:
          database.present:
            - name: keystone
    """
    ret: dict[str, Any] = {"name": name, "result": True, "changes": {}, "comment": ""}
    try:
        if __salt__["database.present"](name):
            return ret | {"comment": "The database and its user are there."}
    except CommandExecutionError as error:
        if not __opts__["test"]:
            return ret | {"result": False, "comment": str(error)}
    ret["changes"] = {name: {"old": None, "new": "database and user"}}
    if __opts__["test"]:
        return ret | {"result": None, "comment": f"Would create the database of {name}."}
    try:
        __salt__["database.create"](name)
    except CommandExecutionError as error:
        return ret | {"result": False, "changes": {}, "comment": str(error)}
    return ret | {"comment": f"Created the database of {name} and its user."}
