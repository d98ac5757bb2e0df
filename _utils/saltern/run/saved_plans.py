"""Saved plans: what was looked at is what is done, or nothing is, and it is said what has changed since."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import salt.fileserver

from saltern import files
from saltern.cloud import secrets
from saltern.errors import SalternError
from saltern.paths import root
from saltern.problems import unknown
from saltern.run import inventory, plan, served
from saltern.run.formation import RefusedError

Saved = dict[str, Any]
# Most plans that are kept, and bytes that all may take; the newest is kept in any case.
_MOST, _BYTES = 20, 50 * 10**6
# Differences that are named one by one.
_NAMED = 8
_AGAIN = "salt-run saltern.plan save=True"
_NOT_HERE = " (not here yet)"


def save(
    opts: Mapping[str, Any], limits: Mapping[str, Sequence[str]], plans: Mapping[str, plan.Plan]
) -> str:
    """Save a plan and return its id; the oldest ones that are too many go.

    :param opts: ``__opts__`` of a runner.
    :param limits: ``services`` and ``hosts`` that the plan was limited to; empty is all.
    :param plans: Host to its plan, secrets hidden.
    """
    folder = _folder(opts)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    now = time.time()
    stem = name = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
    number = 1
    while (folder / f"{name}.json").exists():
        number += 1
        name = f"{stem}-{number}"
    saved = {
        "id": name,
        "saved": now,
        "limits": {key: list(names) for key, names in limits.items() if names},
        "made_of": made_of(opts),
        "plans": plans,
    }
    files.write(folder / f"{name}.json", json.dumps(saved, default=str) + "\n")
    sizes = {path: path.stat().st_size for path in sorted(folder.glob("*.json"), reverse=True)}
    for kept, path in enumerate(sizes):
        if kept and (kept >= _MOST or sum(list(sizes.values())[: kept + 1]) > _BYTES):
            path.unlink(missing_ok=True)
    return name


def of_command(opts: Mapping[str, Any], given: Mapping[str, Any]) -> Saved | None:
    """Return the saved plan that a command names, None if it names none.

    :param opts: ``__opts__`` of a state in an orchestration.
    :param given: The keys of the command.
    :raises SalternError: There is none of that id, the command has limits of its own, or the pillar or the
        checkout is not what the plan was made of any more.
    """
    if "plan" not in given:
        return None
    for key in ("services", "hosts"):
        if key in given:
            raise RefusedError(
                f"pillar:{key}: a saved plan says itself what it changes where",
                f'leave "{key}" out, or "plan"',
            )
    folder, name = _folder(opts), given["plan"]
    known = sorted(path.stem for path in folder.glob("*.json"))
    if not known:
        raise RefusedError(f"pillar:plan: unknown plan {name!r}; none is saved", _AGAIN)
    if name not in known:
        raise SalternError(str(unknown("pillar:plan", name, known, "plan")))
    saved = json.loads((folder / f"{name}.json").read_text())
    refuse(saved, list(changed(saved["made_of"], made_of(opts))))
    return saved


def refuse(saved: Mapping[str, Any], since: Sequence[str]) -> None:
    """Stop the run if something has changed since a plan was saved.

    :param since: What has, a line each.
    :raises RefusedError: Names it.
    """
    if since:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(saved["saved"]))
        rest = len(since) - _NAMED
        lines = [*since[:_NAMED], *([f"and {rest} more"] if rest > 0 else [])]
        raise RefusedError(
            f"plan {saved['id']} of {when} UTC does not hold any more:\n" + "\n".join(lines), _AGAIN
        )


def made_of(opts: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return what every plan of this master is made of, but for the hosts: place to names to digests.

    :raises SalternError: The pillar does not render, or the secrets are not readable.
    """
    where = inventory.settings(opts)
    roots = dict.fromkeys([*opts["file_roots"]["base"], *where.get("formulas", [])])
    code = {str(path): path for one in roots for _, path in served.below(one)}
    code |= {str(path): path for path in Path(where["images"]).glob("*.yml")}
    given = Path(inventory.certificates_folder(opts))
    digests = Path(root("var", opts), "digests.json")
    return {
        "pillar": dict(_leaves(inventory.pillar(opts))),
        "secrets": dict(_leaves(secrets.read(inventory.secrets_file(opts)))),
        "checkout": {
            name: _digest(path.read_bytes())
            for name, path in code.items()
            if not salt.fileserver.is_file_ignored(opts, name)
        },
        "certificates": {
            str(path.relative_to(given)): _digest(path.read_bytes())
            for path in sorted(given.rglob("*"))
            if path.is_file()
        },
        "images of the registry": dict(
            _leaves(json.loads(digests.read_text()) if digests.exists() else {})
        ),
    }


def changed(
    before: Mapping[str, Mapping[str, str]], now: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    """Yield in a line each what is different between two answers of :func:`made_of`."""
    for place in now:
        old, new = before.get(place, {}), now[place]
        for name in sorted({*old, *new}):
            if name not in old:
                yield f"{place}: {name} is new"
            elif name not in new:
                yield f"{place}: {name} is gone"
            elif old[name] != new[name]:
                yield f"{place}: {name} has changed"


def differences(before: Mapping[str, plan.Plan], now: Mapping[str, plan.Plan]) -> Iterator[str]:
    """Yield in a line each where hosts would do anything else than what was planned.

    An image that a host did not have yet may have been pulled since.

    :param before: Host to what was planned; ``now`` alike, what it would do.
    """
    for host in {**before, **now}:
        old, new = before.get(host, {}), now.get(host, {})
        for service in {**old, **new}:
            was, is_ = _by_state(old.get(service, [])), _by_state(new.get(service, []))
            for state in {**was, **is_}:
                where = f"{host}: {service}: {state}"
                if state not in is_:
                    yield f"{where}: has nothing to do any more"
                elif state not in was:
                    yield f"{where}: was not planned"
                elif not _alike(was[state], is_[state]):
                    yield f"{where}: would do something else"


def _by_state(changes: Sequence[plan.Change]) -> dict[str, dict[str, Any]]:
    """Return what of each entry must stay the same; what a check that fails says may be other words."""
    return {
        one["state"]: {
            "kind": plan.kind(one).name,
            # As it is after it was saved.
            "changes": json.loads(json.dumps(one["changes"], default=str)),
        }
        for one in changes
    }


def _alike(was: Any, is_: Any, key: str = "") -> bool:
    """Return whether two parts of entries are the same, but for an image that was not there yet."""
    if isinstance(was, Mapping) and isinstance(is_, Mapping):
        same = was.keys() == is_.keys()
        return same and all(_alike(was[one], is_[one], f"{key}:{one}") for one in was)
    if isinstance(was, str) and was.endswith(_NOT_HERE):
        name = was.removesuffix(_NOT_HERE)
        return isinstance(is_, str) and is_.partition(" (")[0] == name
    # A task says of its image the id alone, and none of one that is not there.
    return was == is_ or (was == "" and key.endswith(":image:new"))


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path of every value of nested mappings, and a digest of the value."""
    if isinstance(value, Mapping) and value:
        for key, one in value.items():
            yield from _leaves(one, f"{path}:{key}" if path else str(key))
    else:
        yield path, _digest(json.dumps(value, sort_keys=True, default=str).encode())


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _folder(opts: Mapping[str, Any]) -> Path:
    return Path(root("var", opts), "plans")
