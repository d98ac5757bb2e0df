"""What the report tells, as plain data: the status, the history and the images, put together."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from saltern.cloud.model import Cloud
from saltern.images.names import images_of
from saltern.report import tree
from saltern.run import drift, history, schedule, summary
from saltern.run.progress import count

Data = dict[str, Any]

# How something is; each has a shape of its own on the page.
WELL, BAD, RESTING, UNKNOWN = "well", "not well", "in maintenance", "no answer"
# Parts of the status that have no section of their own: tables, if the status brings them. Incidents are drawn
# over time, too, by `since` and `until` (seconds since 1970).
_TABLES = ("incidents", "drift", "backups", "disk", "probe")
_TIMES = ("since", "until")


def gather(
    cloud: Cloud, told: Mapping[str, Any], runs: Sequence[history.Run], images: Data, now: float
) -> Data:
    """Return all that the page shows, as JSON can hold it.

    :param told: What ``saltern.status`` returns, by its kinds: ``status`` (host to rows), ``findings`` and the others.
    :param runs: The history, the newest last.
    :param images: Of :func:`images`, or ``unknown``: why nothing is known of them.
    :param now: Seconds since 1970.
    """
    if told.get("drift"):
        told = {**told, "drift": drift.rows(told["drift"])}
    hosts = list(_hosts(cloud, told))
    services = list(_services(cloud, told))
    return {
        "now": now,
        "release": str(cloud.settings["release"]),
        "region": str(cloud.settings["region"]),
        "address": cloud.settings["internal_address"],
        "findings": told.get("findings", []),
        "silenced": told.get("silenced", []),
        "hosts": hosts,
        "groups": _groups(hosts, services),
        "services": services,
        "containers": list(_containers(told)),
        "clusters": list(_clusters(cloud, told)),
        "certificates": told.get("certificates", []),
        "maintenance": told.get("maintenance", []),
        "runs": [_run(one) for one in runs],
        "last": _last(runs),
        "images": images,
        "tables": {name: _table(told[name]) for name in _TABLES if told.get(name)},
        "incidents": [
            {**one, "title": _sentence(one)} for one in told.get("incidents", []) if "since" in one
        ],
    }


def _rows(told: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every container that was found or is missing, with its host."""
    for host, rows in told["status"].items():
        for row in rows:
            yield host, row


def _hosts(cloud: Cloud, told: Mapping[str, Any]) -> Iterator[Data]:
    resting = {one["host"] for one in told.get("maintenance", []) if not one["service"]}
    for name, host in cloud.hosts.items():
        rows = told["status"].get(name)
        found = [one for one in told.get("findings", []) if one["host"] == name]
        state = UNKNOWN if rows is None else BAD if found else WELL
        counted = told.get("instances", {}).get(name)
        yield {
            "name": name,
            "address": host["address"],
            "roles": list(host["roles"]),
            "services": cloud.services_of(name),
            "state": RESTING if name in resting else state,
            "answers": rows is not None,
            "up": sum(not row["kind"] for row in rows or ()),
            "containers": len(rows or ()),
            "findings": len(found),
            "instances": dict(counted) if counted else None,
        }


def _services(cloud: Cloud, told: Mapping[str, Any]) -> Iterator[Data]:
    """Yield what runs somewhere, each after what it requires."""
    owner = {
        name: service
        for service in cloud.services
        for name in (service, *cloud.catalog[service].get("containers", {}))
    }

    def about(kind: str, service: str) -> list[Mapping[str, Any]]:
        found = told.get(kind, [])
        return [one for one in found if owner.get(one["name"].partition(".")[0]) == service]

    silent = set(cloud.hosts) - set(told["status"])
    for service in cloud.services:
        hosts = cloud.placement[service]
        rows = [row for _, row in _rows(told) if row["service"] == service]
        unheard = [host for host in hosts if host in silent]
        state = (
            BAD if about("findings", service) else RESTING if about("silenced", service) else WELL
        )
        yield {
            "name": service,
            "summary": cloud.catalog[service].get("summary", ""),
            "needs": sorted(cloud.before(service)),
            "hosts": list(hosts),
            "state": UNKNOWN if state == WELL and len(unheard) == len(hosts) else state,
            "unheard": unheard,
            "up": sum(not row["kind"] for row in rows),
            "containers": len(rows),
        }


def _groups(hosts: Sequence[Data], services: Sequence[Data]) -> list[Data]:
    """Return hosts that run the same as one group, so that a hundred of them are one."""
    found: dict[tuple[tuple[str, ...], ...], Data] = {}
    state = {one["name"]: one["state"] for one in services}
    for host in hosts:
        group = found.setdefault(
            (tuple(host["roles"]), tuple(host["services"])),
            {
                "roles": host["roles"],
                "services": [
                    {"name": name, "state": state[name]} for name in sorted(host["services"])
                ],
                "hosts": [],
            },
        )
        group["hosts"].append(host)
    return list(found.values())


