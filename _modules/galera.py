"""The Galera member of this host: what it holds, and single steps of a recovery.

Which member forms a cluster again is decided on the master, by :mod:`saltern.run.galera`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from salt.exceptions import CommandExecutionError

from saltern.containers import inside
from saltern.host import facts
from saltern.host.adapter import salt_errors
from saltern.images.names import image_name
from saltern.run import galera
from saltern.service import templates

_NAME = "mariadb"
_STATUS = {
    "wsrep_cluster_status": "cluster",
    "wsrep_local_state_comment": "state",
    "wsrep_cluster_state_uuid": "uuid",
    "wsrep_cluster_size": "size",
    "wsrep_last_committed": "committed",
}


def status(services: list[str] | None = None) -> dict[str, str]:
    """Return what the running member says of itself; empty if it does not answer.

    :param services: Unused; passed by ``rollout.called``.
    :returns: ``cluster`` (Primary has a quorum), ``state`` (Synced has caught up), ``uuid``, ``size``,
        ``committed``.

    CLI Example:

    .. code-block:: bash

        salt 'control*' galera.status
    """
    if __salt__["container.list"]().get(_NAME, {}).get("state") != "running":
        return {}
    command = ["mariadb", "--defaults-file=/etc/mysql/galera.cnf", "--user=monitor", "--batch"]
    command += ["--skip-column-names", "--execute=SHOW GLOBAL STATUS LIKE 'wsrep_%'"]
    answer = __salt__["container.exec"](_NAME, command, timeout=30)
    found = dict(
        line.split("\t", 1) for line in answer["stdout"].splitlines() if line.count("\t") == 1
    )
    return {ours: found[theirs] for theirs, ours in _STATUS.items() if theirs in found}


def stop(services: list[str] | None = None) -> dict[str, str]:
    """Stop the member; return what was stopped.

    CLI Example:

    .. code-block:: bash

        salt control1 galera.stop
    """
    return {_NAME: "stopped"} if __salt__["container.stopped"](_NAME) else {}


def position(services: list[str] | None = None) -> dict[str, Any]:
    """Return what the stopped member holds; its storage engine recovers first.

    :returns: ``data``, ``half_copied``, ``grastate`` and ``position``, see :func:`saltern.run.galera.choose`.
    :raises CommandExecutionError: It runs, or cannot be recovered.

    CLI Example:

    .. code-block:: bash

        salt control1 galera.position
    """
    if __salt__["container.list"]().get(_NAME, {}).get("state") in ("running", "restarting"):
        raise CommandExecutionError(f"{_NAME} runs: stop it first (galera.stop)")
    volumes = {name: one["path"] for name, one in __salt__["container.volumes"]().items()}
    mounted = _cloud()["formulas"][_NAME]["containers"][_NAME]["volumes"]
    data = inside.on_host("/var/lib/mysql/data", mounted, volumes)
    if not data or not (data / "mysql").exists():
        return {"data": False, "half_copied": False, "grastate": None, "position": ""}
    state = data / "grastate.dat"
    return {
        "data": True,
        "half_copied": (data / "sst_in_progress").exists(),
        "grastate": galera.grastate(state.read_text()) if state.exists() else None,
        "position": _run("galera-position", timeout=600).strip(),
    }


def bootstrap(position: str, deadline: float = 600) -> dict[str, str]:
    """Let the stopped member form the cluster, if it is at exactly this position, and wait until it serves.

    :param position: ``UUID:SEQNO``; empty takes it as it is.
    :param deadline: Seconds to become healthy.
    :raises CommandExecutionError: It did not come up.

    CLI Example:

    .. code-block:: bash

        salt control1 galera.bootstrap 7bb4bd3a-5ecf-11f0-9d2c-4ad8a2ac2e2f:1234
    """
    _run("galera-bootstrap", position)
    __salt__["container.start"](_NAME, deadline=deadline)
    return {_NAME: f"formed the cluster at {position}"}


def join(services: list[str] | None = None, deadline: float = 1800) -> dict[str, str]:
    """Start the member if it does not run, and wait until it has caught up and all others are in step with it.

    A member that gets what it lacks breaks off if another one joins or leaves meanwhile.

    :param deadline: Seconds to become healthy; a full copy of the data may be needed.
    :raises CommandExecutionError: It did not come up.

    CLI Example:

    .. code-block:: bash

        salt control2 galera.join
    """
    if _NAME not in __salt__["container.list"]():
        return {}
    end, joined = time.monotonic() + deadline, {}
    if not __salt__["container.check"](_NAME)["healthy"]:
        __salt__["container.start"](_NAME, deadline=deadline)
        joined = {_NAME: "joined"}
    while (seen := __salt__["container.exec"](_NAME, ["galera-in-step"]))["retcode"] != 0:
        if time.monotonic() > end:
            raise CommandExecutionError(f"not all members are in step: {seen['stdout'].strip()}")
        time.sleep(2)
    return joined


def _run(*command: str, timeout: float = 120) -> str:
    """Run a program of the image on the member's data and return its output."""
    cloud = _cloud()
    context = facts.context(_NAME, __pillar__, __opts__, __grains__)
    spec = cloud["formulas"][_NAME]["containers"][_NAME]
    own = {key: templates.resolve(spec[key], context) for key in ("volumes", "tmpfs", "ulimits")}
    done = __salt__["container.run"](
        f"{_NAME}-{command[0]}",
        service=_NAME,
        image=image_name(cloud, spec["image"]),
        command=list(command),
        **own,
        config_dir=cloud["formulas"][_NAME]["config_dir"],
        generation={
            **__salt__["generation.path"](_NAME),
            "path": __salt__["generation.write"](_NAME),
        },
        timeout=timeout,
    )
    if done["retcode"] != 0:
        raise CommandExecutionError(f"{command[0]}: {done['stderr'].strip()[-2000:]}")
    return done["stdout"]


@salt_errors()
def _cloud() -> Mapping[str, Any]:
    return facts.fresh_cloud(__pillar__, __opts__, __grains__, __context__)
