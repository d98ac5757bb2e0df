"""Commands of a service that are no servers: ``tasks`` of a ``service.yml``, by the phase in which they run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Declared by services, and run by nothing yet: saving and clean-up of databases come with their own commands.
NOT_RUN_YET = ("backup", "restore", "purge")


def of_phase(formula: Mapping[str, Any], phase: str) -> dict[str, dict[str, Any]]:
    """Return the tasks of a phase by name, in the order of ``service.yml``.

    :param formula: A service of the catalogue, or of the pillar key ``cloud``.
    :param phase: Such as ``deploy``, see ``service.schema.yml``.
    """
    found = formula.get("tasks", {}).items()
    return {name: task for name, task in found if task["phase"] == phase}


def container_name(service: str, task: str) -> str:
    """Return the name of the container that a task with an image has for itself."""
    return f"{service}-{task}"
