"""Secrets: what the formulas declare, made once and never overwritten; how a rotation changes them.

While a secret is rotated, the file keeps beside ``name``: ``name.former``, the old value, which stays valid; or
``name.retired``, the old value when it is valid no more, but not yet gone everywhere. ``name.slot`` stays for good: it
says which of two accounts the value belongs to, of those that are rotated by two accounts.
"""

from __future__ import annotations

import base64
import copy
import os
import re
import secrets as random
import string
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from saltern import files, yamlfile
from saltern.cloud.formulas import Catalog
from saltern.cloud.model import Cloud
from saltern.errors import SalternError
from saltern.problems import Problem

Secrets = dict[str, dict[str, Any]]
# Some readers take other texts for Latin-1 and some for UTF-8.
_WRITABLE = re.compile(r"[!-~]([ -~]*[!-~])?")
_FERNET_KEY = re.compile(r"[A-Za-z0-9_-]{43}=")
# What a value of a kind must match as a whole.
_PATTERNS = {"hex": "[0-9A-Fa-f]+", "fernet_key": _FERNET_KEY.pattern}
_ALPHABET = string.ascii_letters + string.digits
# What stands beside a secret, as `name.former`; no name of a secret has a dot.
FORMER, RETIRED, SLOT = _BESIDE = ("former", "retired", "slot")


def read(path: str | Path) -> Secrets:
    """Return the stored secrets, service to name to value; empty if there is no file yet.

    :raises SalternError: The file is not YAML, not services with secrets below them, or others than its
        owner can read it.
    """
    path = Path(path)
    if not path.exists():
        return {}
    if path.stat().st_mode & 0o077:
        raise SalternError(f"{path} can be read by others than its owner: chmod 600 {path}")
    try:
        data = yamlfile.read(path) or {}
    except yaml.YAMLError as error:
        # The parser's message quotes the text around the fault, which may be a secret.
        line = getattr(getattr(error, "problem_mark", None), "line", -1) + 1
        raise SalternError(f"{path}, line {line}: is not YAML") from None
    if not isinstance(data, Mapping):
        raise SalternError(f"{path}: write services, and their secrets below them")
    for service, below in data.items():
        if below is not None and not isinstance(below, Mapping):
            raise SalternError(f"{path}: {service}: write its secrets below it, as name: value")
    return {service: dict(below or {}) for service, below in data.items()}


def write(path: str | Path, stored: Secrets) -> None:
    """Write secrets so that a crash leaves the old file or the new one, readable by its owner."""
    path = Path(path)
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    note = "# Made by salt-run saltern.genpwd. Keep it: nothing else holds these values.\n"
    files.write(path, note + yaml.safe_dump(stored, sort_keys=True))


def declared(catalog: Catalog) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield every secret that formulas declare: service, name, declaration."""
    for service, formula in sorted(catalog.items()):
        for name, declaration in formula.get("secrets", {}).items():
            yield service, name, declaration or {}


def fill(catalog: Catalog, stored: Secrets) -> tuple[Secrets, list[str]]:
    """Return the secrets with every missing one made, and the names of those; a renamed one keeps its value.

    :param catalog: Every service whose secrets are wanted.
    :param stored: What there is; no value of it is changed.
    """
    filled, added = copy.deepcopy(stored), []
    for service, name, declaration in declared(catalog):
        values = filled.setdefault(service, {})
        if declaration.get("kind") != "external" and values.get(name) in (None, ""):
            values[name] = values.get(declaration.get("formerly")) or make(declaration)
            added.append(f"{service}.{name}")
    return filled, added


def make(declaration: Mapping[str, Any]) -> Any:
    """Return a new secret of the declared kind: ``password``, ``hex``, ``fernet_key`` or ``fernet_ring``."""
    kind = declaration.get("kind", "password")
    if kind == "fernet_ring":
        return {0: _fernet_key(), 1: _fernet_key()}
    if kind == "fernet_key":
        return _fernet_key()
    length = declaration.get("length", 32)
    if kind == "hex":
        return random.token_hex(length // 2)
    return "".join(random.choice(_ALPHABET) for _ in range(length))


def renew(stored: Secrets, service: str, name: str, declaration: Mapping[str, Any]) -> Secrets:
    """Return the secrets with a new value of one, and the old one beside it, which stays valid if it can.

    One whose rotation has begun keeps its values: the rotation goes on with them.
    """
    values = dict(stored[service])
    if not under_way(stored, service, name):
        by = declaration["rotate"]["by"]
        values[f"{name}.{RETIRED if by == 'replaced' else FORMER}"] = values[name]
        values[name] = make(declaration)
        if by == "two_accounts":
            values[f"{name}.{SLOT}"] = 1 - values.get(f"{name}.{SLOT}", 0)
    return {**stored, service: values}


def retire(stored: Secrets, service: str, name: str) -> Secrets:
    """Return the secrets with the old value of one valid no more."""
    values = dict(stored[service])
    if f"{name}.{FORMER}" in values:
        values[f"{name}.{RETIRED}"] = values.pop(f"{name}.{FORMER}")
    return {**stored, service: values}


def end(stored: Secrets, service: str, name: str) -> Secrets:
    """Return the secrets without the retired value of one."""
    gone = f"{name}.{RETIRED}"
    values = {key: value for key, value in stored[service].items() if key != gone}
    return {**stored, service: values}


def under_way(stored: Mapping[str, Mapping[str, Any]], service: str, name: str) -> bool:
    """Return whether the rotation of a secret has begun and is not finished."""
    return any(f"{name}.{part}" in stored.get(service, {}) for part in (FORMER, RETIRED))


def with_beside(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return some secrets of a service, and what stands beside them."""
    found = {name: values.get(name) for name in names}
    beside = [f"{name}.{part}" for name in found for part in _BESIDE]
    return found | {key: values[key] for key in beside if key in values}


