"""The images as a graph: an order to build in, the longest path, and a tree to look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from saltern.errors import SalternError

Graph = Mapping[str, Iterable[str]]


def order(parents: Graph) -> list[str]:
    """Return the images so that each comes after its parents.

    :param parents: Image name to the images it needs.
    :raises SalternError: The images of a circle.
    """
    try:
        return list(TopologicalSorter(parents).static_order())
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        raise SalternError(f"images need each other: {circle}. Break the circle") from error


def descendants(parents: Graph, names: Iterable[str]) -> set[str]:
    """Return the images that need any of ``names``, directly or not, without ``names``."""
    given = set(names)
    found: set[str] = set()
    for name in order(parents):
        if any(one in found or one in given for one in parents.get(name, ())):
            found.add(name)
    return found - given


def priorities(
    parents: Graph, seconds: Mapping[str, float], default: float = 20.0
) -> dict[str, float]:
    """Return how long the longest path from an image to a leaf takes: what to build first.

    :param seconds: Past build durations; images without one count ``default`` seconds.
    """
    children: dict[str, list[str]] = {name: [] for name in parents}
    for name, needed in parents.items():
        for one in needed:
            children.setdefault(one, []).append(name)
    result: dict[str, float] = {}
    for name in reversed(order(parents)):
        below = max((result[child] for child in children.get(name, ())), default=0.0)
        result[name] = seconds.get(name, default) + below
    return result


def tree(parents: Graph) -> str:
    """Return the graph as an indented tree by the first parent; other parents are named behind."""
    first = {name: next(iter(needed), None) for name, needed in parents.items()}
    children: dict[str | None, list[str]] = {}
    for name, parent in sorted(first.items()):
        children.setdefault(parent, []).append(name)
    lines: list[str] = []

    def draw(name: str, prefix: str, branch: str, below: str) -> None:
        others = [one for one in parents[name] if one != first[name]]
        lines.append(f"{prefix}{branch}{name}" + (f"  (+ {', '.join(others)})" if others else ""))
        inner = children.get(name, [])
        for number, child in enumerate(inner):
            last = number == len(inner) - 1
            draw(child, prefix + below, "`-- " if last else "|-- ", "    " if last else "|   ")

    for root in children.get(None, []):
        draw(root, "", "", "")
    return "\n".join(lines)