def _containers(told: Mapping[str, Any]) -> Iterator[Data]:
    """Yield each container once, with how many hosts it is well on, and the images that it has."""
    found: dict[tuple[str, str], Data] = {}
    for host, row in _rows(told):
        one = found.setdefault(
            (row["service"], row["name"]),
            {"name": row["name"], "service": row["service"], "hosts": 0, "up": 0}
            | {"images": [], "bad": []},
        )
        one["hosts"] += 1
        one["up"] += not row["kind"]
        if row["kind"]:
            one["bad"].append({"host": host, "kind": row["kind"]})
        if row["image"] and row["image"] not in one["images"]:
            one["images"].append(row["image"])
    yield from (found[key] for key in sorted(found))


def _clusters(cloud: Cloud, told: Mapping[str, Any]) -> Iterator[Data]:
    """Yield the clusters of several hosts, with the state of each member."""
    kinds = {(host, row["name"]): row["kind"] for host, row in _rows(told)}
    for service, one in schedule.clustered(cloud).items():
        for container, recovery in one.recovery.items():
            members = []
            for host in one.hosts:
                kind = kinds.get(
                    (host, container), "unheard" if host not in told["status"] else "missing"
                )
                state = UNKNOWN if kind == "unheard" else BAD if kind else WELL
                members.append({"host": host, "state": state, "kind": kind})
            yield {"service": service, "container": container, "members": members} | {
                "recovery": recovery,
                "up": sum(member["state"] == WELL for member in members),
            }


def _run(run: history.Run) -> Data:
    """Return what the picture and the table of all runs show of one."""
    result = run["result"]
    if result == history.DONE:
        result = "changed something" if history.changed(run) else "nothing to do"
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(run["started"]))
    failure = next((one["reason"].partition("\n")[0] for one in run["failures"]), "")
    return {
        **{key: run[key] for key in ("id", "who", "command", "started", "seconds")},
        "kind": result,
        "times": run.get("times", 1),
        "failure": failure,
        "title": f"{when} UTC, {run['command']}, {run['who']}: {result}, {summary.took(run['seconds'])}",
    }


def _last(runs: Sequence[history.Run]) -> Data | None:
    """Return the newest run that changed something or tried to; else the newest."""
    matter = [one for one in runs if history.changed(one) or one["result"] != history.DONE]
    newest = (matter or runs)[-1:]
    return dict(newest[0]) if newest else None


def _table(value: Any) -> Data:
    """Return a part of the status that this module knows nothing of as columns and rows of texts."""
    if isinstance(value, Mapping):
        # By a name: hosts, mostly.
        of_maps = all(isinstance(one, Mapping) for one in value.values())
        value = [
            {"name": name, **(one if of_maps else {"what": one})} for name, one in value.items()
        ]
    rows = [one if isinstance(one, Mapping) else {"what": one} for one in _listed(value)]
    columns = list(dict.fromkeys(str(key) for row in rows for key in row))
    return {"columns": columns, "rows": [[_cell(row, key) for key in columns] for row in rows]}


def _listed(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list | tuple) else [value]


def _cell(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if value is None:
        return ""
    if key in _TIMES and isinstance(value, int | float):
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(value))
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def _sentence(one: Mapping[str, Any]) -> str:
    shown = {key: value for key, value in one.items() if key not in _TIMES}
    return ", ".join(_cell(shown, key) for key in shown if _cell(shown, key))


def verdict(data: Data) -> str:
    """Return in a few words how the cloud is."""
    number = len(data["findings"])
    return count(number, "finding") if number else "All well"


def images(cloud: Cloud, parents: Mapping[str, Sequence[str]], sizes: Mapping[str, Any]) -> Data:
    """Return the image tree as :func:`gather` takes it.

    :param parents: Image to those it needs, the one that it starts from first.
    :param sizes: As :func:`saltern.images.sizes.sizes` returns them.
    """
    users: dict[str, list[str]] = {}
    for service in cloud.services:
        for image in images_of(cloud.catalog[service]):
            users.setdefault(image, []).append(service)
    here = {name: one["size"] for name, one in sizes["images"].items()}
    nodes = tree.nodes(parents, here)
    listed = [{**asdict(one), "users": users.get(one.name, [])} for one in nodes]
    return {"tree": listed, "total": sizes["total"], "missing": list(sizes["missing"])}
