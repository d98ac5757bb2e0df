"""What a report tells, of made-up clouds: real formulas and images, a status and a history as runs leave them."""

from __future__ import annotations

import functools
import random
from typing import Any

import yaml
from clouds import ROOT, load

from saltern.cloud import formulas, loading
from saltern.cloud.model import Cloud
from saltern.images.catalog import Catalog
from saltern.images.options import Options
from saltern.images.render import render
from saltern.report import facts, tree
from saltern.run import findings

NOW = 1_795_900_000.0
_DAY = 86400.0
_PHASES = [
    ("Check pillar, secrets and certificates", 0.4),
    ("Take the lock of the cloud", 0.1),
    ("Ask every host whether it can run the cloud", 6.2),
    ("Ask every host what would change", 19.5),
    ("Fetch the images that hosts lack", 31.0),
    ("Bring certificates to the hosts", 2.3),
    ("Apply services in the order of what they require", 240.0),
    ("See that every API answers at its public address", 8.1),
]


@functools.cache
def large(computes: int = 94) -> Cloud:
    """Return a cloud of three control hosts, three network hosts and many compute hosts."""
    roles = {"control": 3, "network": 3, "compute": computes}
    hosts = {
        f"{role}{number}": {"address": f"10.0.{index}.{number}", "roles": [role]}
        for index, (role, most) in enumerate(roles.items())
        for number in range(1, most + 1)
    }
    pillar = yaml.safe_load((ROOT / "pillar/examples/multinode.sls").read_text())
    pillar["saltern"] |= {"hosts": hosts}
    catalog = formulas.load([ROOT / "formulas"])
    return loading.load(pillar, catalog, loading.releases(ROOT / "images"))


