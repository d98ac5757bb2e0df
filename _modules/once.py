"""Once-tasks of this host: markers that say for what a task ran (see the state container.ran)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saltern.containers import once
from saltern.host.adapter import salt_errors
from saltern.paths import root

__func_alias__ = {"list_": "list"}


def due(name: str, facts: Mapping[str, str], rerun_on: list[str]) -> dict[str, dict[str, Any]]:
    """Return why a task must run: each thing with ``old`` and ``new``; empty if it need not.

    facts
        What the task would run with now: ``image``, ``config``, ``spec``, see ``container.facts``.
    rerun_on
        Those of them that make it run again; an empty list means once for ever.

    CLI Example:

    .. code-block:: bash

        salt-call once.due keystone-db-sync '{image: "sha256:1234"}' '[image]'
    """
    with salt_errors():
        found = once.due(once.read(_marker(name)), once.chosen(facts, rerun_on))
    return {one.field: {"old": one.old, "new": one.new} for one in found}


def done(name: str, facts: Mapping[str, str], rerun_on: list[str]) -> bool:
    """Note that a task has succeeded; arguments as for :py:func:`due`.

    CLI Example:

    .. code-block:: bash

        salt-call once.done keystone-db-sync '{image: "sha256:1234"}' '[image]'
    """
    with salt_errors():
        once.write(_marker(name), once.chosen(facts, rerun_on))
    return True


def forget(name: str) -> bool:
    """Forget that a task ran, so that it runs again; return whether it was known.

    CLI Example:

    .. code-block:: bash

        salt-call once.forget keystone-db-sync
    """
    try:
        _marker(name).unlink()
    except FileNotFoundError:
        return False
    return True


def list_() -> dict[str, dict[str, str]]:
    """Return every task that has run, with what it ran for.

    CLI Example:

    .. code-block:: bash

        salt '*' once.list
    """
    prefix = _prefix()
    paths = sorted(_directory().glob(f"{prefix}*.json"))
    return {path.stem.removeprefix(prefix): once.read(path) or {} for path in paths}


def _marker(name: str) -> Path:
    return _directory() / f"{_prefix()}{name}.json"


def _directory() -> Path:
    return Path(root("var", __opts__), "once")


def _prefix() -> str:
    return __opts__.get("saltern", {}).get("prefix", "")