def holders(cloud: Cloud, service: str, name: str) -> list[str]:
    """Return the services that have a secret in their configuration, each after what it requires."""
    return [
        one
        for one in cloud.services
        if one == service
        or any(
            fnmatchcase(f"{service}.{name}", pattern)
            for pattern in cloud.catalog[one].get("uses_secrets", [])
        )
    ]


def rotate(ring: Mapping[int, str], size: int) -> dict[int, str]:
    """Return a fernet key ring after one rotation.

    The staged key 0, which every host already has, becomes the primary (highest) one; a new key is
    staged; the oldest go until ``size`` remain. Source: Keystone's documentation of fernet tokens.

    :param ring: Key number to key.
    :param size: Keys to keep, 3 or more.
    :raises SalternError: The ring has no staged key.
    """
    if 0 not in ring:
        raise SalternError("the key ring has no staged key 0: restore it from a backup")
    rotated = {number: key for number, key in ring.items() if number}
    rotated[max(ring) + 1] = ring[0]
    for oldest in sorted(rotated)[: max(0, len(rotated) - size + 1)]:
        del rotated[oldest]
    return {0: _fernet_key(), **dict(sorted(rotated.items()))}


def wanted_by(cloud: Cloud, host: str) -> dict[str, list[str]]:
    """Return the secrets that one host's services declare or use, service to names."""
    every = [(service, name) for service, name, _ in declared(cloud.catalog)]
    wanted: dict[str, list[str]] = {}
    for service in cloud.services_of(host):
        formula = cloud.catalog[service]
        patterns = [f"{service}.*", *formula.get("uses_secrets", [])]
        if "database" in formula and cloud.placement[service][0] == host:
            patterns.append(f"{cloud.provider('database')}.root_password")
        for owner, name in every:
            if any(fnmatchcase(f"{owner}.{name}", pattern) for pattern in patterns):
                names = wanted.setdefault(owner, [])
                if name not in names:
                    names.append(name)
    return wanted


def missing(cloud: Cloud, stored: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the secrets that the cloud's services declare and nothing holds yet."""
    return [
        f"{service}.{name}"
        for service, name, declaration in declared(cloud.catalog)
        if declaration.get("kind") != "external" and not stored.get(service, {}).get(name)
    ]


def problems(catalog: Catalog, stored: Secrets, path: str | Path) -> list[Problem]:
    """Return which stored secrets cannot be used, by name and never with their value.

    :param catalog: Every service whose secrets are wanted.
    :param path: The file they are in, for the message.
    """
    found = []
    for service, name, declaration in declared(catalog):
        value = stored.get(service, {}).get(name)
        wrong = "" if value in (None, "") else _wrong(declaration, value)
        if wrong:
            found.append(Problem(f"{path}: {service}: {name}", wrong, "Correct it there"))
    return found


def _wrong(declaration: Mapping[str, Any], value: Any) -> str:
    """Return what is wrong with a value, without the value."""
    kind = declaration.get("kind", "password")
    if kind == "fernet_ring":
        fits = isinstance(value, Mapping) and all(
            isinstance(number, int) and isinstance(key, str) and _FERNET_KEY.fullmatch(key)
            for number, key in value.items()
        )
        return "" if fits else "is not a ring of fernet keys (number: key)"
    if not isinstance(value, str):
        return f"is a {type(value).__name__}, not a text: write it in quotes"
    if not _WRITABLE.fullmatch(value):
        return (
            "has characters that not every file can hold: use printable ASCII, no space at an end"
        )
    if r"\$" in value:
        return r"has \$, which oslo.config takes for $"
    pattern = declaration.get("pattern", _PATTERNS.get(kind, ""))
    if pattern and not re.fullmatch(pattern, value):
        return f"does not have the form {pattern}"
    return ""


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).decode()
