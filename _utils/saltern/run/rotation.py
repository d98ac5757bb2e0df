"""Rotations: which secrets get another value, and what forbids it; no host is asked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from saltern import problems
from saltern.cloud import secrets
from saltern.cloud.model import Cloud
from saltern.errors import Failure
from saltern.run.fleet import RolloutError
from saltern.run.plan import Plan
from saltern.run.progress import count
from saltern.service import templates

# Words for what is no secret of a service, and what does it.
_ELSEWHERE = {
    "certificates": "salt-run state.orchestrate orch.certificates pillar='{\"days\": 100000}' makes all "
    "of the cloud's own anew; nothing restarts"
}
# A word for several.
_TOGETHER = {"passwords": ("database", "broker", "identity")}


@dataclass(frozen=True)
class Rotation:
    """A secret that gets another value.

    :ivar service: Who declares it.
    :ivar declaration: As its ``service.yml`` does.
    :ivar holders: The services that have it in their configuration, its own among them.
    """

    service: str
    name: str
    declaration: Mapping[str, Any] = field(hash=False)
    holders: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.service}.{self.name}"

    @property
    def by(self) -> str:
        """How it is rotated, see ``rotate`` in a ``service.yml``."""
        return self.declaration["rotate"]["by"]

    @property
    def gap(self) -> str:
        """Who is refused until all have the new value; nothing if nobody is."""
        return self.declaration["rotate"].get("gap", "")

    def size(self, cloud: Cloud) -> int:
        """Return how many keys a ring keeps."""
        names = {"options": cloud.options(self.service)}
        return int(templates.resolve(self.declaration.get("size", 3), names))


def chosen(cloud: Cloud, what: Sequence[str], services: Iterable[str]) -> list[Rotation]:
    """Return the secrets that a command chooses, of services that run.

    :param what: Words of the command: those that secrets declare.
    :param services: Names given by the operator; none means all.
    :raises RolloutError: A word is unknown, a service has no such secret, or one is not rotated by a command.
    """
    services = list(services)
    known = words(cloud)
    if not what:
        reason = f"what is rotated is not named; pillar:what takes {', '.join(known)}"
        raise RolloutError([Failure(reason)])
    if unknown := [one for one in what if one not in known]:
        wrong = [problems.unknown("pillar:what", one, known, "word") for one in unknown]
        raise RolloutError([Failure(str(one)) for one in wrong])
    what = [word for one in what for word in _TOGETHER.get(one, (one,))]
    declared = [one for one in _declared(cloud) if one.declaration["rotate"]["what"] in what]
    mine = [one for one in declared if one.service in (services or cloud.services)]
    _refuse(what, services, declared, mine)
    return mine


def words(cloud: Cloud) -> list[str]:
    """Return what a command can name."""
    return sorted(
        {*_ELSEWHERE, *_TOGETHER, *(one.declaration["rotate"]["what"] for one in _declared(cloud))}
    )


def _declared(cloud: Cloud) -> list[Rotation]:
    return [
        Rotation(service, name, one, tuple(secrets.holders(cloud, service, name)))
        for service, name, one in secrets.declared(cloud.catalog)
        if "rotate" in one and cloud.placement[service]
    ]


def _refuse(
    what: Collection[str],
    services: Sequence[str],
    declared: Sequence[Rotation],
    mine: Sequence[Rotation],
) -> None:
    """Refuse services without such a secret, and secrets that no command rotates."""
    wrong = [
        Failure(f"{one} are not rotated by this command", remedy=_ELSEWHERE[one])
        for one in what
        if one in _ELSEWHERE
    ]
    for service in services if not wrong else ():
        if service not in [one.service for one in mine]:
            others = ", ".join(dict.fromkeys(one.service for one in declared)) or "no service"
            reason = f"{service} has no secret for {', '.join(what)}; {others} has"
            wrong.append(Failure(reason, remedy="Leave it out of services"))
    for one in mine:
        if instead := one.declaration["rotate"].get("instead"):
            wrong.append(Failure(f"{one} is not rotated by this command", remedy=instead))
    if not mine and not wrong:
        wrong = [Failure(f"no service of this cloud has a secret for {', '.join(what)}")]
    if wrong:
        raise RolloutError(wrong)


def in_the_way(plans: Mapping[str, Plan], begun: Collection[str], again: str) -> list[Failure]:
    """Return what must be done first: a rotation changes a cloud that is as its pillar says, and up.

    :param plans: Host to what would change there.
    :param begun: Services of which a secret is under way: what differs there is the rotation's.
    :param again: The command that does what is to be done.
    """
    return [
        Failure(
            f"{change['state']}: {change['comment']}".partition("\n")[0],
            host,
            service,
            remedy=again,
        )
        for host, services in plans.items()
        for service, changes in services.items()
        if service not in begun
        for change in changes
    ]


def text(rotations: Sequence[Rotation], stored: Mapping[str, Mapping[str, Any]]) -> str:
    """Return in some sentences what is rotated, and where containers are replaced for it."""
    begun = [str(one) for one in rotations if secrets.under_way(stored, one.service, one.name)]
    new = [str(one) for one in rotations if str(one) not in begun]
    holders = dict.fromkeys(
        holder for one in rotations if one.by != "ring" for holder in one.holders
    )
    said = [
        f"Goes on with {', '.join(begun)}." if begun else "",
        f"{count(len(new), 'secret')}: {', '.join(new)}." if new else "",
        f"Replaces the containers of {', '.join(holders)}." if holders else "",
    ]
    return " ".join(filter(None, said))
