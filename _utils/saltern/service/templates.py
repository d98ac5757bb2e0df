"""How templates are rendered: plain Jinja, undefined names are errors."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import jinja2
import jinja2.nodes

from saltern.errors import SalternError


class Secret(str):
    """A secret as it is; what a template makes of it (a URL, JSON, a hash) is plain text.

    :ivar name: ``service.name``.
    """

    name: str


# Name of a template to its text, None if there is none.
Source = Callable[[str], str | None]


def rabbitmq_hash(password: str) -> str:
    """Return RabbitMQ's salted SHA-256 of a password, the same at every call.

    Source: rabbitmq.com/docs/passwords, "this is the algorithm".
    """
    salt = hashlib.sha256(b"saltern" + password.encode()).digest()[:4]
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def render(name: str, source: Source, context: Mapping[str, Any], form: str = "raw") -> str:
    """Return the text of a template.

    :param name: Name that ``source`` knows.
    :param source: Finds templates, also those that are imported or included.
    :param form: Format of the file, as in ``service.yml``: secrets are written so that its reader gets
        them as they are, or refused by name.
    :raises SalternError: No such template, wrong syntax or an undefined name; names the line.
    """
    environment = _environment(jinja2.FunctionLoader(source), functools.partial(_written, form))
    try:
        return environment.get_template(name).render(context)
    except jinja2.TemplateNotFound as error:
        raise SalternError(f"template {error.name} does not exist (wanted by {name})") from error
    except jinja2.TemplateSyntaxError as error:
        raise SalternError(f"{error.name or name}, line {error.lineno}: {error.message}") from error
    except (jinja2.TemplateError, SalternError, TypeError, KeyError, IndexError) as error:
        raise SalternError(f"{name}{_line(error, name)}: {error}") from error


def faults(name: str, source: Source) -> list[str]:
    """Return what is wrong with a template without rendering it: what is missing, or wrong syntax.

    :param name: Name that ``source`` knows.
    :param source: Finds templates, also those that are imported.
    """
    text = source(name)
    if text is None:
        return [f"{name} does not exist"]
    try:
        tree = _tree(text)
    except jinja2.TemplateSyntaxError as error:
        return [f"{name}, line {error.lineno}: {error.message}"]
    wrong: list[str] = []
    for imported in tree.find_all(jinja2.nodes.Import):
        if not isinstance(imported.template, jinja2.nodes.Const):
            continue
        other = imported.template.value
        below = faults(other, source)
        wrong += below
        known = [] if below else _exported(source(other) or "")
        wrong += [
            f"{name}, line {node.lineno}: {other} has no {node.attr!r}"
            for node in tree.find_all(jinja2.nodes.Getattr)
            if isinstance(node.node, jinja2.nodes.Name)
            and node.node.name == imported.target
            and node.attr not in known
            and not below
        ]
    return wrong


@functools.lru_cache(maxsize=512)
def _tree(text: str) -> jinja2.nodes.Template:
    return _environment().parse(text)


def _exported(text: str) -> set[str]:
    """Return the names of a template's macros and of what it sets."""
    tree = _tree(text)
    sets = [one.target for one in tree.find_all(jinja2.nodes.Assign)]
    names = {one.name for one in sets if isinstance(one, jinja2.nodes.Name)}
    return names | {one.name for one in tree.find_all(jinja2.nodes.Macro)}


def resolve(value: Any, context: Mapping[str, Any]) -> Any:
    """Return data with every string in it rendered; numbers and truth values stay as they are.

    An item of a list that renders to nothing is left out: ``{{ "x:/y" if enabled("cinder") }}``.
    """
    if isinstance(value, Mapping):
        return {key: resolve(one, context) for key, one in value.items()}
    if isinstance(value, list):
        rendered = ((one, resolve(one, context)) for one in value)
        return [new for old, new in rendered if new != "" or old == ""]
    if _is_template(value):
        try:
            return _template(value).render(context)
        except jinja2.TemplateError as error:
            raise SalternError(f"{value!r}: {error}") from error
    return value


def literal(value: Any) -> Any:
    """Return data of which :func:`resolve` makes the data given here, whatever braces are in it."""
    if isinstance(value, Mapping):
        return {key: literal(one) for key, one in value.items()}
    if isinstance(value, list):
        return [literal(one) for one in value]
    # Jinja's texts are written as JSON's are.
    return f"{{{{ {json.dumps(value, ensure_ascii=False)} }}}}" if _is_template(value) else value


def _is_template(value: Any) -> bool:
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def evaluate(expression: str, context: Mapping[str, Any]) -> Any:
    """Return the value of a Jinja expression.

    :raises SalternError: Wrong syntax or an undefined name.
    """
    try:
        return _expression(expression)(**context)
    except (jinja2.TemplateError, TypeError, ValueError) as error:
        raise SalternError(f"{expression!r}: {error}") from error


def holds(expression: str, context: Mapping[str, Any]) -> bool:
    """Return whether a Jinja expression is true.

    :raises SalternError: Wrong syntax or an undefined name.
    """
    return bool(evaluate(expression, context))


# Compiled once: the same few strings of the formulas are rendered for every host.
@functools.lru_cache(maxsize=4096)
def _template(text: str) -> jinja2.Template:
    return _environment().from_string(text)


@functools.lru_cache(maxsize=4096)
def _expression(text: str) -> Callable[..., Any]:
    return _environment().compile_expression(text, undefined_to_none=False)


def _written(form: str, value: Any) -> Any:
    """Return what stands in a file for the value of ``{{ ... }}``."""
    if not isinstance(value, Secret) or form == "raw":
        return value
    if form in ("yaml", "json"):
        raise SalternError(f"secret {value.name!r}: in a file of {form} write it with | tojson")
    if form == "oslo":
        # Its parser takes away one pair of quotes, and reads $name and $$.
        text = value.replace("$", "$$")
        return f'"{text}"' if value[0] == value[-1] and value[0] in "\"'" else text
    if not _PLAIN.fullmatch(value):
        what = f"secret {value.name!r} has characters that a file of {form} takes wrongly"
        raise SalternError(f"{what}: choose one of letters, digits and _ . + / = @ : , ~ -")
    return value


# What every file of names and values takes for a text.
_PLAIN = re.compile(r"[A-Za-z0-9_.+/=@:,~-]+")


def _environment(
    loader: jinja2.BaseLoader | None = None, finalize: Callable[[Any], Any] | None = None
) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=loader,
        finalize=finalize,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["rabbitmq_hash"] = rabbitmq_hash
    return environment


def _line(error: BaseException, name: str) -> str:
    """Return ``, line N`` of the innermost template frame of an error."""
    line, trace = None, error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename in (name, "<template>"):
            line = trace.tb_lineno
        trace = trace.tb_next
    return f", line {line}" if line else ""
