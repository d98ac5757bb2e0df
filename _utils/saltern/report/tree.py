"""The image tree: a row an image, with what it adds to the one that it starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saltern.images.graph import order

WIDTH, ROW, TOP = 1180.0, 26.0, 10.0
_LEFT, _INDENT = 16.0, 22.0
_BARS, _RIGHT = 330.0, 930.0


@dataclass(frozen=True)
class Node:
    """An image.

    :ivar depth: How many images are above it.
    :ivar others: Images that it copies from.
    :ivar size: Bytes; None if it is not here.
    :ivar added: Bytes that the one it starts from does not have.
    """

    name: str
    parent: str | None
    depth: int
    others: list[str]
    size: int | None
    added: int


@dataclass(frozen=True)
class Row:
    """An image as it is drawn, in pixels.

    :ivar node: What was given of it.
    :ivar branch: SVG's ``d`` of the line from the image above; empty at the top.
    :ivar shared: Width of what comes from the image that it starts from; ``own`` of what it adds.
    """

    node: Mapping[str, Any]
    x: float
    y: float
    branch: str
    bar: float
    shared: float
    own: float


@dataclass(frozen=True)
class Tree:
    """The whole tree, in pixels."""

    rows: list[Row]
    width: float
    height: float


def nodes(parents: Mapping[str, Sequence[str]], sizes: Mapping[str, int]) -> list[Node]:
    """Return the images, each below the one that it starts from.

    :param parents: Image to those it needs; the first is the one that it starts from.
    :param sizes: Image to bytes, what it starts from included; those that are not here are left out.
    """
    order(parents)  # there is no circle
    children: dict[str | None, list[str]] = {}
    for name in sorted(parents):
        children.setdefault(next(iter(parents[name]), None), []).append(name)
    found: list[Node] = []

    def add(name: str, parent: str | None, depth: int) -> None:
        size, below = sizes.get(name), sizes.get(parent or "", 0)
        # One that was built on an older image may be smaller than the newer one.
        added = max((size or 0) - below, 0)
        found.append(Node(name, parent, depth, list(parents[name][1:]), size, added))
        for child in children.get(name, ()):
            add(child, name, depth + 1)

    for name in children.get(None, ()):
        add(name, None, 0)
    return found


def draw(listed: Sequence[Mapping[str, Any]]) -> Tree:
    """Return the tree as it is drawn.

    :param listed: Fields of :class:`Node` and what else is known, in the order of :func:`nodes`.
    """
    most = max((one["size"] or 0 for one in listed), default=0) or 1
    rows: list[Row] = []
    height: dict[str, float] = {}
    for number, one in enumerate(listed):
        x, y = _LEFT + _INDENT * one["depth"], TOP + ROW * number
        height[one["name"]] = y
        above = height.get(one["parent"] or "")
        elbow = x - _INDENT + 5
        branch = "" if above is None else f"M{elbow:g} {above + 19:g}V{y + 13:g}H{x - 4:g}"
        scale = (_RIGHT - _BARS) / most
        own = one["added"] * scale
        shared = ((one["size"] or 0) - one["added"]) * scale
        rows.append(Row(one, x, y, branch, _BARS, shared, own))
    return Tree(rows, WIDTH, TOP + ROW * len(rows) + 8)
