"""Which hosts and services a run concerns, and what may start when: decisions only, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from saltern import problems
from saltern.errors import SalternError


@dataclass(frozen=True)
class Service:
    """What a rollout must know of a service.

    :ivar hosts: Minion ids in inventory order; the first one holds the tasks that run once.
    :ivar requires: Services that must be finished everywhere before this one starts.
    :ivar serial: Hosts that are changed together after the first one; 0 is all of them.
    :ivar max_failures: Hosts that may fail before the run stops; the first one may not.
    :ivar database: It has a database, which its first host looks after.
    """

    name: str
    hosts: tuple[str, ...]
    requires: frozenset[str] = frozenset()
    serial: int = 0
    max_failures: int = 0
    database: bool = False


Graph = dict[str, Service]


@dataclass(frozen=True)
class Clustered:
    """A service whose containers form clusters.

    :ivar hosts: Every host of it, in inventory order; more than one.
    :ivar recovery: Container to the orchestration that starts its cluster when no member is up.
    """

    hosts: tuple[str, ...]
    recovery: Mapping[str, str]


def clustered(cloud: Any) -> dict[str, Clustered]:
    """Return the services of a :class:`saltern.cloud.model.Cloud` that are clusters of several hosts."""
    return {
        name: Clustered(
            tuple(cloud.placement[name]),
            {one: data.get("recovery", "") for one, data in formula["clusters"].items()},
        )
        for name, formula in cloud.catalog.items()
        if "clusters" in formula and len(cloud.placement[name]) > 1
    }


def graph(cloud: Any) -> Graph:
    """Return the services of a :class:`saltern.cloud.model.Cloud` as a graph, in deployment order."""
    return {
        name: Service(
            name=name,
            hosts=tuple(cloud.placement[name]),
            requires=frozenset(cloud.before(name)),
            serial=_limit(cloud, name, "serial"),
            max_failures=_limit(cloud, name, "max_failures"),
            database="database" in cloud.catalog[name],
        )
        for name in cloud.services
    }


def _limit(cloud: Any, service: str, key: str) -> int:
    """Return a limit of a service: the operator's, else that of its ``service.yml``."""
    return cloud.overrides[service].get(key, cloud.catalog[service].get(key, 0))


def narrow(
    services: Graph,
    hosts: Sequence[str],
    only_services: Iterable[str] = (),
    only_hosts: Iterable[str] = (),
    anywhere: bool = False,
) -> tuple[Graph, list[str]]:
    """Return the graph and the hosts that a run is limited to.

    :param services: The whole cloud's services.
    :param hosts: The whole cloud's minion ids.
    :param only_services: Names given by the operator; none means all.
    :param only_hosts: Minion ids given by the operator; none means all.
    :param anywhere: The services given may be such as the cloud does not have any more, and each may have
        left something on every chosen host.
    :raises SalternError: A name is unknown, or a chosen service runs on no chosen host.
    """
    only_services, only_hosts = list(only_services), list(only_hosts)
    for kind, names, known in (
        ("services", () if anywhere else only_services, services),
        ("hosts", only_hosts, hosts),
    ):
        for name in names:
            if name not in known:
                raise SalternError(str(problems.unknown(f"pillar {kind}", name, known, kind[:-1])))
    chosen_hosts = [host for host in hosts if host in (only_hosts or hosts)]
    if anywhere and only_services:
        return {name: Service(name, tuple(chosen_hosts)) for name in only_services}, chosen_hosts
    chosen = {
        name: replace(service, hosts=tuple(one for one in service.hosts if one in chosen_hosts))
        for name, service in services.items()
        if name in (only_services or services)
    }
    for name in only_services:
        if not chosen[name].hosts:
            where = ", ".join(services[name].hosts) or "no host"
            raise SalternError(f"pillar hosts: {name} runs on {where}, none of which was chosen")
    return chosen, chosen_hosts


def batches(hosts: Sequence[str], serial: int = 0, first: str | None = None) -> list[list[str]]:
    """Return hosts in the groups in which they are changed, one group after the other.

    :param hosts: Minion ids in inventory order.
    :param serial: Size of the groups; 0 is all together.
    :param first: The host that goes alone before the others: it runs what must be done once for
        the whole cloud, and a broken change stops there.
    """
    groups = [[first]] if first in hosts else []
    others = [host for host in hosts if host != first]
    size = serial or len(others) or 1
    return groups + [others[start : start + size] for start in range(0, len(others), size)]


