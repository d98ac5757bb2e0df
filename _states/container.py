"""Containers as states: compare with what runs, act, report field by field.

Fields of a container's spec: see ``docs/containers.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import salt.utils.args
from salt.exceptions import CommandExecutionError

from saltern.run import plan as plans

Return = dict[str, Any]

_LOG_LINES = 30

_DONE = {
    "create": "was created and is up",
    "replace": "was replaced and is up",
    "start": "was started and is up",
    "reload": "has read its new configuration and is up",
    "check": "is up",
    "clean": "is up; what a failed replacement had left was removed",
    "nothing": "is up, as wanted",
}


def running(
    name: str,
    service: str,
    image: str,
    config_dir: str | None = None,
    generation: Mapping[str, str] | None = None,
    **spec: Any,
) -> Return:
    """A container runs, made from this image, config and spec, and is healthy.

    A change replaces the container; if the new one does not become healthy within ``deadline``
    seconds, the old one runs again and the state fails with the new one's last lines. One that is as
    wanted but not healthy is waited for as long; in test mode the comment says so and there is no change.

    name
        The container's name without the prefix.
    service
        The service that it belongs to.
    image
        Full name of its image.
    config_dir
        Where it sees the service's config generation, read-only.
    generation
        ``digest`` and ``path`` of the config; default: that of the service.

    .. code-block:: yaml

        Run memcached:
          container.running:
            - name: memcached
            - service: memcached
            - image: saltern/memcached:debian-trixie
            - command: [memcached, -l, 127.0.0.1]
            - healthcheck: {test: [healthcheck, tcp, 127.0.0.1, "11211"]}
    """
    ret = _ret(name)
    wanted = {
        **salt.utils.args.clean_kwargs(**spec),
        "service": service,
        "image": image,
        "config_dir": config_dir,
        "generation": generation,
    }
    try:
        plan = __salt__["container.plan"](name, **wanted)
        if plan["action"] == "nothing":
            return {**ret, "comment": plan["comment"]}
        if __opts__["test"]:
            return {**ret, **_planned(name, plan)}
        done = __salt__["container.running"](name, **wanted)
    except CommandExecutionError as error:
        return {**ret, "result": False, "comment": str(error)}
    return {**ret, "changes": done["changes"], "comment": f"{name} {_DONE[done['action']]}"}


def absent(name: str, volumes: bool = False) -> Return:
    """A container does not exist, nor what a replacement may have left of it.

    volumes
        Remove its named volumes with what they hold, too; by default data outlives containers.

    .. code-block:: yaml

        Remove memcached:
          container.absent:
            - name: memcached
    """
    ret = _ret(name)
    try:
        parts = [one for one in __salt__["container.snapshot"]() if one["name"] == name]
        if not parts:
            return {**ret, "comment": f"{name} does not exist"}
        if __opts__["test"]:
            changes = {one["full_name"]: {"old": one["state"], "new": None} for one in parts}
            return {
                **ret,
                "result": None,
                "changes": changes,
                "comment": f"{name} would be removed",
            }
        removed = __salt__["container.absent"](name, volumes=volumes)
    except CommandExecutionError as error:
        return {**ret, "result": False, "comment": str(error)}
    changes = {one: {"old": "present", "new": None} for one in removed}
    return {**ret, "changes": changes, "comment": f"{name} was removed"}


def stopped(name: str) -> Return:
    """A container does not run; it stays, and so does one that does not exist.

    .. code-block:: yaml

        Stop memcached:
          container.stopped:
            - name: memcached
    """
    ret = _ret(name)
    try:
        state = __salt__["container.list"]().get(name, {}).get("state", "absent")
        if state not in ("running", "restarting", "paused"):
            return {**ret, "comment": f"{name} does not run"}
        changes = {"state": {"old": state, "new": "exited"}}
        if __opts__["test"]:
            return {
                **ret,
                "result": None,
                "changes": changes,
                "comment": f"{name} would be stopped",
            }
        __salt__["container.stopped"](name)
    except CommandExecutionError as error:
        return {**ret, "result": False, "comment": str(error)}
    return {**ret, "changes": changes, "comment": f"{name} was stopped"}


def ran(
    name: str,
    service: str,
    image: str,
    command: list[str],
    rerun_on: list[str] | None = None,
    timeout: float = 600,
    config_dir: str | None = None,
    generation: Mapping[str, str] | None = None,
    **spec: Any,
) -> Return:
    """A one-shot container has run successfully, for this image (or config, or spec).

    rerun_on
        What makes it run again when it changes: ``image`` (default), ``config``, ``spec``; an empty
        list means once for ever.
    timeout
        Seconds that it may take.

    .. code-block:: yaml

        Create or upgrade the schema of keystone:
          container.ran:
            - name: keystone-db-sync
            - service: keystone
            - image: saltern/keystone:2026.2
            - command: [keystone-manage, db_sync]
            - config_dir: /etc/keystone
    """
    ret = _ret(name)
    wanted = {
        **salt.utils.args.clean_kwargs(**spec),
        "service": service,
        "image": image,
        "command": command,
        "config_dir": config_dir,
        "generation": generation,
    }
    rerun_on = ["image"] if rerun_on is None else rerun_on
    try:
        due = __salt__["once.due"](name, __salt__["container.facts"](name, **wanted), rerun_on)
        if not due:
            return {**ret, "comment": f"{name} has run already"}
        if __opts__["test"]:
            why = ", ".join(due)
            comment = f"{name} would run ({why})"
            return {**ret, "result": None, "changes": due, "comment": comment}
        result = __salt__["container.run"](name, timeout=timeout, **wanted)
        if result["retcode"] != 0:
            written = f"{result['stdout']}\n{result['stderr']}".strip().splitlines()
            last = "\n".join(written[-_LOG_LINES:]) or "(it wrote nothing)"
            comment = f"{name} exited with code {result['retcode']}.\nIts last lines:\n{last}"
            return {**ret, "result": False, "comment": comment}
        # The image may have been pulled just now: its id is known only after the run.
        __salt__["once.done"](name, __salt__["container.facts"](name, **wanted), rerun_on)
    except CommandExecutionError as error:
        return {**ret, "result": False, "comment": str(error)}
    return {**ret, "changes": due, "comment": f"{name} has run"}


def _planned(name: str, plan: Mapping[str, Any]) -> Return:
    """Return what test mode says of a plan: a change, or that what is as wanted is not up.

    What Docker knows of a container's health is as old as the last check, and nothing after a start.
    """
    changes = plan["changes"]
    if plan["action"] == "check" and "replacement" not in changes:
        check = __salt__["container.check"](name)
        if not check["healthy"]:
            one = __salt__["container.list"]().get(name, {})
            state = one.get("health") if one.get("state") == "running" else one.get("state")
            comment = f"{plans.NOT_UP}{name} is {state or 'missing'}: {check['output']}"
            return {"result": None, "comment": comment}
    if not changes:
        return {"comment": f"{name} {_DONE['check']}"}
    return {"result": None, "changes": changes, "comment": plan["comment"]}


def _ret(name: str) -> Return:
    return {"name": name, "result": True, "changes": {}, "comment": ""}
