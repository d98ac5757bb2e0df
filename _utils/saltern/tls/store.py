"""The certificates that the master keeps: on disk, what is wrong with them, which are due.

They are in a folder: ``ca.pem``, ``ca.key``, ``external.pem`` and ``internal.pem`` for the addresses of
the cloud, ``hosts/<minion id>.pem`` for what a host's own services show. A ``.pem`` holds the
certificate, its chain and its key. What the operator puts there is used as it is.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from saltern import files
from saltern.errors import SalternError
from saltern.problems import Problem
from saltern.service.certificates import MAKE
from saltern.tls import authority, faults, pem
from saltern.tls.authority import DAYS, Names

Store = dict[str, str]


def read(folder: str | Path, host: str = "*") -> Store:
    """Return the stored certificates by name (``ca``, ``external``, ``hosts/aio``); never the CA's key.

    :param host: Of which host besides those of the cloud; all of them unless one is named.
    :raises SalternError: Others than its owner can read a key.
    """
    folder = Path(folder)
    found = {}
    for path in sorted([*folder.glob("*.pem"), *folder.glob(f"hosts/{host}.pem")]):
        text = path.read_text(errors="replace")
        if "PRIVATE KEY" in text and path.stat().st_mode & 0o077:
            raise SalternError(f"{path} can be read by others than its owner: chmod 600 {path}")
        found[str(path.relative_to(folder).with_suffix(""))] = text
    return found


def read_key(folder: str | Path) -> str:
    """Return the CA's key, empty if there is none."""
    path = Path(folder, "ca.key")
    if path.exists() and path.stat().st_mode & 0o077:
        raise SalternError(f"{path} can be read by others than its owner: chmod 600 {path}")
    return path.read_text() if path.exists() else ""


def write(folder: str | Path, made: Mapping[str, str]) -> None:
    """Write certificates into the store, each at once; ``ca.key`` is the CA's key."""
    for name, text in made.items():
        path = Path(folder, name if name == "ca.key" else f"{name}.pem")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write(path, text, 0o600)


def plan(
    needed: Mapping[str, Names], stored: Mapping[str, str], key: str, now: datetime, days: float
) -> dict[str, str]:
    """Return which certificates are to be made and why; the operator's own are never among them.

    :param needed: See :func:`saltern.cloud.demand.wanted`.
    :param stored: See :func:`read`.
    :param key: The CA's key; without it nothing can be made.
    :param now: With its time zone.
    :param days: Those that expire within as many days are renewed.
    """
    ca = stored.get("ca", "")
    if not needed or (ca and not key):
        return {}
    made = {}
    if not ca:
        made["ca"] = "is missing"
    elif authority.is_ours(ca) and pem.days_left(ca, now) < DAYS:
        made["ca"] = "would expire before what it signs"
    for name, names in needed.items():
        if name not in stored:
            made[name] = "is missing"
        elif not authority.is_ours(stored[name]):
            continue
        elif not key or (ca and not faults.signed(pem.parsed(stored[name]), pem.parsed(ca))):
            made[name] = "was signed by another CA"
        elif pem.days_left(stored[name], now) < days:
            made[name] = f"expires in {pem.days_left(stored[name], now):.0f} days"
        elif missing := faults.missing(names.all, pem.chain(stored[name])[0]):
            made[name] = f"does not name {', '.join(missing)}"
    return made


def problems(
    needed: Mapping[str, Names],
    stored: Mapping[str, str],
    now: datetime,
    folder: str = "",
    but: Container[str] = (),
) -> list[Problem]:
    """Return what is wrong with the certificates that a cloud needs, a problem a file.

    :param folder: Where they are, for the messages.
    :param but: Names of those that are about to be made.
    """
    wrong = []
    for name in ["ca", *needed] if needed else []:
        path = str(Path(folder, f"{name}.pem"))
        if name in but:
            continue
        if name not in stored:
            remedy = f"Put yours there, or run {MAKE} (which needs ca.key beside an own ca.pem)"
            wrong.append(Problem(path, "is missing", remedy))
            continue
        names = needed[name].needed if name in needed else ()
        issuers = stored.get("ca", "") if name.startswith("hosts/") and "ca" not in but else ""
        what = faults.wrong(stored[name], names, now, name != "ca", issuers)
        if what:
            ours = authority.is_ours(stored[name])
            remedy = f"Run {MAKE}" if ours else f"Replace it, or remove it and run {MAKE}"
            wrong.append(Problem(path, what, remedy))
    return wrong


@dataclass(frozen=True)
class Expiry:
    """Until when a stored certificate is valid.

    :ivar host: The host whose services show it; empty for those of the cloud.
    :ivar days: Whole days left; negative when it has expired.
    """

    name: str
    host: str
    days: int
    names: list[str]


def expiries(stored: Mapping[str, str], now: datetime) -> list[Expiry]:
    """Return all certificates of the store that can be read, those that expire first on top."""
    found = []
    for name, text in stored.items():
        if certificates := pem.parsed(text):
            left = min(int((one.not_valid_after_utc - now).days) for one in certificates)
            host = name.removeprefix("hosts/") if name.startswith("hosts/") else ""
            found.append(Expiry(name, host, left, sorted(pem.names(certificates[0]))))
    return sorted(found, key=lambda one: (one.days, one.name))


def now() -> datetime:
    """Return the time with its zone."""
    return datetime.now(UTC)
