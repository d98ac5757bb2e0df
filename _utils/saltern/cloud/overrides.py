"""What an operator lays over a service's files and containers: whether it fits, before any host is asked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from saltern import problems
from saltern.containers.spec import Spec
from saltern.errors import SalternError
from saltern.problems import Problem
from saltern.service import merge

_SECTIONED = ("ini", "oslo", "uwsgi")
_SCALARS = (str, int, float)


def of_file(
    key: str, declared: Mapping[str, Any], given: Any, formula: Mapping[str, Any]
) -> list[Problem]:
    """Return what does not fit into a configuration file.

    :param key: Pillar path of the override.
    :param declared: The file in ``service.yml``: its ``format`` and more.
    :param given: What the pillar says of the file; None is nothing.
    :param formula: The service.
    """
    if given is None:
        return []
    if "link" in declared:
        remedy = "Lay a template of its name and a service.yml over the service's, see docs/add-a-service.md"
        return [Problem(key, f"is the image's own file {declared['link']}", remedy)]
    form = declared["format"]
    if form == "raw":
        fits = isinstance(given, str)
        remedy = "It has no structure to merge into: give its whole text"
        return [] if fits else [Problem(key, _is(given, "text"), remedy)]
    if not isinstance(given, Mapping):
        return [
            Problem(key, _is(given, "a map"), f"Write names and values as the file ({form}) has")
        ]
    if form in _SECTIONED:
        wrong = [
            one for section, options in given.items() for one in _section(key, section, options)
        ]
        return wrong or (_oslo(key, given, formula.get("oslo", {})) if form == "oslo" else [])
    return list(_options(key, given)) if form == "properties" else []


def _oslo(key: str, given: Mapping[str, Any], oslo: Mapping[str, Any]) -> list[Problem]:
    """Check sections against those that oslo.config knows, and lists.

    A section may have a name of the operator's, such as a backend's; only one that is almost that of a
    known one is a mistake. What remains is for the service's own checker, see ``orch.validate_config``.
    """
    known = oslo.get("sections", [])
    for section in given:
        if section not in known and problems.nearest(section, known, 0.88):
            return [problems.unknown(f"{key}:{section}", section, known, "section")]
    try:
        merge.joined(given, oslo.get("multi", {}), key)
    except SalternError as error:
        where, _, what = str(error).partition(": ")
        return [Problem(where, what, "See docs/pillar.md")]
    return []


def of_container(
    key: str, declared: Mapping[str, Any], given: Mapping[str, Any], formula: Mapping[str, Any]
) -> list[Problem]:
    """Return what a container's spec does not take."""
    name = key.rpartition(":")[2]
    try:
        Spec.from_dict({"name": name, "image": declared["image"], **_without_nulls(given)})
    except SalternError as error:
        what = str(error).removeprefix(f"container {name}: ")
        return [Problem(key, what, "See docs/containers.md")]
    return []


def _section(key: str, section: Any, options: Any) -> Iterator[Problem]:
    yield from _name(key, section, r"\[\]")
    below = f"{key}:{section}"
    if isinstance(options, Mapping):
        yield from _options(below, options)
    elif options is not None:
        yield Problem(
            below, _is(options, "a map"), "Write its options below it, or null to remove it"
        )


def _options(key: str, options: Mapping[Any, Any]) -> Iterator[Problem]:
    for option, value in options.items():
        yield from _name(key, option, r"=\[")
        below = f"{key}:{option}"
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str) and not one.isprintable():
                yield Problem(below, f"{one!r} has a control character", "Write it in one line")
            elif not isinstance(one, _SCALARS) and (one is not None or isinstance(value, list)):
                yield Problem(below, _is(one, "a text or a number"), "Write it as the file has it")


def _name(key: str, name: Any, forbidden: str) -> Iterator[Problem]:
    """Check the name of a section or of an option."""
    if not isinstance(name, str):
        yield Problem(f"{key}:{name}", _is(name, "a name"), "Write it in quotes")
    elif not name.isprintable() or not re.fullmatch(
        rf"[^\s#;{forbidden}]([^{forbidden}]*[^\s{forbidden}])?", name
    ):
        what = f"{name!r} cannot be a name in this file"
        yield Problem(f"{key}:{name.strip()!r}", what, "Write letters, digits, _, - and .")


def _is(found: Any, wanted: str) -> str:
    return f"found {found!r}, which is not {wanted}"


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    return value
