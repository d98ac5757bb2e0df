"""What is not well in the cloud, each with its remedy: of what hosts, the toolbox and libvirt have said."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from saltern.errors import Failure
from saltern.run.progress import count, logs_of
from saltern.run.status import Row
from saltern.tls.store import Expiry

Finding = dict[str, str]

_SHOWN_INSTANCES = 3
_RENEW = (
    "salt-run state.orchestrate orch.certificates, then orch.deploy; of your own ones: docs/tls.md"
)


def of_containers(
    hosts: Mapping[str, Sequence[Row]], recoveries: Mapping[str, Mapping[str, str]]
) -> list[Finding]:
    """Return what is not well of the containers of all hosts.

    :param hosts: Host to its :func:`rows`, with ``said``: what a health check that failed has said.
    :param recoveries: Service that is a cluster of several hosts to its containers, each with the
        orchestration that starts the cluster when no member is up, or nothing.
    :returns: ``host``, ``name``, ``finding`` and ``remedy`` of each.
    """
    up = {one["name"] for found in hosts.values() for one in found if not one["kind"]}
    down = {
        name: f"salt-run state.orchestrate orch.{recovery}"
        for containers in recoveries.values()
        for name, recovery in containers.items()
        if recovery and name not in up
    }
    result = []
    for host, found in hosts.items():
        for one in found:
            if one["kind"]:
                what, remedy = _of_container(host, one)
                if one["name"] in down:
                    what += "; no other member is up"
                    remedy = f"{remedy}; if none comes up: {down[one['name']]}"
                result.append(finding(host, one["name"], what, remedy))
    return result


def _of_container(host: str, one: Row) -> tuple[str, str]:
    """Return what is wrong with a container, and its remedy."""
    service, said = one["service"], one.get("said") or "no answer yet"
    deploy = _deploy(service, host)
    kinds = {
        "missing": ("missing", deploy),
        "stopped": (f"stopped: {one['status']}", deploy),
        "paused": ("paused", deploy),
        "restarting": (f"exits again and again: {one['status']}", logs_of(host, service)),
        "starting": (f"still starts: {said}", f"ask again; {logs_of(host, service)}"),
        "unhealthy": (
            f"unhealthy: {said}",
            f"{logs_of(host, service)}; salt {host} container.restart {one['name']}",
        ),
        "failed": (
            "kept of a replacement that did not come up",
            f"salt {host} container.logs {one['name']} says why; correct it, and {deploy} removes it",
        ),
        "interrupted": ("left of a replacement that was interrupted", deploy),
    }
    return kinds[one["kind"]] if one["kind"] in kinds else _left(host, one)


def _left(host: str, one: Row) -> tuple[str, str]:
    service = one["service"]
    if one["kind"] == "unwanted":
        name = one["name"].partition(".")[0]
        remedy = f"salt {host} container.absent {name}"
        return f"{service} does not want it here any more", remedy
    return f"{service} does not run here any more: disabled, moved or gone", remove(service, host)


def remove(service: str, host: str) -> str:
    """Return the command that removes what a service has left on a host, with its data."""
    pillar = json.dumps({"services": [service], "hosts": [host], "confirm": "yes"})
    return f"salt-run state.orchestrate orch.destroy pillar='{pillar}' (with its data)"


def _deploy(service: str, host: str) -> str:
    pillar = json.dumps({"services": [service], "hosts": [host]})
    return f"salt-run state.orchestrate orch.deploy pillar='{pillar}'"


def of_leftovers(hosts: Mapping[str, Iterable[Row]]) -> list[Finding]:
    """Return what services that are gone have left, as findings."""
    return [
        finding(host, one["name"], *_left(host, one))
        for host, found in hosts.items()
        for one in found
    ]


def of_records(
    answer: Mapping[str, Any], hosts: Iterable[str], asked_on: str, client: str
) -> list[Finding]:
    """Return what Nova, Neutron and Cinder hold for down, and who of them could not be asked.

    :param answer: What the client's program printed: ``down`` and ``errors``; nothing if it was not asked.
    :param hosts: The hosts of the cloud.
    :param asked_on: The host whose client was asked.
    :param client: The service that has the client.
    """
    known = list(hosts)
    result = []
    for service, error in answer.get("errors", {}).items():
        remedy = _logs(service)
        if service == client:
            remedy = f"if its image is older than this checkout: salt-run image.build {client}, then {_deploy(service, asked_on)}"
        what = f"cannot be asked whom it holds for down: {error}"
        result.append(finding(asked_on, service, what, remedy))
    for one in answer.get("down", []):
        host = one["host"].partition("@")[0]
        remedy = _logs(one["service"], host)
        if host not in known:
            remedy = f"{host} is not in the pillar: salt {asked_on} saltern.forget_host {host}"
        what = f"{one['service']} holds it for down; last heard of {one['since'] or 'never'}"
        result.append(finding(host, one["what"], what, remedy))
    return result


def _logs(service: str, host: str = "") -> str:
    return f"salt-run saltern.logs service={service}{f' host={host}' if host else ''} level=error"


def of_instances(counted: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """Return the hosts on which instances that should run do not."""
    result = []
    for host, one in counted.items():
        if one["down"]:
            ids = ", ".join(one["down"][:_SHOWN_INSTANCES])
            more = len(one["down"]) - _SHOWN_INSTANCES
            what = f"{one['running']} of {count(one['wanted'], 'instance')} run; down: {ids}"
            what += f" and {more} more" if more > 0 else ""
            remedy = (
                "after a start of the host nova-compute resumes them one by one: ask again; "
                "else openstack server reboot --hard ID"
            )
            result.append(finding(host, "instances", what, remedy))
    return result


def of_certificates(expiries: Iterable[Expiry]) -> list[Finding]:
    """Return the certificates that have expired."""
    return [
        finding(one.host or "master", one.name, "the certificate has expired", _RENEW)
        for one in expiries
        if one.days < 0
    ]


def of_failures(silent: Iterable[Failure]) -> list[Finding]:
    """Return hosts that have not answered, as findings."""
    return [finding(one.host, "minion", one.reason, one.remedy) for one in silent]


def finding(host: str, name: str, what: str, remedy: str) -> Finding:
    """Return something that is not well."""
    return {"host": host, "name": name, "finding": what, "remedy": remedy}


def text(found: Sequence[Finding]) -> str:
    """Return what is not well as a text, each with its remedy."""
    lines = ["Not well:"] if found else ["All well."]
    for one in found:
        what = one["finding"].strip().splitlines() or [""]
        lines.append(f"  {one['host']}  {one['name']}  {what[0]}")
        lines += [f"      {line}" for line in what[1:]]
        lines.append(f"      next: {one['remedy']}")
    return "\n".join(lines)


def silenced_text(found: Sequence[Finding]) -> str:
    """Return what is not well of hosts and services in maintenance."""
    lines = ["Not well, but in maintenance:"]
    lines += [
        f"  {one['host']}  {one['name']}  {one['finding'].partition(chr(10))[0]}" for one in found
    ]
    return "\n".join(lines)


def left_text(found: Sequence[Finding]) -> str:
    """Return what a deployment leaves alone, with what removes it."""
    lines = ["Would stay, as no service wants them:"]
    for one in found:
        lines += [
            f"  {one['host']}  {one['name']}  {one['finding']}",
            f"      next: {one['remedy']}",
        ]
    return "\n".join(lines)
