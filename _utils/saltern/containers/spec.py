"""What a container should be: a typed, normalised spec, its digest and its differences."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from saltern.containers import fields as parse
from saltern.errors import SalternError

# Fields that are about replacing a container and not part of what it is.
ABOUT_REPLACING = ("deadline", "stop_when", "balancer", "leave", "stay", "drain", "reload")
# The image is compared by its id.
_NOT_COMPARED = ("image", *ABOUT_REPLACING)
# A privileged container has every capability and may gain privileges (sudo, rootwrap) by default.
_PRIVILEGED_DEFAULTS: dict[str, Any] = {"cap_drop": [], "security_opt": []}


@dataclass(frozen=True)
class Change:
    """One difference of a container: the field, what it is and what it should be."""

    field: str
    old: Any
    new: Any


def _field(parser: Callable[[Any], Any], default: Any = None) -> Any:
    """Declare a field with its parser; a default goes through the parser as well."""
    if default is None:
        return field(default=None, metadata={"parse": parser})
    return field(default_factory=lambda: parser(default), metadata={"parse": parser})


def _name(value: Any) -> str:
    # No dots: `<name>.next` and the like belong to the replacement.
    if not isinstance(value, str) or not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_-]*", value):
        raise parse.RefusedError("letters, digits, _ and -")
    return value


_number_of_cpus = parse.number(0.01, "processors")


@dataclass(frozen=True)
class Spec:
    """A container as wanted. Fields are named as Docker names them; times are in seconds."""

    name: str = field(metadata={"parse": _name})
    image: str = field(metadata={"parse": parse.text})
    command: tuple[str, ...] | None = _field(parse.words)
    entrypoint: tuple[str, ...] | None = _field(parse.words)
    user: str | None = _field(parse.text)
    environment: Mapping[str, str] = _field(parse.environment, {})
    volumes: tuple[str, ...] = _field(parse.volumes, [])
    config_dir: str | None = _field(parse.directory)
    tmpfs: tuple[str, ...] = _field(parse.unordered(parse.tmpfs), [])
    network_mode: str = _field(parse.choice("host", "bridge", "none", prefix="container:"), "host")
    pid_mode: str | None = _field(parse.choice("host", prefix="container:"))
    ipc_mode: str | None = _field(
        parse.choice("host", "private", "shareable", "none", prefix="container:")
    )
    cgroupns: str | None = _field(parse.choice("host", "private"))
    cap_add: tuple[str, ...] = _field(parse.unordered(parse.capability), [])
    cap_drop: tuple[str, ...] = _field(parse.unordered(parse.capability), ["ALL"])
    privileged: bool = _field(parse.flag, False)
    security_opt: tuple[str, ...] = _field(
        parse.unordered(parse.security_option), ["no-new-privileges"]
    )
    devices: tuple[str, ...] = _field(parse.unordered(parse.device), [])
    ulimits: Mapping[str, tuple[int, int]] = _field(parse.ulimits, {})
    memory: int | None = _field(parse.size)
    cpus: float | None = _field(_number_of_cpus)
    restart_policy: str = _field(parse.restart_policy, "unless-stopped")
    healthcheck: Mapping[str, Any] | None = _field(parse.healthcheck)
    stop_signal: str | None = _field(parse.stop_signal)
    stop_timeout: int = _field(parse.number(0, "seconds", int), 30)
    read_only: bool = _field(parse.flag, True)
    labels: Mapping[str, str] = _field(parse.labels, {})
    log_options: Mapping[str, str] = _field(parse.log_options, {"driver": "json-file"})
    hostname: str | None = _field(parse.text)
    working_dir: str | None = _field(parse.directory)
    group_add: tuple[str, ...] = _field(parse.unordered(parse.text), [])
    sysctls: Mapping[str, str] = _field(parse.scalars, {})
    init: bool = _field(parse.flag, False)
    teardown: tuple[str, ...] | None = _field(parse.words)
    deadline: int = _field(parse.number(1, "seconds", int), 120)
    stop_when: tuple[str, ...] | None = _field(parse.words)
    places: tuple[str, ...] | None = _field(parse.places)
    balancer: Mapping[str, Any] | None = _field(parse.balancer)
    leave: tuple[str, ...] | None = _field(parse.words)
    stay: tuple[str, ...] | None = _field(parse.words)
    reload: tuple[str, ...] | None = _field(parse.words)
    drain: int = _field(parse.number(0, "seconds", int), 60)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Spec:
        """Return the spec that `data` describes.

        A field that is None counts as not given.

        :raises SalternError: A field is unknown, missing or has a value that it does not take.
        """
        known = {one.name: one for one in fields(cls)}
        title = f"container {data.get('name', '(no name)')}"
        given = {str(key): value for key, value in data.items() if value is not None}
        for key in given:
            if key not in known:
                raise SalternError(
                    f"{title}: unknown field {key!r}{parse.nearest(key, known)} "
                    f"(fields are {', '.join(known)})"
                )
        for key, one in known.items():
            required = one.default is MISSING and one.default_factory is MISSING
            if required and key not in given:
                raise SalternError(f"{title}: the field '{key}' is missing")
        if given.get("privileged") is True:
            given = {**_PRIVILEGED_DEFAULTS, **given}
        values = {}
        for key, value in given.items():
            try:
                values[key] = known[key].metadata["parse"](value)
            except parse.RefusedError as error:
                found = "" if error.secret else f"found {value!r}, "
                raise SalternError(f"{title}: field '{key}': {found}allowed: {error}") from None
        return cls(**values)

    def normalised(self) -> dict[str, Any]:
        """Return what is compared, as JSON would read it back."""
        compared = (one.name for one in fields(self) if one.name not in _NOT_COMPARED)
        return {name: _plain(getattr(self, name)) for name in compared}

    @property
    def digest(self) -> str:
        """Return the digest of what is compared."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """Return what is compared as one line; kept as a label, so that changes can be shown."""
        return json.dumps(self.normalised(), sort_keys=True, separators=(",", ":"))


def diff(old: Spec | Mapping[str, Any], new: Spec) -> list[Change]:
    """Return the changes from `old` to `new`, maps entry by entry, sorted by field.

    :param old: A spec, or the normalised form kept in a container's label. A field that it lacks
        came with a newer Saltern: it counts as the default, so that an update replaces nothing.
    """
    default = Spec(name=new.name, image=new.image).normalised()
    before = {**default, **(old.normalised() if isinstance(old, Spec) else old)}
    after = new.normalised()
    changes: list[Change] = []
    for name in sorted({*before, *after}):
        was, wanted = before.get(name), after.get(name)
        if isinstance(was, dict) and isinstance(wanted, dict):
            keys = sorted({*was, *wanted})
            parts = [Change(f"{name}.{key}", was.get(key), wanted.get(key)) for key in keys]
            changes += [part for part in parts if part.old != part.new]
        elif was != wanted:
            changes.append(Change(name, was, wanted))
    return changes


def _plain(value: Any) -> Any:
    """Return a value as JSON knows it: tuples become lists, keys are in order."""
    if isinstance(value, Mapping):
        return {key: _plain(value[key]) for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
