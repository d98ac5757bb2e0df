"""What is done about a fault, and whether now: decisions only. docs/remediation.md."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from saltern.cloud.model import Cloud
from saltern.containers import faults
from saltern.containers.deaths import pause
from saltern.containers.faults import Fault
from saltern.run import maintenance, rules, schedule
from saltern.run.maintenance import Maintenance

# Seconds between two tries at one fault: first, and at most.
_FIRST, _MOST = 10.0, 900.0
# How long a database has to find itself again, such as after a boot of all hosts.
_FORMING = 60.0
# What leaves a service without work.
_DOWN = (faults.STOPPED, faults.UNHEALTHY, faults.MISSING, faults.BY_HAND, rules.DATABASE)


@dataclass(frozen=True)
class Decision:
    """What is done about a fault.

    :ivar action: One of :mod:`saltern.run.rules`; nothing: it is left as it is.
    :ivar why: In words, for the journal.
    :ivar later: Whether this may be otherwise without any change on the host: then it is asked again.
    """

    action: str
    why: str
    later: bool = False


@dataclass(frozen=True)
class Situation:
    """What a decision depends on.

    :ivar incidents: Those of the whole cloud that go on.
    :ivar resting: What is in maintenance.
    :ivar upgrading: Services whose upgrade has begun and is not finished.
    :ivar now: Seconds since 1970.
    """

    cloud: Cloud
    incidents: Sequence[Mapping[str, Any]]
    now: float
    resting: Sequence[Maintenance] = ()
    upgrading: Collection[str] = ()
    graph: schedule.Graph = field(default_factory=dict)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Return ``saltern:remediation`` of the pillar."""
        return self.cloud.settings["remediation"]


def decide(one: Mapping[str, Any], situation: Situation) -> Decision:
    """Return what is done about an incident.

    :param one: Fields of the incident.
    """
    host, service, rule = one["host"], one["service"], one["rule"]
    cloud = situation.cloud
    if service and host not in cloud.placement.get(service, ()):
        return Decision("", f"left alone: the pillar does not want {service} here")
    if rules.of(situation.settings, rule) == rules.OBSERVE:
        return Decision("", "observed")
    if at_work := maintenance.of(situation.resting, host, service):
        return Decision("", f"waits: {at_work}", later=True)
    if service in situation.upgrading:
        return Decision("", f"waits: the upgrade of {service} is not finished", later=True)
    action = rules.RULES[rule].action
    if action == rules.RECOVER:
        return _recovery(one, situation)
    if cause := _cause(one, situation):
        return Decision("", f"waits for {cause}", later=True)
    if one["next"] > situation.now:
        return Decision("", one["decision"], later=True)
    if rule == faults.UNHEALTHY and situation.now - one["began"] < faults.UNHEALTHY_SECONDS:
        return Decision("", "waits whether it becomes healthy by itself", later=True)
    if rule == faults.IMAGE and not cloud.settings["images"].get("registry"):
        return Decision("", "observed: no registry to pull it from; salt-run image.build makes it")
    return Decision(action, _WORDS[action])


_WORDS = {
    rules.START: "start it",
    rules.RESTART: "restart it",
    rules.APPLY: "deploy the service to the host",
    rules.RECOVER: "start the cluster",
}


def pause_after(tries: int) -> float:
    """Return the seconds until the next try at a fault.

    :param tries: How many there were.
    """
    return pause(tries, _FIRST, _MOST)


def _recovery(one: Mapping[str, Any], situation: Situation) -> Decision:
    known = schedule.clustered(situation.cloud).get(one["service"])
    recovery = known.recovery.get(one["name"]) if known else ""
    if not recovery:
        return Decision("", "observed: there is no orchestration that starts this cluster")
    if situation.now - one["began"] < _FORMING:
        return Decision("", "waits for members to find each other", later=True)
    if one["next"] > situation.now:
        return Decision("", one["decision"], later=True)
    return Decision(rules.RECOVER, f"start the cluster (orch.{recovery})")


def _cause(one: Mapping[str, Any], situation: Situation) -> str:
    """Return what has to be well before this can be; nothing if nothing is known.

    With the broker away all that needs it is unhealthy: to restart that makes the outage longer.
    """
    down: dict[str, set[str]] = {}
    for other in situation.incidents:
        if other["rule"] in _DOWN:
            down.setdefault(other["service"], set()).add(other["host"])
    for name in _required(one["service"], situation.graph):
        hosts = set(situation.graph[name].hosts)
        # All of it, or what works for this host alone.
        alone = name not in schedule.clustered(situation.cloud) and one["rule"] == faults.UNHEALTHY
        if hosts <= down.get(name, set()) or (alone and one["host"] in down.get(name, ())):
            return name
    return ""


def _required(service: str, graph: schedule.Graph) -> list[str]:
    """Return what a service requires, also through others."""
    found: dict[str, None] = {}
    todo = [service]
    while todo:
        for name in sorted(graph[todo.pop()].requires if graph else ()):
            if name not in found and name != service:
                found[name] = None
                todo.append(name)
    return list(found)


def of_clusters(host: str, found: Iterable[Fault], situation: Situation) -> list[Fault]:
    """Return faults with those of members of clusters named as such: of one member, or of all.

    :param found: What a host has said.
    """
    clustered = schedule.clustered(situation.cloud)
    result = []
    for one in found:
        known = clustered.get(one.service)
        if known and one.name in known.recovery and one.rule in (*_MEMBERS, faults.UNHEALTHY):
            others = {
                other["host"]
                for other in situation.incidents
                if other["name"] == one.name
                and other["rule"] in (*_MEMBERS, rules.MEMBER, rules.DATABASE, faults.BY_HAND)
            }
            if set(known.hosts) <= others | {host}:
                said = f"no member of {one.name} is up"
                result.append(Fault(rules.DATABASE, one.service, one.name, said, one.since))
                continue
            if one.rule == faults.UNHEALTHY:
                one = Fault(rules.MEMBER, one.service, one.name, one.said, one.since)
        result.append(one)
    return result


_MEMBERS = (faults.STOPPED, faults.MISSING)


def of_host(
    answer: Mapping[str, Any], asked: tuple[float, float], settings: Mapping[str, Any]
) -> list[Fault]:
    """Return what is wrong with a host itself: its clock, its disks, its watch.

    :param answer: What ``remediation.faults`` says.
    :param asked: When it was asked and when it had answered, in seconds since 1970.
    :param settings: ``saltern`` of the pillar.
    """
    result = []
    # Its clock is between both where it is right.
    off = max(asked[0] - answer["time"], answer["time"] - asked[1], 0.0)
    if off > settings["limits"]["clock_offset_s"]:
        result.append(Fault(rules.CLOCK, "", "clock", f"its clock is off by {off:.0f} s or more"))
    for said in answer["short"]:
        result.append(Fault(rules.DISK, "", said.partition(":")[0], said))
    if answer["watched"] is None or answer["watched"] > _UNWATCHED:
        ago = "never" if answer["watched"] is None else f"{answer['watched']:.0f} s ago"
        result.append(
            Fault(rules.UNWATCHED, "", "watch", f"the watch of its containers looked {ago}")
        )
    return result


_UNWATCHED = 120.0
