"""Ways back: to which revision a service can go, and what is said of it; no host is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from saltern.errors import Failure
from saltern.run.upgrades import Upgrades

# Host to service to revisions, newest last, each with `id`, `release` and `images`.
Known = Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]
Goals = dict[str, dict[str, str]]


def goals(
    catalog: Mapping[str, Mapping[str, Any]],
    services: Iterable[str],
    graph: Mapping[str, Any],
    known: Known,
    unfinished: Upgrades,
) -> tuple[Goals, list[Failure]]:
    """Return service to host to the revision it goes back to, and why some cannot.

    :param services: Those that go back.
    :param graph: Services of the run, with their ``hosts``.
    :param known: What ``revision.list`` of the hosts says.
    :param unfinished: Upgrades that have begun: these services go back to where that began.
    """
    found: Goals = {}
    wrong = []
    for service in services:
        if service in unfinished and unfinished[service].contracting:
            wrong.append(no_way([service]))
            continue
        hosts = [host for host in graph[service].hosts if known.get(host, {}).get(service)]
        if not hosts:
            wrong.append(Failure("no host keeps a revision of it", service=service))
        for host in hosts:
            kept = known[host][service]
            if service in unfinished:
                if host not in unfinished[service].revisions:
                    continue  # not moved yet
                goal = unfinished[service].revisions[host]
            else:
                goal = kept[-2]["id"] if len(kept) > 1 else None
                reason = _refused(service, catalog[service], kept)
                if goal and reason:
                    wrong.append(Failure(reason, host, service, remedy=_BACKUP))
                    continue
            if not goal:
                wrong.append(Failure("keeps no earlier revision of it", host, service))
            else:
                found.setdefault(service, {})[host] = goal
    return found, wrong


_BACKUP = "the way back is the backup that the upgrade has made, see docs/upgrade.md"
_AGAIN = "salt-run state.orchestrate orch.upgrade goes on"


def ways(upgrades: Upgrades) -> Goals:
    """Return service to host to the revision that it came from; what is being contracted has no such way back."""
    return {
        service: {host: id_ for host, id_ in one.revisions.items() if id_}
        for service, one in upgrades.items()
        if not one.contracting
    }


def no_way(services: Iterable[str]) -> Failure:
    """Return what is said of services whose contraction has begun."""
    return Failure(
        f"the schema of {', '.join(services)} has begun to lose what the old release needs",
        remedy=f"{_AGAIN}; {_BACKUP}",
    )


def not_tried(reason: str) -> Failure:
    """Return the last word of an upgrade that has failed and could not go back, as the master was gone."""
    return Failure(
        f"Nothing was taken back: {reason}",
        remedy=f"{_AGAIN}, orch.rollback goes back",
    )


def _refused(service: str, formula: Mapping[str, Any], kept: Sequence[Mapping[str, Any]]) -> str:
    """Return why a service cannot go back; nothing if it can."""
    now, before = kept[-1]["release"], kept[-2]["release"] if len(kept) > 1 else ""
    if now != before and "database" in formula:
        return f"{service} would go from {now} back to {before}, but its schema is that of {now}"
    return ""


def image(kept: Iterable[Mapping[str, Any]], goal: str | None) -> str:
    """Return the image of a revision, in which the tasks of a way back run; nothing if it is not kept."""
    return next((one["images"][0] for one in kept if one["id"] == goal), "")


def text(found: Goals, known: Known) -> str:
    """Return in a sentence which service goes back to which images."""
    said = []
    for service, hosts in found.items():
        images = {
            image
            for host, id_ in hosts.items()
            for one in known[host][service]
            if one["id"] == id_
            for image in one["images"]
        }
        said.append(f"{service} on {', '.join(hosts)} to {', '.join(sorted(images))}")
    return "; ".join(said) + "."


def ended(
    upgrades: Upgrades,
    done: Mapping[str, Mapping[str, Any]],
    stuck: Mapping[str, Iterable[str]],
) -> Failure:
    """Return the last word of an upgrade that has gone back.

    :param done: Service to the hosts on which it went back.
    :param stuck: Service to the hosts on which it did not.
    """
    places = {
        service: [host for host in one.revisions if host in done.get(service, {})]
        for service, one in upgrades.items()
    }
    back = "; ".join(
        f"{service} on {', '.join(where)}" for service, where in places.items() if where
    )
    all_well = f"Went back to what they came from: {back}." if back else "Nothing had moved."
    if not stuck:
        return Failure(
            f"{all_well} The others had not moved. Schemas that are wider already serve both.",
            remedy="mend what is said above, then the same command again",
        )
    left = "; ".join(f"{service} on {', '.join(hosts)}" for service, hosts in stuck.items())
    return Failure(
        f"{all_well} Not back: {left}.",
        remedy="mend what is said below; the same command goes on, orch.rollback goes back",
    )