def status(
    cloud: Cloud, silent: tuple[str, ...] = (), bad: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return what ``saltern.status`` tells.

    :param silent: Hosts that do not answer.
    :param bad: Host to container to its kind.
    """
    bad = bad or {}
    rows: dict[str, list[dict[str, Any]]] = {}
    for host in cloud.hosts:
        if host in silent:
            continue
        rows[host] = []
        for service in cloud.services_of(host):
            for name in cloud.catalog[service]["containers"]:
                kind = bad.get(host, {}).get(name, "")
                image = f"registry.example.org:5000/saltern/{service}:2026.2"
                rows[host].append(
                    {
                        "name": name,
                        "service": service,
                        "state": kind or "running",
                        "health": "healthy",
                    }
                    | {
                        "image": image,
                        "status": "Exited (1)" if kind else "Up 3 days",
                        "kind": kind,
                    }
                    | ({"said": "connection to 10.0.0.9:3306 refused"} if kind else {})
                )
    found = [
        findings.finding(host, "minion", "no answer within 10 s", f"salt {host} test.ping")
        for host in silent
    ]
    computes = [name for name, host in cloud.hosts.items() if "compute" in host["roles"]]
    return {
        "status": rows,
        "findings": [*found, *findings.of_containers(rows, {})],
        "instances": {
            host: {"wanted": 7, "running": 7, "down": []} for host in computes if host not in silent
        },
        "certificates": [
            {"name": name, "host": host, "days": days, "names": [f"{name}.example.org"]}
            for name, host, days in [
                ("external", "", 41),
                ("internal", "", 61),
                *((f"hosts/{one}", one, 61) for one in cloud.hosts),
            ]
        ],
    }


def run(number: int, began: float, seconds: float, **more: Any) -> dict[str, Any]:
    """Return a run as the history keeps it."""
    return {
        "id": f"20261128{number:012}",
        "who": ("ann", "bob", "the schedule", "the reactor")[number % 4],
        "command": "salt-run state.orchestrate orch.deploy",
        "started": began,
        "seconds": seconds,
        "result": "done",
        "process": [1, 0.0],
        "phases": [],
        "services": {},
        "failures": [],
        **more,
    }


def deployed(cloud: Cloud, began: float, failed: str = "") -> dict[str, Any]:
    """Return a whole deployment of a cloud, service after service, host after host.

    :param failed: A service that fails on its last host.
    """
    numbers = random.Random(cloud.settings["release"])
    at, phases = 0.0, []
    for title, seconds in _PHASES:
        at += seconds
        phases.append({"phase": title, "ok": True, "seconds": seconds, "ended": round(at, 1)})
        phases[-1] |= {"said": "Done.", "changed": []}
    start = sum(seconds for _, seconds in _PHASES[:6])
    services: dict[str, Any] = {}
    ends: dict[str, float] = {}
    for service in cloud.services:
        begin = max([start, *(ends[one] for one in cloud.before(service))])
        for host in cloud.placement[service]:
            took = round(numbers.uniform(3, 26), 1)
            part = {"states": 2, "seconds": took, "ended": round(begin + took, 1)}
            if service == failed and host == cloud.placement[service][-1]:
                part["ok"] = False
            services.setdefault(service, {})[host] = part
        ends[service] = max(one["ended"] for one in services[service].values())
    phases[6] |= {"ended": max(ends.values()), "seconds": round(max(ends.values()) - start, 1)}
    phases[7]["ended"] = max(ends.values()) + 8.1
    whole = run(1, began, phases[7]["ended"] + 0.4, phases=phases, services=services)
    if failed:
        phases[6]["ok"] = False
        del phases[7]
        reason = "unhealthy: no answer from its API within 120 s"
        host = cloud.placement[failed][-1]
        failure = {
            "host": host,
            "service": failed,
            "state": "",
            "reason": reason,
            "remedy": "orch.deploy",
        }
        whole |= {"result": "failed", "failures": [failure]}
    return whole


def runs(cloud: Cloud, failed: str = "") -> list[dict[str, Any]]:
    """Return the history of two weeks."""
    numbers = random.Random(7)
    found = []
    for number in range(70):
        began = NOW - 14 * _DAY * (1 - number / 72) + numbers.uniform(-9000, 9000)
        phase = {"phase": "Apply", "ok": True, "seconds": 1.0, "said": "", "changed": ["x"]}
        seconds = round(numbers.lognormvariate(3.4, 1.4), 1)
        more: dict[str, Any] = {"phases": [phase]}
        if number % 3 == 0:
            more, seconds = {"times": 1 + number % 5}, round(numbers.uniform(2, 12), 1)
        if number % 13 == 5:
            failure = {
                "host": "compute2",
                "service": "",
                "state": "",
                "reason": "disk full",
                "remedy": "",
            }
            more = {"result": "failed", "failures": [failure]}
        if number in (31, 58):
            more = {"result": "killed" if number == 31 else "interrupted"}
        found.append(run(number + 2, began, seconds, **more))
    return [*found, deployed(cloud, NOW - 7200, failed)]


@functools.cache
def images(cloud: Cloud) -> dict[str, Any]:
    """Return the real tree of images, with made-up sizes."""
    options = Options()
    rendered = render(Catalog(ROOT / "images", options), options, cloud.images)
    parents = {name: one.parents for name, one in rendered.items()}
    numbers = random.Random(3)
    sizes: dict[str, int] = {}
    for node in tree.nodes(parents, {}):
        below = sizes.get(node.parent or "", 0)
        sizes[node.name] = below + int(numbers.lognormvariate(17.6, 1))
    total = sum(node.added for node in tree.nodes(parents, sizes))
    measured = {name: {"size": size, "own": 0} for name, size in sizes.items()}
    return facts.images(cloud, parents, {"total": total, "images": measured, "missing": []})


def data(cloud: Cloud | str = "multinode", trouble: bool = False, **more: Any) -> dict[str, Any]:
    """Return what a report tells.

    :param cloud: Also the name of a topology.
    :param trouble: Some things are not well, a host is silent, another in maintenance, a run has failed.
    :param more: Parts of the status.
    """
    cloud = load(cloud) if isinstance(cloud, str) else cloud
    told = status(cloud)
    if trouble:
        told = status(
            cloud, ("compute2",), {"control2": {"glance-api": "unhealthy", "mariadb": "stopped"}}
        )
        resting = {"host": "compute1", "service": "", "reason": "disk change", "who": "ann"}
        told["maintenance"] = [{**resting, "since": NOW - 3600, "until": NOW + 7200}]
    kept = runs(cloud, "nova" if trouble else "")
    return facts.gather(cloud, told | more, kept, images(cloud), NOW)


INCIDENTS = [
    {
        "since": NOW - 9 * _DAY,
        "until": NOW - 9 * _DAY + 7000,
        "host": "control1",
        "what": "mariadb died",
        "done": "started",
    },
    {
        "since": NOW - 3 * _DAY,
        "until": NOW - 2.2 * _DAY,
        "host": "compute2",
        "what": "disk nearly full",
        "done": "told",
    },
    {
        "since": NOW - 0.4 * _DAY,
        "until": None,
        "host": "control2",
        "what": "rabbitmq unhealthy",
        "done": "restarts",
    },
]
