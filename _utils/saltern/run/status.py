"""What runs, compared with what should: rows of containers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = dict[str, Any]

_COLUMNS = ("host", "container", "state", "health", "image", "status")


def rows(
    found: Iterable[Mapping[str, Any]],
    formulas: Mapping[str, Mapping[str, Any]],
    services: Iterable[str] | None = None,
) -> list[Row]:
    """Return a host's containers, also those that are missing, and how each is.

    :param found: What ``container.snapshot`` says.
    :param formulas: The host's services, with the containers that they have here.
    :param services: Names of services; None is all, also those that do not run here any more.
    :returns: ``name`` (with ``.failed`` and the like), ``service``, ``state``, ``health``, ``image``,
        ``status`` and ``kind``: nothing if it is well, else ``missing``, ``stopped``, ``paused``,
        ``restarting``, ``starting``, ``unhealthy``, ``failed``, ``interrupted``, ``leftover`` (of a
        service that does not run here) or ``unwanted`` (of one that has other containers now).
    """
    chosen = None if services is None else set(services)
    wanted = {
        name: service
        for service, formula in formulas.items()
        if chosen is None or service in chosen
        for name in formula.get("containers", {})
    }
    result = {}
    for one in found:
        # A task at work is no server.
        task = one["once"] and one["service"] in formulas
        if task or (chosen is not None and one["service"] not in chosen):
            continue
        name = ".".join(filter(None, (one["name"], one["part"])))
        shown = {key: one[key] for key in ("service", "state", "health", "image", "status")}
        result[name] = {"name": name, **shown, "kind": _kind(one, formulas, wanted)}
    for name, service in wanted.items():
        if name not in result:
            gone = {"service": service, "state": "missing", "health": "", "image": "", "status": ""}
            result[name] = {"name": name, **gone, "kind": "missing"}
    return [result[name] for name in sorted(result)]


def leftovers(found: Iterable[Row]) -> list[Row]:
    """Return the rows of containers that no service of the host wants any more."""
    return [one for one in found if one["kind"] in ("leftover", "unwanted")]


def _kind(one: Mapping[str, Any], formulas: Mapping[str, Any], wanted: Mapping[str, str]) -> str:
    if one["service"] not in formulas:
        return "leftover"
    if one["name"] not in wanted:
        return "unwanted"
    if one["part"]:
        return "failed" if one["part"] == "failed" else "interrupted"
    if one["state"] == "running":
        return "" if one["health"] in ("", "healthy") else one["health"]
    return one["state"] if one["state"] in ("paused", "restarting") else "stopped"


def left_summary(hosts: Mapping[str, Iterable[Row]]) -> str:
    """Return in a sentence what a deployment leaves alone; nothing if there is nothing."""
    places = [
        f"{', '.join(one['name'] for one in found)} on {host}" for host, found in hosts.items()
    ]
    return f"Would stay, as no service wants them: {'; '.join(places)}." if places else ""


def instances(
    wanted: Mapping[str, Sequence[str]], running: Mapping[str, Sequence[str] | None]
) -> dict[str, dict[str, Any]]:
    """Return, of each host that has instances, how many should run and how many do.

    :param wanted: Host to the ids of the instances that Nova holds for active there.
    :param running: Host to the ids of those that libvirt runs; None if it could not be asked.
    :returns: Host to ``wanted``, ``running`` and ``down``, the ids of those that do not run.
    """
    result = {}
    for host, ids in sorted(wanted.items()):
        there = running.get(host)
        if there is not None:
            down = sorted(set(ids) - set(there))
            result[host] = {"wanted": len(ids), "running": len(ids) - len(down), "down": down}
    return result


def text(hosts: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return a table: a row a container.

    :param hosts: Host to containers with ``name``, ``state``, ``health``, ``image``, ``status``.
    """
    table = [_COLUMNS]
    for host, containers in hosts.items():
        table += [
            (host, *(_cell(one.get(key)) for key in ("name", *_COLUMNS[2:]))) for one in containers
        ] or [(host, "(no container)", "-", "-", "-", "-")]
    return _table(table)


def instances_text(counted: Mapping[str, Mapping[str, Any]]) -> str:
    """Return how many instances run, host by host."""
    places = [f"{host} {one['running']} of {one['wanted']}" for host, one in counted.items()]
    return f"Instances that run: {', '.join(places)}" if places else "No instance should run"


def certificates(shown: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of certificates: what each is for, days left, names.

    :param shown: Fields of :class:`saltern.tls.store.Expiry`.
    """
    table = [("certificate", "host", "days", "names")]
    for one in shown:
        days = "expired" if one["days"] < 0 else str(one["days"])
        table.append((one["name"], one["host"] or "-", days, ", ".join(one["names"]) or "-"))
    return _table(table)


def _table(table: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )


def _cell(value: Any) -> str:
    # Docker shows an image by its id once its name has gone to a newer one.
    text_ = str(value or "-")
    return f"{text_[7:19]} (replaced)" if text_.startswith("sha256:") else text_
