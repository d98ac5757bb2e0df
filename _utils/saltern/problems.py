"""What is wrong in an operator's input: one problem a wrong key, each with its remedy."""

from __future__ import annotations

import difflib
import functools
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jsonschema


@functools.cache
def _formats() -> jsonschema.FormatChecker:
    """Return what strings of the pillar can be, beside what JSON Schema names.

    `interface` is a name of a network interface, which only its host can check: see the prechecks.
    """
    # Here, as hosts check nothing: its import takes longer than most of their jobs.
    import jsonschema

    formats = jsonschema.FormatChecker(formats=["ipv4"])
    formats.checks("ipv4-network", raises=ValueError)(_network)
    return formats


def _network(value: Any) -> bool:
    """Accept a network as 10.0.0.0/24 or an address in its network as 10.0.0.1/24."""
    return not isinstance(value, str) or not value or bool(ipaddress.IPv4Interface(value))


_FORMAT_NAMES = {
    "ipv4": ("an IP address", "10.0.0.11"),
    "ipv4-network": ("an IPv4 network", "10.0.0.0/24"),
}


@dataclass(frozen=True)
class Problem:
    """One wrong key.

    :param key: Pillar path of the key, colon-separated (``keystone:token_expiration``).
    :param what: What was found and what is wrong with it.
    :param remedy: What to write instead.
    """

    key: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.key}: {self.what}. {self.remedy}."


def nearest(name: str, allowed: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the allowed name most like ``name``, or None when nothing is alike."""
    close = difflib.get_close_matches(str(name), [str(one) for one in allowed], 1, cutoff)
    return close[0] if close else None


def unknown(key: str, name: str, allowed: Iterable[str], kind: str = "option") -> Problem:
    """Return the problem of a name that is not among the ``allowed`` ones."""
    names = sorted(str(one) for one in allowed)
    like = nearest(name, names)
    remedy = f"Did you mean {like!r}? " if like else ""
    remedy += f"Allowed: {', '.join(names)}" if names else "None is allowed here"
    return Problem(key, f"unknown {kind} {name!r}", remedy)


def check(value: Any, schema: dict[str, Any], key: str = "") -> list[Problem]:
    """Return what of ``value`` breaks the JSON Schema, one problem a wrong key.

    :param value: Parsed YAML.
    :param schema: JSON Schema, draft 2020-12.
    :param key: Pillar path of ``value``, put before every reported key.
    """
    import jsonschema

    validator = jsonschema.Draft202012Validator(schema, format_checker=_formats())
    errors = sorted(validator.iter_errors(value), key=lambda error: [str(p) for p in error.path])
    return [problem for error in errors for problem in _problems(error, key)]


def _problems(error: jsonschema.ValidationError, prefix: str) -> list[Problem]:
    path = ":".join([part for part in [prefix, *map(str, error.absolute_path)] if part])
    schema = error.schema
    if error.validator == "additionalProperties":
        known = schema.get("properties", {})
        names = [name for name in error.instance if name not in known]
        return [unknown(f"{path}:{name}" if path else name, name, known) for name in names]
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return [
            Problem(f"{path}:{name}", "is missing", f"Add it: {_expects(schema, name)}")
            for name in missing
        ]
    found = f"found {error.instance!r} ({_type(error.instance)})"
    if error.validator == "enum":
        like = nearest(str(error.instance), map(str, error.validator_value))
        hint = f"Did you mean {like!r}? " if like else ""
        allowed = ", ".join(map(str, error.validator_value))
        return [Problem(path, found, f"{hint}Allowed: {allowed}")]
    if error.validator == "type":
        wanted = error.validator_value
        wanted = wanted if isinstance(wanted, str) else " or ".join(wanted)
        about = schema.get("description", "").rstrip(".")
        hint = f" ({about})" if about else ""
        return [Problem(path, found, f"Write a value of type {wanted}{hint}")]
    if error.validator == "format":
        what, example = _FORMAT_NAMES[error.validator_value]
        return [Problem(path, f"{found} is not {what}", f"Write one, as {example}")]
    what = schema.get("description", "").rstrip(".")
    return [Problem(path, f"{found}: {error.message}", what or "Correct the value")]


def _expects(schema: dict[str, Any], name: str) -> str:
    known = schema.get("properties", {}).get(name, {})
    return known.get("description", f"a value of type {known.get('type', 'any')}").rstrip(".")


def _type(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", dict: "object"}
    return names.get(type(value), "array" if isinstance(value, list) else "null")