def side_by_side(work: Mapping[str, Sequence[str]], at_once: int) -> Graph:
    """Return a graph for work whose services do not depend on each other, so many of them at once.

    :param work: Service to hosts.
    """
    names = list(work)
    before = [*[frozenset()] * at_once, *(frozenset({name}) for name in names)]
    return {
        name: Service(name, tuple(work[name]), requires)
        for name, requires in zip(names, before, strict=False)
    }


@dataclass(frozen=True)
class Step:
    """One service on hosts that are changed together."""

    service: str
    hosts: tuple[str, ...]


@dataclass
class Schedule:
    """Gives out steps as soon as what they need is done; after too many failures none starts any more.

    A failed host takes no part in services that require the one that failed there.

    :ivar services: The graph of the run.
    :ivar work: Service to the hosts on which it changes.
    """

    services: Graph
    work: Mapping[str, Sequence[str]]
    failed: bool = False
    _waiting: dict[str, list[list[str]]] = field(init=False)
    _running: dict[str, int] = field(default_factory=dict)
    _failures: dict[str, set[str]] = field(default_factory=dict)
    _left: dict[str, list[str]] = field(default_factory=dict)
    total: int = field(init=False)

    def __post_init__(self) -> None:
        self._waiting = {
            name: batches(
                [host for host in service.hosts if host in self.work[name]],
                service.serial,
                first=service.hosts[0],
            )
            for name, service in self.services.items()
            if self.work.get(name)
        }
        self.total = sum(len(group) for groups in self._waiting.values() for group in groups)

    @property
    def left(self) -> dict[str, list[str]]:
        """Service to the hosts on which nothing has begun."""
        left = {
            name: [
                *self._left.get(name, []),
                *(host for group in self._waiting.get(name, []) for host in group),
            ]
            for name in self.services
        }
        return {name: hosts for name, hosts in left.items() if hosts}

    def ready(self) -> list[Step]:
        """Return the steps that may start now and count them as started."""
        steps = []
        while not self.failed and (name := self._next()):
            group = self._waiting[name].pop(0)
            unfit = self._unfit(name)
            self._left.setdefault(name, []).extend(host for host in group if host in unfit)
            group = [host for host in group if host not in unfit]
            if group:
                self._running[name] = len(group)
                steps.append(Step(name, tuple(group)))
            elif not self._waiting[name]:
                del self._waiting[name]
        return steps

    def _next(self) -> str | None:
        """Return a service that may go on, if there is one."""
        return next(
            (
                name
                for name in self._waiting
                if not self._running.get(name) and not self._blocked_by(name) & set(self._waiting)
            ),
            None,
        )

    def _unfit(self, name: str) -> set[str]:
        """Return the hosts on which a service cannot be changed, as what it requires has failed there."""
        unfit = set()
        for one in self._blocked_by(name):
            unfit |= {*self._failures.get(one, ()), *self._left.get(one, ())}
        # Without its first host, what is done once for the whole cloud would be missing.
        first = self.services[name].hosts[0]
        return (
            set(self.services[name].hosts) if first in unfit and first in self.work[name] else unfit
        )

    def _blocked_by(self, name: str) -> set[str]:
        """Return all services that must be done before ``name``, also through unchanged ones."""
        found: set[str] = set()
        open_ = set(self.services[name].requires)
        while open_:
            one = open_.pop()
            if one not in found:
                found.add(one)
                open_ |= self.services[one].requires if one in self.services else set()
        return found

    def finished(self, service: str, host: str, ok: bool) -> None:
        """Take note that one host has finished its step of ``service``."""
        if not ok:
            failures = self._failures.setdefault(service, set())
            failures.add(host)
            one = self.services[service]
            # The first host shows whether the change is good.
            if host == one.hosts[0] or len(failures) > one.max_failures:
                self.failed = True
        self._running[service] -= 1
        if not self._running[service] and not self._waiting[service]:
            del self._waiting[service]
