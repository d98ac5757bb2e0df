"""Show what the runner ``saltern`` returns as text for people; ``--out json`` gives the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from saltern import findings, logs, orphans, plan, status


def output(data: Any, **kwargs: Any) -> str:
    """Return the texts of ``{kind: data, ...}``; anything else is shown as it is."""
    if isinstance(data, Mapping) and "data" in data:
        data = data["data"]
    if not isinstance(data, Mapping) or not data:
        return str(data)
    shown = {kind: value for kind, value in data.items() if kind != "retcode"}
    return "\n\n".join(_TEXTS.get(kind, str)(value) for kind, value in shown.items())


def _secrets(value: Mapping[str, Any]) -> str:
    made = [f"  {name}" for name in value["made"]]
    what = f"Made {len(made)} secrets" if made else "Every secret is there"
    return "\n".join([f"{what}, in {value['file']}", *made])


def _rotated(value: Mapping[str, Any]) -> str:
    if not value["hosts"]:
        return "Not due yet"
    return f"A ring of {value['keys']} keys is on {', '.join(value['hosts'])}"


def _started(hosts: Sequence[str]) -> str:
    return f"Deployed to {', '.join(hosts)}" if hosts else "Nothing to deploy to"


def _renewed(names: Sequence[str]) -> str:
    return f"Renewed {', '.join(names)}" if names else "No certificate is due"


_TEXTS = {
    "plan": plan.text,
    "leftovers": findings.left_text,
    "status": status.text,
    "instances": status.instances_text,
    "findings": findings.text,
    "certificates": status.certificates,
    "logs": logs.text,
    "genpwd": _secrets,
    "orphans": orphans.text,
    "rotated": _rotated,
    "renewed": _renewed,
    "started": _started,
}
