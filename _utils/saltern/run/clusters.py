"""Clusters of several hosts, asked and told through Salt: :mod:`saltern.run.formation` decides what."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Container, Iterator, Mapping
from dataclasses import replace
from typing import Any

from salt.exceptions import SaltException

from saltern.errors import Failure, SalternError
from saltern.run import fleet, formation, schedule
from saltern.run.fleet import RolloutError, Run
from saltern.run.formation import Actions, Forget, NoMemberUpError
from saltern.run.progress import Phase
from saltern.run.schedule import Clustered

# How often a cluster is asked again whether its members have found each other.
_LOOK_SECONDS = 5


def plan(
    run: Run, phase: Phase, changing: Container[str], deadline: float, patience: float = 0
) -> Actions:
    """Return what the clusters of the run's services need; it takes their members in the order decided.

    All of them are asked, also those of services that do not change: a cluster that is down is no
    cluster that is as wanted. Every member is asked, also those that the run leaves out, which need
    not answer.

    :param changing: Services that the run changes.
    :param deadline: Seconds a host has.
    :param patience: Seconds that members which run have to find each other, as after a power cut.
    :raises RolloutError: A host of the run is silent or fails.
    :raises RefusedError: A person must decide.
    """
    known = {
        name: one
        for name, one in schedule.clustered(run.cloud).items()
        if name in run.services and run.services[name].hosts
    }
    end = time.monotonic() + patience
    while True:
        facts = _members(run, phase, known, deadline)
        try:
            todo = formation.actions(known, facts, run.hosts, changing)
            break
        except NoMemberUpError as error:
            if not error.trying or time.monotonic() > end:
                raise
        time.sleep(_LOOK_SECONDS)
    for service, order in todo.orders.items():
        placed = run.services[service]
        hosts = tuple(host for host in order if host in placed.hosts)
        run.services[service] = replace(placed, hosts=hosts)
    return todo


def _members(
    run: Run, phase: Phase, known: Mapping[str, Clustered], deadline: float
) -> dict[str, Any]:
    """Return host to what its members are like; hosts that the run leaves out may be missing."""
    calls: dict[str, dict[str, Any]] = {}
    for service, one in known.items():
        for host in one.hosts:
            calls.setdefault(host, {"services": []})["services"].append(service)
    mine = {host: call for host, call in calls.items() if host in run.hosts}
    others = {host: call for host, call in calls.items() if host not in run.hosts}
    facts = run.fleet.call(phase, "cluster.members", mine, deadline)
    # A host that the run leaves out may be the one that is broken.
    said, _ = run.fleet.answers(phase, "cluster.members", others, deadline)
    return facts | said


def prepare(run: Run, phase: Phase, todo: Actions, deadline: float) -> None:
    """Let members forget lost ones, then form and start what needs it.

    :param deadline: Seconds a host has for each of the two.
    :raises RolloutError: A host is silent or fails.
    """
    _forget(run, phase, todo.forget, deadline)
    run.fleet.call(phase, "cluster.prepare", todo.prepare, deadline)


def plan_without(run: Run, phase: Phase, gone: str, deadline: float) -> Forget:
    """Return who must be asked to forget a host: host to container to the host to forget.

    :param gone: Minion id; the run is one of the other hosts.
    :param deadline: Seconds a host has.
    :raises RolloutError: One of them is silent or fails.
    :raises RefusedError: Another member is not healthy.
    """
    clusters = {
        service: one for service, one in schedule.clustered(run.cloud).items() if gone in one.hosts
    }
    calls = {host: {"services": list(clusters)} for host in run.hosts}
    facts = run.fleet.call(phase, "cluster.members", calls, deadline)
    return formation.dispense_with(gone, clusters, facts)


def effects(run: Run, phase: Phase, gone: str, asked: Forget, deadline: float) -> list[str]:
    """Return what :func:`remove` would do, a line each."""
    found, failures = run.fleet.answers(phase, "container.list", {gone: {}}, deadline)
    fleet.stop_for([one for one in failures if not one.silent])
    there = found.get(gone, {})
    names = [name for name, one in there.items() if one["state"] == "running"]
    said = [f"{gone}: does not answer, and so must be off" for _ in failures]
    said += [f"{gone}: stops {', '.join(names) or 'nothing'}; its data stay there"] if found else []
    said += [f"{host}: {', '.join(lost)} will forget {gone}" for host, lost in asked.items()]
    if run.cloud.provider("client"):
        said.append(f"the services' records of {gone} are deleted: compute services and agents")
    return said


@contextlib.contextmanager
def started_again(run: Run, phase: Phase, service: str) -> Iterator[None]:
    """Start the members that this run has stopped as they were, if what it stopped them for fails.

    :raises RolloutError: It failed; says of these members, too.
    """
    try:
        yield
    except (SalternError, SaltException) as error:
        if not run.stopped:
            raise
        call = {"start": list(run.cloud.catalog[service]["clusters"])}
        done, wrong = run.fleet.answers(
            phase, "cluster.prepare", dict.fromkeys(run.stopped, call), 120
        )
        again = f"its {service} was stopped for this, and is started again as it was"
        notes = [Failure(again, host, service) for host in done]
        raise RolloutError([*fleet.failures_of(error), *notes, *wrong]) from error


def remove(run: Run, phase: Phase, gone: str, asked: Forget, deadline: float) -> dict[str, Any]:
    """Stop a host's services, let the clusters forget it and delete the records of it.

    :param gone: Minion id; a host of which nothing is heard is taken for one that is off.
    :param asked: What :func:`plan_without` returned.
    :param deadline: Seconds a host has for each of the three.
    :returns: What was ``stopped``, and what ``clusters`` and ``records`` have forgotten.
    :raises RolloutError: The host answers and its services were not stopped; another one is silent or
        fails.
    """
    stopped, failures = run.fleet.answers(phase, "saltern.stop", {gone: {}}, deadline)
    fleet.stop_for([one for one in failures if not one.silent])
    said = _forget(run, phase, asked, deadline)
    records = {host: {"host": gone} for host in run.hosts_of("client")[:1]}
    deleted = run.fleet.call(phase, "saltern.forget_host", records, deadline)
    silent = {one.host: one.reason for one in failures}
    return {"stopped": stopped | silent, "clusters": said, "records": deleted}


def _forget(run: Run, phase: Phase, asked: Forget, deadline: float) -> dict[str, Any]:
    calls = {host: {"lost": lost} for host, lost in asked.items()}
    return run.fleet.call(phase, "cluster.forget", calls, deadline)
