"""What the command of a run carries: the pillar keys of an orchestration, checked once, where the run begins."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from saltern import problems
from saltern.errors import SalternError
from saltern.problems import Problem

_NAMES = {"type": "array", "items": {"type": "string"}, "minItems": 1}
# Every key that a command can carry; an orchestration takes some of them, see `rollout.validated`.
_KEYS: dict[str, dict[str, Any]] = {
    "services": {**_NAMES, "description": 'A list of services, such as ["keystone"]'},
    "hosts": {**_NAMES, "description": 'A list of hosts, such as ["control1"]'},
    "wait": {"type": "number", "minimum": 0, "description": "Seconds to wait for another run"},
    "confirm": {"enum": ["yes", True]},  # YAML reads a bare yes as true
    "force": {"type": "string", "description": "The host whose data are kept"},
    "remove": {"type": "string", "description": "The host that leaves the cloud"},
    "days": {"type": "number", "minimum": 0, "description": "Days that certificates stay valid"},
    "what": {**_NAMES, "description": 'A list of what is rotated, such as ["database"]'},
    "plan": {"type": "string", "description": "The id of a saved plan, in quotes"},
    "backup": {
        "enum": ["yes", "no", True, False],
        "description": "Whether databases that change are backed up first",
    },
}


@dataclass(frozen=True)
class Command:
    """The command of a run.

    :ivar name: What it runs, such as ``state.orchestrate orch.deploy``.
    :ivar given: The keys that it carries.
    """

    name: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)

    @property
    def confirmed(self) -> bool:
        """Whether it carries ``"confirm": "yes"``."""
        return bool(self.given.get("confirm"))

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key."""
        return self.given.get(key, default)

    def text(self, **more: Any) -> str:
        """Return it as it is typed.

        :param more: Further keys; None leaves one out.
        """
        return text(self.name, {**self.given, **more})


def text(name: str, keys: Mapping[str, Any]) -> str:
    """Return a command as it is typed.

    :param name: What it runs, such as ``state.orchestrate orch.deploy``.
    :param keys: Its pillar keys; those that are None are left out.
    """
    carried = {key: value for key, value in keys.items() if value is not None}
    return f"salt-run {name}" + (f" pillar='{json.dumps(carried)}'" if carried else "")


def orchestrate(
    run: Callable[..., Mapping[str, Any]], name: str, pillar: Mapping[str, Any]
) -> None:
    """Run an orchestration for who is no person.

    :param run: The runner ``state.orchestrate``.
    :param name: Such as ``deploy``.
    :raises SalternError: It failed.
    """
    if run(f"orch.{name}", pillar=pillar).get("retcode"):
        again = text(f"state.orchestrate orch.{name}", pillar)
        raise SalternError(f"{again} failed; run it to see why and to go on")


def given(pillar: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys that a command carries: what Salt has merged over the pillar.

    :param pillar: The pillar that a state of the orchestration sees.
    :param own: The master's pillar without the command.
    """
    # `cloud` is the ext_pillar's.
    return {
        key: value
        for key, value in pillar.items()
        if key != "cloud" and (key not in own or own[key] != value)
    }


def wrong(keys: Mapping[str, Any], takes: Collection[str], kind: str = "pillar") -> list[Problem]:
    """Return what is wrong with a command: keys that are unknown or of the wrong type.

    :param takes: Keys that it may carry.
    :param kind: What they are, for messages.
    """
    schema = {"properties": {key: _KEYS[key] for key in takes}, "additionalProperties": False}
    return problems.check(dict(keys), schema, kind)
