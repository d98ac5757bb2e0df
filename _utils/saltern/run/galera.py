"""Which member of a Galera cluster holds every write: decisions over facts of all members, no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from saltern.errors import SalternError
from saltern.run import command
from saltern.run.formation import RefusedError

NO_CLUSTER = "00000000-0000-0000-0000-000000000000"
_RECOVERY = "state.orchestrate orch.mariadb_recovery"
Facts = Mapping[str, Any]
Decision = tuple[dict[str, dict[str, Any]], str]


def grastate(text: str) -> dict[str, Any] | None:
    """Return what ``grastate.dat`` says: ``uuid``, ``seqno``, ``safe``; None if it says nothing.

    A member that runs or was killed has the number -1.
    """
    values = dict(
        (part.strip() for part in line.split(":", 1)) for line in text.splitlines() if ":" in line
    )
    try:
        seqno, safe = int(values["seqno"]), values.get("safe_to_bootstrap") == "1"
    except (KeyError, ValueError):
        return None
    return {"uuid": values.get("uuid", NO_CLUSTER), "seqno": seqno, "safe": safe}


def parse(position: str) -> tuple[str, int]:
    """Return cluster and number of a position written as ``UUID:SEQNO``.

    :raises SalternError: It is written otherwise.
    """
    cluster, _, number = position.partition(":")
    try:
        return cluster, int(number)
    except ValueError:
        raise SalternError(f"{position!r} is not a position (UUID:SEQNO)") from None


def down(members: Sequence[str], facts: Mapping[str, Facts], force: str | None = None) -> Decision:
    """Refuse unless no member is part of a cluster with a quorum; then all of them may be stopped.

    :param members: Hosts of the cluster in inventory order.
    :param facts: Host to what ``galera.status`` says.
    """
    up = [host for host in members if facts.get(host, {}).get("cluster") == "Primary"]
    if up:
        raise RefusedError(
            f"the cluster is up on {', '.join(up)}",
            f"{command.text('state.orchestrate orch.deploy', {})} lets the other members join",
        )
    return {host: {} for host in facts}, "No member is up."


def choose(
    members: Sequence[str], facts: Mapping[str, Facts], force: str | None = None
) -> Decision:
    """Return the member that forms the cluster again: the one that holds every acknowledged write.

    :param members: Hosts of the cluster in inventory order.
    :param facts: Host to what ``galera.position`` says: ``data``, ``half_copied`` (a full copy
        was interrupted: there is nothing of its own), ``grastate`` and ``position``, recovered from
        the storage engine.
    :param force: Host that a person has chosen.
    :returns: The chosen host with the position that it must have, and a sentence for people.
    :raises RefusedError: Facts are missing or contradict each other, and nobody has chosen.
    """
    if force is not None:
        return _forced(members, facts, force)
    known = {host: facts[host] for host in members if host in facts}
    held = {
        host: parse(one["position"])
        for host, one in known.items()
        if one["data"] and not one["half_copied"] and one["position"]
    }
    doubts = [f"nothing is known of {host}" for host in members if host not in facts]
    doubts += [
        f"{host} holds data whose position is unknown"
        for host, one in known.items()
        if one["data"] and not one["half_copied"] and host not in held
    ]
    for host, position in held.items():
        left = known[host]["grastate"]
        if left and left["seqno"] >= 0 and (left["uuid"], left["seqno"]) != position:
            written = f"{left['uuid']}:{left['seqno']}"
            doubts.append(
                f"{host} holds {known[host]['position']}, but left the cluster at {written}"
            )
    if len({cluster for cluster, _ in held.values()}) > 1:
        every = ", ".join(f"{host} {known[host]['position']}" for host in held)
        doubts.append(f"the members were in different clusters: {every}")
    if not held and not doubts:
        raise RefusedError("no member holds data", "restore a backup, or deploy a new cloud")
    highest = max((number for _, number in held.values()), default=-1)
    best = [host for host, (_, number) in held.items() if number == highest]
    # One whose own record of the cluster is whole first: from another one the others would need full copies.
    best.sort(key=lambda host: (known[host]["grastate"] or {}).get("uuid") != held[host][0])
    safe = [host for host in held if (known[host]["grastate"] or {}).get("safe")]
    doubts += [
        f"{host} says that it left last, but {best[0]} holds more"
        for host in safe
        if host not in best
    ]
    if doubts:
        limited = {} if set(facts) >= set(members) else {"hosts": [*known]}
        chosen = {**limited, "force": best[0] if best else "HOST", "confirm": "yes"}
        raise RefusedError(
            "; ".join(doubts),
            "bring the missing hosts back, or choose the member whose data are kept, and lose what only "
            f"others hold: {command.text(_RECOVERY, chosen)}",
        )
    host = next(iter([*(one for one in best if one in safe), *best]))
    position = known[host]["position"]
    return {host: {"position": position}}, f"{host} holds every write ({position})."


def _forced(members: Sequence[str], facts: Mapping[str, Facts], force: str) -> Decision:
    if force not in facts:
        raise RefusedError(
            f"{force} cannot be chosen: nothing is known of it",
            f"choose one of {', '.join(host for host in members if host in facts)}",
        )
    if not facts[force]["data"] or facts[force]["half_copied"]:
        raise RefusedError(
            f"{force} cannot be chosen: its data are incomplete", "choose another one"
        )
    position = facts[force]["position"]
    return {
        force: {"position": position}
    }, f"{force} was chosen by the operator ({position or 'new'})."


def agree(members: Sequence[str], facts: Mapping[str, Facts], force: str | None = None) -> Decision:
    """Refuse unless the members are in one cluster with a name and have caught up.

    :param members: Hosts of the cluster in inventory order.
    :param facts: Host to what ``galera.status`` says.
    """
    wrong = [f"{host}: {facts[host]}" for host in facts if facts[host].get("state") != "Synced"]
    clusters = {one.get("uuid") for one in facts.values()}
    if wrong or len(clusters) != 1 or clusters & {NO_CLUSTER, "", None}:
        reason = "; ".join(wrong) or f"not in one cluster: {', '.join(map(str, clusters))}"
        raise RefusedError(reason, "docker logs mariadb, on the members that are not Synced")
    missing = [host for host in members if host not in facts]
    note = f" Missing: {', '.join(missing)}." if missing else ""
    return {}, f"{len(facts)} of {len(members)} members are in step.{note}"
