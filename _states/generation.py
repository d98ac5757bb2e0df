"""Configuration generations: the files of a service, written as one folder."""

from __future__ import annotations

from typing import Any

from salt.exceptions import CommandExecutionError


def present(name: str) -> dict[str, Any]:
    """Keep the wanted configuration of a service on disk.

    Containers take a new generation when they are replaced, so this alone changes nothing that
    runs. Changes are unified diffs in which secrets are hidden.

    :param name: Name of the formula.

    .. code-block:: yaml

        Write the configuration of keystone:
          generation.present:
            - name: keystone
    """
    ret: dict[str, Any] = {"name": name, "result": True, "changes": {}, "comment": ""}
    try:
        where, before = __salt__["generation.path"](name), __salt__["generation.current"](name)
        # For the history of runs.
        ret["generation"] = {"before": before, "after": where["digest"]}
        if before == where["digest"] and __salt__["generation.present"](name):
            ret["comment"] = f"Generation {where['digest']} is in place."
            return ret
        ret["changes"] = __salt__["generation.diff"](name) or {where["digest"]: "owner or mode"}
        if __opts__["test"]:
            ret["result"] = None
            ret["comment"] = f"Would write generation {where['digest']}."
            return ret
        folder = __salt__["generation.write"](name)
        __salt__["generation.prune"](name)
        ret["comment"] = f"Wrote {folder}."
    except CommandExecutionError as error:
        ret.update(result=False, changes={}, comment=str(error))
    return ret
