"""The functions that Salt offers by our adapters, and the commands and states that texts give as examples."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import salt.utils.args
import yaml
from clouds import ROOT
from salt.state import STATE_INTERNAL_KEYWORDS

MODULES, STATES, RUNNERS = "_modules", "_states", "_runners"
_FOLDERS = {"salt": MODULES, "salt-call": MODULES, "salt-run": RUNNERS}
# `salt-run --out=json saltern.plan`, `salt 'control*' galera.status`
_COMMAND = re.compile(r"\b(salt|salt-call|salt-run)((?: +--?[a-zA-Z]\S*)*) +(\S[^`\n]*)")


@functools.cache
def functions(folder: str) -> dict[str, Callable[..., Any]]:
    """Return ``module.function`` to function of one kind of adapters."""
    found = {}
    for path in sorted((ROOT / folder).glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"saltern_adapter_{path.stem}", path)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        alias = getattr(module, "__func_alias__", {})
        for name, one in vars(module).items():
            own = inspect.isfunction(one) and one.__module__ == module.__name__
            if own and not name.startswith("_"):
                found[f"{path.stem}.{alias.get(name, name)}"] = one
    return found


@dataclass(frozen=True)
class Command:
    """A command of Salt as a text gives it.

    :ivar folder: The kind of adapters that it calls.
    :ivar function: ``module.function``.
    :ivar arguments: What follows, as Salt takes it.
    """

    folder: str
    function: str
    arguments: tuple[str, ...]

    def wrong(self, prose: bool = False) -> str:
        """Return why it cannot work; empty if it can, or if the function is Salt's own.

        :param prose: Words may follow that are no arguments of it.
        """
        module = self.function.partition(".")[0]
        ours = functions(self.folder)
        names = {name.partition(".")[0] for kind in (MODULES, RUNNERS) for name in functions(kind)}
        if module not in names:
            return ""
        if self.function not in ours:
            return f"{self.folder} has no {self.function}"
        positional, named = salt.utils.args.parse_input(list(self.arguments), condition=False)
        if prose:
            return _binds(ours[self.function], [], named, partly=True)
        return _binds(ours[self.function], positional, named)


def commands(text: str) -> Iterator[Command]:
    """Yield the commands of Salt in a text; long ones may be continued with a backslash."""
    for match in _COMMAND.finditer(re.sub(r"\\+\n\s*", " ", text)):
        program, _, rest = match.groups()
        try:
            words = shlex.split(rest, comments=True)
        except ValueError:
            words = rest.split()
        if program == "salt":
            words = words[1:]
        if words and re.fullmatch(r"[a-z_]+\.[a-z_]+", words[0].rstrip('.,;:)"')):
            yield Command(_FOLDERS[program], words[0].rstrip('.,;:)"'), tuple(words[1:]))


def examples(function: Callable[..., Any], kind: str) -> str:
    """Return the text of the code blocks of one kind in a docstring."""
    blocks = re.split(r"\.\. code-block:: (\w+)\n", inspect.getdoc(function) or "")
    return "\n".join(
        inspect.cleandoc(text)
        for name, text in zip(blocks[1::2], blocks[2::2], strict=True)
        if name == kind
    )


def states(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (``module.function``, arguments) of the states in a text of YAML."""
    for name, declared in yaml.safe_load(text).items():
        for function, arguments in declared.items():
            merged = {key: value for one in arguments for key, value in one.items()}
            yield function, {"name": name} | merged


def state_wrong(function: str, arguments: dict[str, Any]) -> str:
    """Return why a state cannot work; empty if it can."""
    if function not in functions(STATES):
        return f"there is no state {function}"
    own = {key: one for key, one in arguments.items() if key not in STATE_INTERNAL_KEYWORDS}
    return _binds(functions(STATES)[function], [], own | {"name": arguments["name"]})


def _binds(
    function: Callable[..., Any],
    positional: list[Any],
    named: dict[str, Any],
    partly: bool = False,
) -> str:
    named = {key: one for key, one in named.items() if not key.startswith("__")}
    signature = inspect.signature(function)
    try:
        (signature.bind_partial if partly else signature.bind)(*positional, **named)
    except TypeError as error:
        return f"{function.__name__}: {error}"
    return ""
