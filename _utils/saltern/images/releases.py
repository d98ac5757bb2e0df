"""OpenStack's releases: `images/releases.yml`, and which of them may follow which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saltern import yamlfile
from saltern.errors import SalternError
from saltern.problems import check, unknown

FILE = "releases.yml"
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "additionalProperties": False,
        "required": ["codename", "upgrade_from"],
        "properties": {
            "codename": {"type": "string"},
            "upgrade_from": {"type": "array", "items": {"type": "string"}},
        },
    },
}


@dataclass(frozen=True)
class Release:
    """One release of OpenStack.

    :ivar codename: What distributions call it in their repositories.
    :ivar upgrade_from: Releases from which one upgrade leads to it.
    """

    codename: str
    upgrade_from: tuple[str, ...]


Releases = Mapping[str, Release]


def read(path: Path) -> dict[str, Release]:
    """Return the releases of a file such as ``images/releases.yml``, oldest first.

    :raises SalternError: The file breaks its schema, or names a release that it does not list before.
    """
    data = yamlfile.read(path) or {}
    if wrong := check(data, _SCHEMA, str(path)):
        raise SalternError("\n".join(map(str, wrong)))
    found: dict[str, Release] = {}
    for name, one in data.items():
        for older in one["upgrade_from"]:
            if older not in found:
                raise SalternError(str(unknown(f"{path}: {name}", older, found, "older release")))
        found[name] = Release(one["codename"], tuple(one["upgrade_from"]))
    return found


def upgrade_path(old: str, new: str, releases: Releases) -> None:
    """See to it that one upgrade leads from a release to another; the same one is no upgrade and right.

    :param old: The release that runs.
    :param new: The one that is wanted.
    :param releases: All that there are, oldest first, see :func:`read`.
    :raises SalternError: It does not; says why, and which release to go to first.
    """
    for name in (old, new):
        if name not in releases:
            raise SalternError(str(unknown(f"images/{FILE}", name, releases, "release")))
    order = list(releases)
    if order.index(new) < order.index(old):
        raise SalternError(
            f"{new} is older than {old}, which runs: no upgrade leads back. Set saltern:release to "
            f'"{old}"; what went before an upgrade is in the backup that it made'
        )
    if old == new or old in releases[new].upgrade_from:
        return
    first = next(iter(_between(old, new, releases)), None)
    allowed = ", ".join(releases[new].upgrade_from) or "no release"
    raise SalternError(
        f"{old} cannot be upgraded to {new}, which follows {allowed}. "
        + (
            f'Upgrade to {first} first: set saltern:release to "{first}", then to "{new}"'
            if first
            else f'No other release leads there: set saltern:release to "{old}"'
        )
    )


def _between(old: str, new: str, releases: Releases) -> list[str]:
    """Return the releases of the shortest way from one to another without its ends; nothing if there is none."""
    ways = [[new]]
    for way in ways:
        if old in releases[way[0]].upgrade_from:
            return way[:-1]
        # The newest first: of two ways of the same length the one that skips less at the end.
        ways += [[one, *way] for one in reversed(releases[way[0]].upgrade_from)]
    return []
