"""Keystone's catalogue: what clients and services find each other by."""

from __future__ import annotations

from typing import Any

from salt.exceptions import CommandExecutionError

from saltern.run import plan


def registered(name: str, verify: bool = False, prune: bool | None = None) -> dict[str, Any]:
    """Keep the services, endpoints, users, projects and roles of all formulas in Keystone.

    Runs on Keystone's first host for the whole cloud. What Keystone knows besides is left alone.

    :param name: Keystone's formula.
    :param verify: Also try every user's password, so that one changed by hand is noticed.
    :param prune: Remove services that Saltern registered and that do not run any more;
        default: keystone:prune_catalog of the pillar.

    .. code-block:: yaml

        Register services, users and endpoints:
          catalog.registered:
            - name: keystone
    """
    ret: dict[str, Any] = {"name": name, "result": True, "changes": {}, "comment": ""}
    formula = __pillar__.get("cloud", {}).get("formulas", {}).get(name, {})
    if not formula.get("first", True):
        return ret | {"comment": f"The first host of {name} does this for the cloud."}
    function = "catalog.differences" if __opts__["test"] else "catalog.register"
    try:
        ret["changes"] = __salt__[function](verify=verify, prune=prune)
    except CommandExecutionError as error:
        if not __opts__["test"]:
            return ret | {"result": False, "comment": str(error)}
        # At the first deployment nothing is there yet that could be asked.
        return ret | {"result": None, "comment": f"{plan.UNKNOWN}{error}"}
    if not ret["changes"]:
        return ret | {"comment": "Keystone knows all services, users and endpoints."}
    things = ", ".join(ret["changes"])
    if __opts__["test"]:
        return ret | {"result": None, "comment": f"Would register {things}."}
    return ret | {"comment": f"Registered {things}."}
