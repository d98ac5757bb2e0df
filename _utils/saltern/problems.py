"""What is wrong in an operator's input: one problem a wrong key, each with its remedy."""

from __future__ import annotations

import difflib
import functools
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jsonschema


@functools.cache
def _validator() -> type[jsonschema.protocols.Validator]:
    """Return the validator: JSON Schema whose integers are written without a point (not 1500.0)."""
    # Here, as hosts check nothing: its import takes longer than most of their jobs.
    import jsonschema

    draft = jsonschema.Draft202012Validator
    types = draft.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    return jsonschema.validators.extend(draft, type_checker=types)


@functools.cache
def _formats() -> jsonschema.FormatChecker:
    """Return what strings of the pillar can be, beside what JSON Schema names; any may be empty.

    Whether an `interface` exists, its host alone can say: see the prechecks.
    """
    import jsonschema

    formats = jsonschema.FormatChecker(formats=[])
    for name, (accepts, *_) in _FORMATS.items():
        formats.checks(name, raises=ValueError)(functools.partial(_accepted, accepts))
    return formats


def _accepted(accepts: Callable[[str], Any], value: Any) -> bool:
    return not isinstance(value, str) or not value or bool(accepts(value))


def _address(value: str) -> bool:
    """Accept an IPv4 address that a host can have."""
    address = ipaddress.IPv4Address(value)
    return not (address.is_unspecified or address.is_multicast or address.is_reserved)


# A label of a host's name, with the underscores that some have.
_NAME = r"[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?"
# Format to what accepts it (False and ValueError refuse), what it is, and an example.
_FORMATS: dict[str, tuple[Callable[[str], Any], str, str]] = {
    "ipv4": (_address, "an IPv4 address that a host can have", "10.0.0.11"),
    # Also an address in its network.
    "ipv4-network": (ipaddress.IPv4Interface, "an IPv4 network", "10.0.0.0/24"),
    "interface": (
        re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+@-]{0,14}").fullmatch,
        "the name of a network interface",
        "eth1",
    ),
    "storage": (
        re.compile(r"/[A-Za-z0-9_./@+-]*|[a-zA-Z0-9][a-zA-Z0-9_.-]*").fullmatch,
        "a named volume or an absolute path",
        "/srv/volumes",
    ),
    "path": (
        re.compile(r"/[A-Za-z0-9_./@+-]*").fullmatch,
        "an absolute path",
        "/srv/logs",
    ),
    "host": (
        re.compile(rf"{_NAME}([.]{_NAME})*[.]?|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]+").fullmatch,
        "a name or an address of a host",
        "ntp.example.org",
    ),
    # What Salt, host names, certificates and paths can carry; a number alone is none to Salt's commands.
    "host-id": (
        re.compile(rf"(?![0-9]+\Z){_NAME}([.]{_NAME})*").fullmatch,
        "a minion id",
        "control1",
    ),
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
        end = "" if self.remedy.endswith("?") else "."
        return f"{self.key}: {self.what}. {self.remedy}{end}"


# More names than these are not listed beside the nearest.
_LISTED = 30


def nearest(name: str, allowed: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the allowed name most like ``name``, or None when nothing is alike."""
    close = difflib.get_close_matches(str(name), [str(one) for one in allowed], 1, cutoff)
    return close[0] if close else None


def unknown(key: str, name: str, allowed: Iterable[str], kind: str = "option") -> Problem:
    """Return the problem of a name that is not among the ``allowed`` ones."""
    names = sorted(str(one) for one in allowed)
    like = nearest(name, names)
    if like and len(names) > _LISTED:
        return Problem(key, f"unknown {kind} {name!r}", f"Did you mean {like!r}?")
    remedy = f"Did you mean {like!r}? " if like else ""
    remedy += f"Allowed: {', '.join(names)}" if names else "None is allowed here"
    return Problem(key, f"unknown {kind} {name!r}", remedy)


def check(value: Any, schema: dict[str, Any], key: str = "") -> list[Problem]:
    """Return what of ``value`` breaks the JSON Schema, one problem a wrong key.

    :param value: Parsed YAML.
    :param schema: JSON Schema, draft 2020-12.
    :param key: Pillar path of ``value``, put before every reported key.
    """
    validator = _validator()(schema, format_checker=_formats())
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
    about = schema.get("description", "").rstrip(".")
    if "propertyNames" in error.absolute_schema_path:
        path = f"{path}:{error.instance}"
        return [Problem(path, f"{error.instance!r} is not a valid name", about or "Correct it")]
    found = f"found {error.instance!r} ({_type(error.instance)})"
    if error.validator == "enum":
        like = nearest(str(error.instance), map(str, error.validator_value))
        hint = f"Did you mean {like!r}? " if like else ""
        allowed = ", ".join(map(str, error.validator_value))
        return [Problem(path, found, f"{hint}Allowed: {allowed}")]
    if error.validator == "type":
        wanted = error.validator_value
        wanted = wanted if isinstance(wanted, str) else " or ".join(wanted)
        hint = f" ({about})" if about else ""
        return [Problem(path, found, f"Write a value of type {wanted}{hint}")]
    if error.validator == "format":
        _, what, example = _FORMATS[error.validator_value]
        if error.validator_value.startswith("ipv4") and ":" in error.instance:
            return [Problem(path, f"{found} is IPv6, which is not supported yet", f"Write {what}")]
        return [Problem(path, f"{found} is not {what}", f"Write one, as {example}")]
    if error.validator == "pattern":
        found += f" does not have the form {error.validator_value}"
        return [Problem(path, found, about or "Correct the value")]
    return [Problem(path, f"{found}: {error.message}", about or "Correct the value")]


def _expects(schema: dict[str, Any], name: str) -> str:
    known = schema.get("properties", {}).get(name, {})
    return known.get("description", f"a value of type {known.get('type', 'any')}").rstrip(".")


def _type(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}
    kinds = {Mapping: "object", list: "array"}
    known = names.get(type(value))
    return known or next(
        (name for kind, name in kinds.items() if isinstance(value, kind)), type(value).__name__
    )
