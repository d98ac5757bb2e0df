"""Who forms a cluster, who joins it, and who goes first: decisions over facts of every member, no I/O.

A member of a cluster of several hosts never forms one by itself: it joins, unless a file in its volume
(the mark) tells it to form the cluster at its next start. Here it is decided who gets that mark.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from saltern.errors import SalternError
from saltern.run import command
from saltern.run.schedule import Clustered

# Host to the containers that are asked there, each with the hosts that its own cluster must forget.
Forget = dict[str, dict[str, list[str]]]


@dataclass(frozen=True)
class Member:
    """What is known of one host of a cluster.

    :ivar data: It holds data of the cluster: it is, or was, a member.
    :ivar alone: It holds data from a time when it was the only host.
    :ivar marked: It forms the cluster at its next start.
    :ivar running: Its container runs.
    :ivar healthy: Its container's health check is content: it belongs to a part with a quorum.
    """

    host: str
    data: bool = False
    alone: bool = False
    marked: bool = False
    running: bool = False
    healthy: bool = False


@dataclass(frozen=True)
class Formation:
    """What to do before the members are changed one after the other.

    :ivar form: Host that gets the mark.
    :ivar start: Hosts whose containers must start together, as none gets ready by itself.
    :ivar order: All hosts in the order in which they are changed.
    :ivar forget: Hosts without data; a cluster that still knows them must forget them before they join.
    :ivar asked: Host whose member can be asked to forget them.
    """

    order: tuple[str, ...]
    form: str | None = None
    start: tuple[str, ...] = ()
    forget: tuple[str, ...] = ()
    asked: str | None = None


class RefusedError(SalternError):
    """The facts do not say what is safe.

    :ivar remedy: What a person can do.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.remedy = remedy


class NoMemberUpError(RefusedError):
    """A cluster that is started by an orchestration of its own has no member that is up.

    :ivar trying: A member runs: it may yet find the others.
    """

    def __init__(self, reason: str, remedy: str, trying: bool) -> None:
        super().__init__(reason, remedy)
        self.trying = trying


def decide(
    cluster: str,
    members: Sequence[Member],
    chosen: Sequence[str] | None = None,
    recovery: str = "",
    unknown: Sequence[str] = (),
) -> Formation:
    """Return who forms a cluster, if it must be formed, and in which order its members are changed.

    A new cluster is formed by its first host. Members that are not healthy go first, so that a
    healthy one is not stopped while others are missing.

    :param cluster: Name for messages.
    :param members: The hosts of the cluster in inventory order.
    :param chosen: Hosts that this run may change; None is all.
    :param recovery: Orchestration that starts a cluster of which no member is up; without one its
        members can simply be started together.
    :param unknown: Hosts of the cluster that have not answered.
    :raises RefusedError: The facts contradict each other, or a person must decide.
    """
    if any(one.data for one in members):
        every = [one.host for one in members] + list(unknown)
        limited = chosen is not None and not set(every) <= set(chosen)
        hosts = [host for host in every if host in chosen] if limited else None
        recover = command.text(f"state.orchestrate orch.{recovery}", {"hosts": hosts})
        return _existing(cluster, members, recover if recovery else "")
    if unknown:
        raise RefusedError(
            f"{cluster}: no other host holds data, and nothing is known of {', '.join(unknown)}",
            "bring the host back, or take it out of the pillar",
        )
    return _new(cluster, members, [one.host for one in members] if chosen is None else chosen)


def _new(cluster: str, members: Sequence[Member], chosen: Sequence[str]) -> Formation:
    for kind, what in (("marked", "to form the cluster"), ("alone", "with data of its own")):
        found = [one.host for one in members if getattr(one, kind)]
        if len(found) > 1:
            raise RefusedError(
                f"{cluster}: more than one host {what}: {', '.join(found)}",
                "keep the one whose data are wanted; on the others stop the container and remove its volume",
            )
    marked = [one for one in members if one.marked]
    alone = [one for one in members if one.alone]
    if marked and alone and marked != alone:
        raise RefusedError(
            f"{cluster}: {marked[0].host} is marked to form the cluster, but {alone[0].host} has data",
            f"remove the mark on {marked[0].host}",
        )
    first = next(iter([*alone, *marked, *(one for one in members if one.host in chosen)]))
    if first.host not in chosen:
        raise RefusedError(
            f"{cluster}: {first.host} must form the cluster, and this run leaves it out",
            f"add {first.host} to the hosts of the run",
        )
    rest = [one.host for one in members if one != first]
    return Formation((first.host, *rest), form=None if first.marked else first.host)


