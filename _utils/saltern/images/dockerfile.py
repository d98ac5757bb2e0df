"""As much of the Dockerfile language as the graph needs: stages, what they start from and copy from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from saltern.errors import SalternError

_INSTRUCTIONS = frozenset(
    [
        "FROM",
        "RUN",
        "COPY",
        "ADD",
        "ENV",
        "ARG",
        "LABEL",
        "USER",
        "WORKDIR",
        "ENTRYPOINT",
        "CMD",
        "EXPOSE",
        "VOLUME",
        "SHELL",
        "STOPSIGNAL",
        "HEALTHCHECK",
        "ONBUILD",
    ]
)


@dataclass
class Stage:
    """One stage: ``FROM source [AS name]``."""

    source: str
    name: str = ""
    instructions: list[tuple[str, str]] = field(default_factory=list)

    @property
    def user(self) -> str:
        """Who the stage ends as; empty if it says nothing."""
        return next((text for word, text in reversed(self.instructions) if word == "USER"), "")


def parse(text: str, where: str = "Dockerfile") -> list[Stage]:
    """Return the stages of a Dockerfile.

    :param where: Its name, for error messages.
    :raises SalternError: An unknown instruction, or one before the first FROM.
    """
    stages: list[Stage] = []
    for line, instruction in instructions(text):
        word, _, rest = instruction.partition(" ")
        word, rest = word.upper(), rest.strip()
        if word not in _INSTRUCTIONS:
            raise SalternError(f"{where}, line {line}: unknown instruction {word!r}. Correct it")
        if word == "FROM":
            match = re.fullmatch(r"(\S+)(?:\s+[Aa][Ss]\s+(\S+))?", rest)
            if not match:
                raise SalternError(
                    f"{where}, line {line}: FROM {rest!r}. Write FROM image [AS name]"
                )
            stages.append(Stage(match[1], (match[2] or "").lower()))
        elif not stages and word != "ARG":
            raise SalternError(f"{where}, line {line}: {word} before FROM. Start with FROM")
        elif stages:
            stages[-1].instructions.append((word, rest))
    if not stages:
        raise SalternError(f"{where}: there is no FROM. Start with FROM")
    return stages


def sources(stages: Sequence[Stage]) -> list[str]:
    """Return the images that stages start from or copy from, other stages excluded."""
    found: list[str] = []
    names: set[str] = set()
    for stage in stages:
        wanted = [stage.source]
        for word, rest in stage.instructions:
            match = re.match(r"(?:--\S+\s+)*--from=(\S+)", rest) if word == "COPY" else None
            if match and not match[1].isdigit():
                wanted.append(match[1])
        found += [one for one in wanted if one.lower() not in names and one not in found]
        if stage.name:
            names.add(stage.name)
    return found


def runs_on(stages: Sequence[Stage]) -> str:
    """Return the image that the last stage starts from, through other stages."""
    by_name = {stage.name: stage for stage in stages if stage.name}
    stage = stages[-1]
    while stage.source.lower() in by_name and by_name[stage.source.lower()] is not stage:
        stage = by_name[stage.source.lower()]
    return stage.source


def instructions(text: str) -> list[tuple[int, str]]:
    """Return (line number, instruction) with continued lines joined and comments dropped."""
    found: list[tuple[int, str]] = []
    parts: list[str] = []
    start = 0
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        start = start if parts else number
        parts.append(stripped.removesuffix("\\").rstrip())
        if not stripped.endswith("\\"):
            found.append((start, " ".join(parts)))
            parts = []
    if parts:
        found.append((start, " ".join(parts)))
    return found
