"""Show what the runner ``saltern`` returns as text for people; ``--out json`` gives the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from saltern.host import logs
from saltern.run import (
    command,
    drift,
    findings,
    history,
    incidents,
    maintenance,
    orphans,
    plan,
    status,
)
from saltern.run.progress import count

# Names that are shown one by one.
_NAMED = 5


def output(data: Any, **kwargs: Any) -> str:
    """Return the texts of ``{kind: data, ...}``; anything else is shown as it is."""
    if isinstance(data, Mapping) and "data" in data:
        data = data["data"]
    if not isinstance(data, Mapping) or not data:
        return str(data)
    shown = {kind: value for kind, value in data.items() if kind != "retcode"}
    return "\n\n".join(_TEXTS.get(kind, str)(value) for kind, value in shown.items())


def _secrets(value: Mapping[str, Any]) -> str:
    made = value["made"]
    if not made:
        return f"Every secret is there, in {value['file']}"
    # All of them at once are a new cloud's, and no news one by one.
    named = f": {', '.join(made)}" if len(made) <= _NAMED else ""
    return f"Made {count(len(made), 'secret')}, in {value['file']}{named}"


def _images(value: Mapping[str, str]) -> str:
    built = {name: text for name, text in value.items() if not text.startswith("current")}
    current = f"{count(len(value) - len(built), 'image')} current"
    if not built:
        return current
    lines = [f"  {name:24} {text}" for name, text in built.items()]
    return "\n".join([f"Built {count(len(built), 'image')}, {current}:", *lines])


def _rotated(value: Mapping[str, Any]) -> str:
    if not value["hosts"]:
        return "Not due yet"
    return f"A ring of {value['keys']} keys is on {', '.join(value['hosts'])}"


def _drift(value: Mapping[str, Any] | None) -> str:
    return (
        drift.text(value) if value else "Not looked at: the pillar says so, or a run is under way"
    )


def _saved(name: str | None) -> str:
    if not name:
        return "Not saved: states fail already, see above"
    return f"Saved: {command.text('state.orchestrate orch.deploy', {'plan': name})}"


def _started(hosts: Sequence[str]) -> str:
    return f"Deployed to {', '.join(hosts)}" if hosts else "Nothing to deploy to"


def _renewed(names: Sequence[str]) -> str:
    return f"Renewed {', '.join(names)}" if names else "No certificate is due"


def _report(value: Mapping[str, Any]) -> str:
    number = len(value["findings"])
    return f"Wrote {value['path']}: {count(number, 'finding') if number else 'all well'}"


_TEXTS = {
    "plan": plan.text,
    "saved": _saved,
    "leftovers": findings.left_text,
    "status": status.text,
    "instances": status.instances_text,
    "maintenance": maintenance.text,
    "drift": _drift,
    "silenced": findings.silenced_text,
    "findings": findings.text,
    "certificates": status.certificates,
    "logs": logs.text,
    "genpwd": _secrets,
    "images": _images,
    "orphans": orphans.text,
    "rotated": _rotated,
    "renewed": _renewed,
    "started": _started,
    "history": history.table,
    "incidents": incidents.table,
    "run": history.text,
    "report": _report,
}