def _existing(cluster: str, members: Sequence[Member], recover: str) -> Formation:
    up = [one for one in members if one.data and one.healthy]
    holders = ", ".join(one.host for one in members if one.data)
    for one in members:
        if one.marked and (up or not one.data):
            raise RefusedError(
                f"{cluster}: {one.host} is marked to form a new cluster, but there is one on {holders}",
                f"salt {one.host} cluster.unmark {cluster}: it would form a second cluster at its next start",
            )
    marked = [one for one in members if one.marked]
    order = sorted(members, key=lambda one: (one.healthy, not one.marked))
    hosts = tuple(one.host for one in order)
    if up:
        lost = tuple(one.host for one in members if not (one.data or one.alone or one.healthy))
        return Formation(hosts, forget=lost, asked=up[0].host if lost else None)
    if marked:
        return Formation(hosts)
    if recover:
        raise NoMemberUpError(
            f"{cluster}: no member is up, and {holders} hold data",
            f"if they are not just starting: {recover}",
            trying=any(one.running for one in members),
        )
    return Formation(
        hosts, start=tuple(one.host for one in members if one.data and not one.running)
    )


@dataclass
class Actions:
    """What the hosts must do before the services are changed.

    :ivar orders: Service to its hosts in the order in which they are changed.
    :ivar prepare: Host to the arguments of ``cluster.prepare``: containers to ``form`` and ``start``.
    :ivar forget: Host to container to the hosts that its cluster must forget.
    """

    orders: dict[str, tuple[str, ...]] = field(default_factory=dict)
    prepare: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    forget: Forget = field(default_factory=dict)

    def text(self) -> str:
        """Return all of it in a sentence."""
        said = [
            f"{verb} {', '.join(names)} on {host}"
            for host, verbs in self.prepare.items()
            for verb, names in verbs.items()
        ]
        said += [
            f"{container} forgets {', '.join(hosts)}"
            for containers in self.forget.values()
            for container, hosts in containers.items()
        ]
        return f"To do: {'; '.join(said)}." if said else "No cluster has to be formed or started."


def actions(
    clusters: Mapping[str, Clustered],
    facts: Mapping[str, Mapping[str, Any]],
    chosen: Sequence[str],
    changing: Container[str] | None = None,
) -> Actions:
    """Return what is decided of all clusters together.

    :param clusters: Service to its hosts and containers.
    :param facts: Host to what ``cluster.members`` says; hosts that have not answered are missing.
    :param chosen: Hosts that this run may change.
    :param changing: Services that this run changes, which alone are formed and started; None is all.
    :raises RefusedError: See :func:`decide`.
    """
    todo = Actions()
    for service, one in clusters.items():
        for container, recovery in one.recovery.items():
            known = [host for host in one.hosts if host in facts]
            unknown = [host for host in one.hosts if host not in facts]
            members = [Member(host, **facts[host][service][container]) for host in known]
            decided = decide(container, members, chosen, recovery, unknown)
            if decided.order != tuple(known):
                todo.orders[service] = decided.order
            if changing is None or service in changing:
                for verb, hosts in (("form", [decided.form]), ("start", decided.start)):
                    for host in filter(None, hosts):
                        todo.prepare.setdefault(host, {}).setdefault(verb, []).append(container)
            lost = [host for host in decided.forget if host in chosen]
            if lost and decided.asked:
                todo.forget.setdefault(decided.asked, {})[container] = lost
    return todo


def dispense_with(
    gone: str, clusters: Mapping[str, Clustered], facts: Mapping[str, Mapping[str, Any]]
) -> Forget:
    """Return who must be asked to forget a host: host to container to the host to forget.

    :param clusters: Those that the host belongs to, service to its hosts and containers.
    :param facts: Every other host to what ``cluster.members`` says.
    :raises RefusedError: Another member is not healthy.
    """
    asked: Forget = {}
    for service, one in clusters.items():
        others = [host for host in one.hosts if host != gone]
        for container in one.recovery:
            down = [host for host in others if not facts[host][service][container]["healthy"]]
            if down:
                raise RefusedError(
                    f"{container}: {', '.join(down)} must be healthy before {gone} goes",
                    "salt-run state.orchestrate orch.deploy, limited to the other hosts",
                )
            asked.setdefault(others[0], {})[container] = [gone]
    return asked
