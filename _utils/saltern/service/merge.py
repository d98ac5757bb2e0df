"""Configuration files as data: parse, merge what the operator wants, write again."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any

import yaml

from saltern.errors import SalternError

Ini = dict[str, dict[str, list[str | None]]]


def merge(base: Any, override: Any) -> Any:
    """Return ``base`` with ``override`` laid over it; a null in ``override`` removes the key."""
    if not isinstance(base, Mapping) or not isinstance(override, Mapping):
        return override
    merged = dict(base)
    for key, value in override.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def apply(
    text: str,
    form: str,
    override: Any,
    name: str,
    multi: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> str:
    """Return the text of a configuration file with the operator's ``override`` merged in.

    :param text: The rendered template.
    :param form: ``oslo`` (INI as oslo.config reads it), ``ini`` and ``uwsgi`` (that of others),
        ``properties`` (INI without sections), ``yaml``, ``json`` or ``raw``.
    :param override: What pillar says of this file, None for nothing. A raw file is replaced.
    :param name: The file's name, for messages.
    :param multi: For ``oslo``: section to its options that are repeated for several values; of all
        others a list is one value, joined by commas.
    :raises SalternError: The text is not of its form.
    """
    if form == "oslo":
        override = joined(override, multi, name)
    return _FORMS[form](text, override, name)


def joined(override: Any, multi: Mapping[str, Collection[str]], name: str) -> Any:
    """Return an override of an oslo file with its lists as the options of oslo.config take them.

    Sections that an operator names, such as those of Cinder's backends, have options that other
    sections have, too: there an option is repeated if it is so anywhere.

    :param multi: See :func:`apply`.
    :param name: The file's name, for messages.
    :raises SalternError: A list has an item with a comma, where lists are joined by commas.
    """
    if not isinstance(override, Mapping):
        return override
    anywhere = {option for options in multi.values() for option in options}
    result: dict[str, Any] = {}
    for section, options in override.items():
        if not isinstance(options, Mapping):
            result[section] = options
            continue
        repeated = multi.get(section, anywhere)
        result[section] = {
            option: _joined(value, f"{name}:{section}:{option}")
            if isinstance(value, list) and option.replace("-", "_") not in repeated
            else value
            for option, value in options.items()
        }
    return result


def _joined(values: list[Any], name: str) -> str:
    texts = [_scalar(value) for value in values]
    if any("," in text for text in texts):
        what = "a comma parts the items of this list, and one of them has a comma"
        raise SalternError(f"{name}: {what}: write the whole value as one text, in its own form")
    return ",".join(texts)


def parse_ini(text: str, name: str = "ini") -> Ini:
    """Return sections, options and values; a repeated option has several, a bare one has None.

    Options before the first section stand in section ``""``. An indented line goes on with the
    value above it, as in oslo.config and Python's configparser.
    """
    sections: Ini = {}
    options: dict[str, list[str | None]] | None = None
    values: list[str | None] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            continue
        if line[0].isspace() and values is not None:
            values[-1] = f"{values[-1] or ''}\n{stripped}"
        elif stripped[0] == "[":
            if stripped[-1] != "]":
                raise SalternError(f"{name}, line {number}: a section must end with ']': {line}")
            options, values = sections.setdefault(stripped[1:-1], {}), None
        else:
            options = sections.setdefault("", {}) if options is None else options
            option, equals, value = stripped.partition("=")
            values = options.setdefault(option.strip(), [])
            values.append(value.strip() if equals else None)
    return sections


def write_ini(sections: Ini) -> str:
    """Return the text of parsed INI; the inverse of :func:`parse_ini`."""
    blocks = []
    for section, options in sections.items():
        lines = [f"[{section}]"] if section else []
        for option, values in options.items():
            for value in values:
                value = None if value is None else value.replace("\n", "\n    ")
                lines.append(option if value is None else f"{option} = {value}".rstrip())
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def _ini(text: str, override: Any, name: str) -> str:
    sections = parse_ini(text, name)
    for section, options in (override or {}).items():
        if options is None:
            sections.pop(section, None)
            continue
        if not isinstance(options, Mapping):
            raise SalternError(f"{name}: section {section!r} needs options below it")
        present = sections.setdefault(section, {})
        for option, value in options.items():
            if value is None:
                present.pop(option, None)
            else:
                present[option] = [
                    _scalar(one) for one in (value if isinstance(value, list) else [value])
                ]
    return write_ini(sections)


def _properties(text: str, override: Any, name: str) -> str:
    return _ini(text, {"": override} if override else None, name)


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _yaml(text: str, override: Any, name: str) -> str:
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SalternError(f"{name} is not YAML: {error}") from error
    merged = merge(data if data is not None else {}, override or {})
    return yaml.safe_dump(merged, default_flow_style=False, sort_keys=False)


def _json(text: str, override: Any, name: str) -> str:
    try:
        data = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise SalternError(f"{name} is not JSON: {error}") from error
    return json.dumps(merge(data, override or {}), indent=2) + "\n"


def _raw(text: str, override: Any, name: str) -> str:
    if override is None:
        return text
    if not isinstance(override, str):
        raise SalternError(f"{name} has no structure to merge into: give its whole text")
    return override


_FORMS: dict[str, Callable[[str, Any, str], str]] = {
    "oslo": _ini,
    "uwsgi": _ini,
    "ini": _ini,
    "properties": _properties,
    "yaml": _yaml,
    "json": _json,
    "raw": _raw,
}
