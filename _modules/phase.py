"""Tasks of this host's services by their phase: what an upgrade does beside replacing containers."""

from __future__ import annotations

from typing import Any

from salt.exceptions import CommandExecutionError

from saltern import masking
from saltern.host import facts as host
from saltern.host.adapter import salt_errors
from saltern.host.checks import Check, check, failed_rows
from saltern.service import states, tasks, templates

# Data that are moved, and tables that are changed, take as long as they are large.
_TIMEOUT = 6 * 3600
_LAST_LINES = 15


def run(
    phase: str, services: list[str] | None = None, image: str | None = None
) -> dict[str, dict[str, str]]:
    """Run the tasks of a phase, with the wanted image and configuration; each may be run again.

    :param phase: Such as ``expand``, see ``docs/add-a-service.md``.
    :param services: Names of services; None is all of this host.
    :param image: Full name of an image that is taken instead of the wanted one: that of a way back.
    :returns: Service to task to what it wrote last; those without such tasks are left out.
    :raises CommandExecutionError: A task fails; those after it have not begun.

    CLI Example:

    .. code-block:: bash

        salt aio phase.run expand services='[keystone]'
    """
    done: dict[str, dict[str, str]] = {}
    cloud = _cloud()
    for service, name, task in _tasks(cloud, phase, services):
        code, said = _run(service, name, task, cloud, image)
        if code not in task.get("accepts", [0]):
            raise CommandExecutionError(
                f"{task['name']} ({' '.join(task['command'])}) exited with code {code}.\n"
                f"Its last lines:\n{_last(said)}"
            )
        done.setdefault(service, {})[task["name"]] = (said.splitlines() or [""])[-1]
    return done


def checked(phase: str, services: list[str] | None = None) -> dict[str, list[Check]]:
    """Run the tasks of a phase as checks: a failure is a row, and the others run all the same.

    :param phase: Such as ``upgrade_check``.
    :param services: Names of services; None is all of this host.
    :returns: Service to a row for each task: ``check``, ``ok``, ``found``, ``remedy``.

    CLI Example:

    .. code-block:: bash

        salt aio phase.checked upgrade_check services='[nova]'
    """
    rows: dict[str, list[Check]] = {}
    cloud = _cloud()
    for service, name, task in _tasks(cloud, phase, services):
        command = " ".join(task["command"])
        try:
            code, said = _run(service, name, task, cloud)
            failed = failed_rows(said, task.get("excuses", []))
            ok = code in task.get("accepts", [0]) or failed == []
            said = "\n".join(failed or [_last(said)])
            found = f"{command}: exit code {code}" + ("" if ok else f"\n{said}")
        except CommandExecutionError as error:
            ok, found = False, str(error)
        row = check(service, ok, found, "Do what the service's own check says, then again")
        rows.setdefault(service, []).append(row)
    return rows


def skipped(services: list[str] | None = None) -> list[str]:
    """Note that the tasks which an upgrade does in phases of its own are done for the wanted image.

    :param services: Names of services; None is all of this host.
    :returns: Names of their containers.

    CLI Example:

    .. code-block:: bash

        salt aio phase.skipped services='[keystone]'
    """
    noted = []
    cloud = _cloud()
    for service, name, task in _tasks(cloud, "deploy", services):
        if task.get("skip_on_upgrade"):
            arguments = _container(service, name, task, cloud)
            rerun_on = arguments.pop("rerun_on", ["image"])
            full_name = arguments.pop("name")
            facts = __salt__["container.facts"](full_name, **arguments)
            __salt__["once.done"](full_name, facts, rerun_on)
            noted.append(full_name)
    return noted


def _tasks(cloud: Any, phase: str, services: list[str] | None) -> list[tuple[str, str, Any]]:
    """Return service, name and task of those that this host runs in a phase."""
    return [
        (service, name, task)
        for service, formula in cloud["formulas"].items()
        if services is None or service in services
        for name, task in tasks.of_phase(formula, phase).items()
        if formula["first"] or task["where"] == "each"
    ]


def _run(
    service: str, name: str, task: Any, cloud: Any, image: str | None = None
) -> tuple[int, str]:
    """Return a task's exit code and what it wrote, in which secrets are hidden."""
    with salt_errors():
        if "container" in task:
            command = templates.resolve(task["command"], _context(service))
            done = __salt__["container.exec"](task["container"], command, timeout=_TIMEOUT)
        else:
            arguments = _container(service, name, task, cloud)
            arguments.pop("rerun_on", None)
            arguments["image"] = image or arguments["image"]
            if arguments.get("config_dir"):
                where = __salt__["generation.path"](service)
                arguments["generation"] = {
                    **where,
                    "path": __salt__["generation.write"](service),
                }
            done = __salt__["container.run"](timeout=_TIMEOUT, **arguments)
    said = f"{done['stdout']}\n{done['stderr']}".strip()
    return done["retcode"], masking.mask(said, cloud.get("secrets", {}))


def _last(said: str) -> str:
    return "\n".join(said.splitlines()[-_LAST_LINES:]) or "(it wrote nothing)"


def _container(service: str, name: str, task: Any, cloud: Any) -> dict[str, Any]:
    return states.container_of_task(service, name, task, cloud, _context(service))


def _context(service: str) -> Any:
    return host.context(service, __pillar__, __opts__, __grains__)


@salt_errors()
def _cloud() -> Any:
    return host.fresh_cloud(__pillar__, __opts__, __grains__, __context__)
