"""Containers of this host: list, run, replace, stop, look inside.

Fields of a container's spec, here and in the state of the same name: see ``docs/containers.md``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import salt.utils.args

from saltern.containers import health as health_
from saltern.containers.dockerapi import LABEL_PREFIX, LABEL_SERVICE
from saltern.containers.engine import Engine, Result
from saltern.containers.host import Host
from saltern.containers.plan import Plan
from saltern.containers.spec import Spec
from saltern.containers.stream import TimedOutError
from saltern.errors import SalternError
from saltern.host.adapter import salt_errors
from saltern.paths import root

log = logging.getLogger(__name__)

__func_alias__ = {"list_": "list", "exec_": "exec"}
_CONTEXT = "saltern.containers"
_CHECKS_AT_ONCE = 8


def list_() -> dict[str, dict[str, Any]]:
    """Return the containers of Saltern on this host by name.

    CLI Example:

    .. code-block:: bash

        salt '*' container.list
    """
    with salt_errors():
        return {
            name: {
                "service": one.service,
                "state": one.state,
                "health": one.health,
                "status": one.status,
                "image": one.image,
                "config": one.config,
                "release": one.release,
                "id": one.id[:12],
            }
            for name, one in _host().snapshot().current().items()
            if not one.once
        }


def snapshot() -> list[dict[str, Any]]:
    """Return all facts of every container, also of those that a replacement has left.

    ``part`` is ``next``, ``previous``, ``failed`` or empty for the one that serves.

    CLI Example:

    .. code-block:: bash

        salt '*' container.snapshot
    """
    with salt_errors():
        found = _host().snapshot().containers.values()
        return [{**asdict(one), "spec": one.spec} for one in found]


def digest(images: list[str]) -> str:
    """Return hex digits that name what plans look at: this host's containers and some images, as they are now.

    images
        Full names of the images that matter.

    CLI Example:

    .. code-block:: bash

        salt '*' container.digest '[saltern/keystone:2026.2]'
    """
    with salt_errors():
        host = _host()
        host.changed()
        return host.snapshot().digest(images)


def plan(
    name: str,
    service: str,
    image: str,
    generation: Mapping[str, str] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """Return what :py:func:`running` would do, and why; change nothing.

    name
        The container's name without the prefix.
    service
        The service that it belongs to.
    image
        Full name of its image.
    generation
        ``digest`` and ``path`` of its config; default: what ``generation.path`` says for the
        service, if the spec has a ``config_dir``.

    Returns ``action`` (nothing, check, clean, start, create, replace, reload), ``comment`` and ``changes``: field
    to ``old`` and ``new``.

    CLI Example:

    .. code-block:: bash

        salt-call container.plan memcached service=memcached image=saltern/memcached:debian-trixie
    """
    with salt_errors():
        wanted = _spec(name=name, image=image, **spec)
        generation = _generation(service, wanted, generation)
        return _shown(name, _host().plan(wanted, service, generation))


def running(
    name: str,
    service: str,
    image: str,
    generation: Mapping[str, str] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """Make a container run as wanted: create, replace or start it and wait for its health.

    A replacement that does not become healthy within ``deadline`` seconds is undone: the old
    container runs again. One that was interrupted is finished or undone first. Arguments and the
    returned value are those of :py:func:`plan`.

    :raises CommandExecutionError: It did not come up; the message has its last lines.

    CLI Example:

    .. code-block:: bash

        salt-call container.running memcached service=memcached image=saltern/memcached:debian-trixie
    """
    with salt_errors():
        wanted = _spec(name=name, image=image, **spec)
        generation = _generation(service, wanted, generation)
        return _shown(name, _host().running(wanted, service, generation))


def absent(name: str, volumes: bool = False) -> list[str]:
    """Stop and remove a container; return the names of what was removed.

    volumes
        Remove its named volumes with what they hold, too, except those that others use.

    CLI Example:

    .. code-block:: bash

        salt-call container.absent memcached
    """
    with salt_errors():
        return _host().absent(name, volumes)


def remove_failed(name: str) -> bool:
    """Remove what a failed replacement of a container has kept for inspection; return whether it was there.

    CLI Example:

    .. code-block:: bash

        salt-call container.remove_failed memcached
    """
    with salt_errors():
        return _host().remove_failed(name)


def stopped(name: str) -> bool:
    """Stop a container with its own stop timeout; return whether it ran. It stays.

    CLI Example:

    .. code-block:: bash

        salt-call container.stopped memcached
    """
    with salt_errors():
        return _host().stopped(name)


def start(name: str, deadline: float = 120, wait: bool = True) -> bool:
    """Start a container as it is and wait for its health.

    deadline
        Seconds to become healthy.
    wait
        False returns at once, for members of a cluster that get ready only together.

    CLI Example:

    .. code-block:: bash

        salt-call container.start memcached
    """
    with salt_errors():
        _host().started(name, deadline, wait=wait)
        return True


def restart(name: str, deadline: float = 120) -> bool:
    """Stop and start a container as it is and wait for its health.

    deadline
        Seconds to become healthy.

    CLI Example:

    .. code-block:: bash

        salt-call container.restart memcached
    """
    with salt_errors():
        _host().started(name, deadline, restart=True)
        return True


def run(
    name: str,
    service: str,
    image: str,
    stdin: str | bytes | None = None,
    timeout: float = 600,
    generation: Mapping[str, str] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """Run a container to its end and remove it.

    stdin
        Given to its process. It reaches neither argv nor the environment nor a log of Docker; but
        what is given on Salt's command line is in Salt's job cache.
    timeout
        Seconds; after that the container is stopped and removed.

    Returns ``retcode``, ``stdout`` and ``stderr``.

    :raises CommandExecutionError: It could not be run or took too long. A retcode is no error.

    CLI Example:

    .. code-block:: bash

        salt-call container.run check service=keystone image=saltern/keystone:2026.2 \\
            command='[keystone-manage, doctor]' config_dir=/etc/keystone
    """
    with salt_errors():
        wanted = _spec(name=name, image=image, **spec)
        generation = _generation(service, wanted, generation)
        result = _host().run(wanted, service, generation, _bytes(stdin), timeout)
        if result.retcode is None:
            raise SalternError(f"{name} took longer than {timeout:g} s.\n{_last(asdict(result))}")
        return asdict(result)


def facts(
    name: str,
    service: str,
    image: str,
    generation: Mapping[str, str] | None = None,
    **spec: Any,
) -> dict[str, str]:
    """Return what a container would be made from now: ``image`` (id), ``config``, ``spec``.

    Each is an id or a digest, empty where there is none. Arguments as for :py:func:`plan`.

    CLI Example:

    .. code-block:: bash

        salt-call container.facts keystone-db-sync service=keystone image=saltern/keystone:2026.2
    """
    with salt_errors():
        wanted = _spec(name=name, image=image, **spec)
        generation = _generation(service, wanted, generation)
        return {
            "image": _host().snapshot().image_id(image) or "",
            "config": generation["digest"] if generation else "",
            "spec": wanted.digest,
        }


def exec_(
    name: str,
    command: list[str] | str,
    stdin: str | bytes | None = None,
    user: str | None = None,
    timeout: float = 300,
) -> dict[str, Any]:
    """Run a command in a running container.

    command
        A list; a string is split as a shell would, but no shell runs it.
    stdin
        Given to the command, as in :py:func:`run`.
    user
        Name or number; default: the container's own.
    timeout
        Seconds to wait for its end.

    Returns ``retcode``, ``stdout`` and ``stderr``.

    CLI Example:

    .. code-block:: bash

        salt-call container.exec rabbitmq 'rabbitmqctl status'
    """
    if isinstance(command, str):
        command = salt.utils.args.shlex_split(command)
    with salt_errors():
        one = _host().get(name)
        words = [str(word) for word in command]
        try:
            result: Result = _host().engine.execute(
                one.id, words, stdin=_bytes(stdin), user=user, timeout=timeout
            )
        except TimedOutError:
            raise SalternError(f"{words[0]} in {name} took longer than {timeout:g} s") from None
        return asdict(result)


def logs(name: str, lines: int = 100, since: int | None = None, timestamps: bool = False) -> str:
    """Return the last lines that a container wrote.

    name
        May also be that of a kept container, such as ``keystone-api.failed``.
    since
        Only what is newer than this time (seconds since 1970).

    CLI Example:

    .. code-block:: bash

        salt-call container.logs keystone-api lines=20
    """
    with salt_errors():
        host = _host()
        return host.engine.logs(host.full_name(name), lines, since, timestamps)


def health(name: str) -> dict[str, Any]:
    """Return a container's state, health and what its last health check said.

    CLI Example:

    .. code-block:: bash

        salt-call container.health keystone-api
    """
    with salt_errors():
        host = _host()
        inspected = host.engine.inspect(host.get(name).id)
        state = inspected["State"]
        check = state.get("Health") or {}
        log_ = check.get("Log") or [{}]
        return {
            "state": state["Status"],
            "started": state["StartedAt"],
            "exit_code": state["ExitCode"],
            "restarts": inspected["RestartCount"],
            "health": check.get("Status", ""),
            "output": log_[-1].get("Output", "").strip(),
        }


def check(name: str) -> dict[str, Any]:
    """Run a container's health check now; return ``healthy`` and ``output``.

    CLI Example:

    .. code-block:: bash

        salt-call container.check mariadb
    """
    with salt_errors():
        host = _host()
        healthy, output = health_.check(host.engine, host.get(name).id)
        return {"healthy": healthy, "output": output}


def checks(names: list[str]) -> dict[str, dict[str, Any]]:
    """Run the health checks of containers now, together; return what :py:func:`check` would of each.

    CLI Example:

    .. code-block:: bash

        salt-call container.checks '[mariadb, keystone-api]'
    """
    with salt_errors():
        ids = [_host().get(name).id for name in names]
    with ThreadPoolExecutor(_CHECKS_AT_ONCE) as pool:
        # A connection each: Docker's client is not for several threads.
        found = list(pool.map(lambda id_: health_.check(Engine(), id_), ids))
    return {
        name: {"healthy": healthy, "output": output}
        for name, (healthy, output) in zip(names, found, strict=True)
    }


def volumes() -> dict[str, dict[str, str]]:
    """Return the volumes of Saltern on this host: name without prefix to service and path.

    CLI Example:

    .. code-block:: bash

        salt '*' container.volumes
    """
    with salt_errors():
        host = _host()
        return {
            one["Name"].removeprefix(host.prefix): {
                "service": one["Labels"][LABEL_SERVICE],
                "path": one["Mountpoint"],
            }
            for one in host.engine.volumes()
            if one["Labels"].get(LABEL_PREFIX, "") == host.prefix
        }


def remove_volume(name: str) -> bool:
    """Remove a volume of Saltern with what it holds; return whether it existed.

    CLI Example:

    .. code-block:: bash

        salt-call container.remove_volume mariadb
    """
    if name not in volumes():
        return False
    with salt_errors():
        host = _host()
        host.engine.remove_volume(host.full_name(name))
        return True


def _last(result: Mapping[str, Any], lines: int = 30) -> str:
    written = "\n".join(filter(None, (result["stdout"].strip(), result["stderr"].strip())))
    return "\n".join(written.splitlines()[-lines:]) or "(it wrote nothing)"


def _host() -> Host:
    """Return this run's view of the host; its listing is kept in `__context__`."""
    kept = __context__.get(_CONTEXT)
    # A state with `parallel: True` is a fork: it must not share the parent's connection.
    if not kept or kept[0] != os.getpid():
        host = Host(
            Engine(),
            __opts__.get("saltern", {}).get("prefix", ""),
            lambda step: log.info("container replacement: %s", step),
            Path(root("var", __opts__), "locks"),
        )
        kept = __context__[_CONTEXT] = (os.getpid(), host)
    return kept[1]


def _spec(**fields: Any) -> Spec:
    return Spec.from_dict(salt.utils.args.clean_kwargs(**fields))


def _generation(
    service: str, spec: Spec, given: Mapping[str, str] | None
) -> Mapping[str, str] | None:
    if given or not spec.config_dir:
        return given
    return __salt__["generation.path"](service)


def _shown(name: str, plan_: Plan) -> dict[str, Any]:
    action = plan_.action
    return {
        "action": action.name.lower(),
        "comment": f"{name} {action.value}",
        "changes": plan_.shown(),
    }


def _bytes(stdin: str | bytes | None) -> bytes | None:
    return stdin.encode() if isinstance(stdin, str) else stdin
