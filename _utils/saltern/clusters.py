"""Clusters of several hosts, asked and told through Salt: :mod:`saltern.formation` decides what."""

from __future__ import annotations

import contextlib
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Any

from saltern import formation, rollout
from saltern.fleet import RolloutError, Run
from saltern.formation import Actions
from saltern.progress import Phase

Calls = Mapping[str, Mapping[str, Any]]


def plan(run: Run, phase: Phase, services: Container[str], deadline: float) -> Actions:
    """Return what the clusters of services need; the run takes their members in the order decided.

    Every member is asked, also those that the run leaves out, which need not answer.

    :param services: Those that change.
    :param deadline: Seconds a host has.
    :raises RolloutError: A host of the run is silent or fails.
    :raises RefusedError: A person must decide.
    """
    clusters = {name: one for name, one in rollout.clustered(run.cloud).items() if name in services}
    calls: dict[str, dict[str, Any]] = {}
    for service, one in clusters.items():
        for host in one.hosts:
            calls.setdefault(host, {"services": []})["services"].append(service)
    mine = {host: call for host, call in calls.items() if host in run.hosts}
    others = {host: call for host, call in calls.items() if host not in run.hosts}
    facts = run.fleet.call(phase, "cluster.members", mine, deadline)
    # A host that the run leaves out may be the one that is broken.
    with contextlib.suppress(RolloutError):
        facts |= run.fleet.call(phase, "cluster.members", others, deadline)
    todo = formation.actions(clusters, facts, run.hosts)
    for service, order in todo.orders.items():
        placed = run.services[service]
        hosts = tuple(host for host in order if host in placed.hosts)
        run.services[service] = replace(placed, hosts=hosts)
    return todo


def prepare(run: Run, phase: Phase, todo: Actions, deadline: float) -> None:
    """Let members forget lost ones, then form and start what needs it.

    :param deadline: Seconds a host has for each of the two.
    :raises RolloutError: A host is silent or fails.
    """
    run.fleet.call(phase, "cluster.forget", todo.forget, deadline)
    run.fleet.call(phase, "cluster.prepare", todo.prepare, deadline)


def plan_without(run: Run, phase: Phase, gone: str, deadline: float) -> Calls:
    """Return who must be asked to forget a host: host to the arguments of ``cluster.forget``.

    :param gone: Minion id; the run is one of the other hosts.
    :param deadline: Seconds a host has.
    :raises RolloutError: One of them is silent or fails.
    :raises RefusedError: Another member is not healthy.
    """
    clusters = {
        service: one for service, one in rollout.clustered(run.cloud).items() if gone in one.hosts
    }
    calls = {host: {"services": list(clusters)} for host in run.hosts}
    facts = run.fleet.call(phase, "cluster.members", calls, deadline)
    return formation.dispense_with(gone, clusters, facts)


def remove(run: Run, phase: Phase, gone: str, asked: Calls, deadline: float) -> dict[str, Any]:
    """Stop a host's services, let the clusters forget it and delete the records of it.

    :param gone: Minion id; a host that does not answer is taken for one that is off.
    :param asked: What :func:`plan_without` returned.
    :param deadline: Seconds a host has for each of the three.
    :returns: What was ``stopped``, and what ``clusters`` and ``records`` have forgotten.
    :raises RolloutError: Another host is silent or fails.
    """
    try:
        stopped = run.fleet.call(phase, "saltern.stop", {gone: {}}, deadline)
    except RolloutError as error:
        stopped = {gone: str(error)}
    said = run.fleet.call(phase, "cluster.forget", asked, deadline)
    toolbox: Sequence[str] = run.services["toolbox"].hosts[:1] if "toolbox" in run.services else ()
    records = {host: {"host": gone} for host in toolbox}
    deleted = run.fleet.call(phase, "saltern.forget_host", records, deadline)
    return {"stopped": stopped, "clusters": said, "records": deleted}
