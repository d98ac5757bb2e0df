"""The page itself: one file of HTML with its style and pictures, which asks no network for anything."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from saltern import files
from saltern.errors import SalternError
from saltern.report import course, facts, layers, timeline, tree
from saltern.run.progress import count
from saltern.run.summary import took

_TEMPLATES = Path(__file__).with_name("templates")
# Of a longer list the rest is folded.
SHOWN = 12


def target(path: Any, default: Path) -> Path:
    """Return where the page goes.

    :param path: What the operator gives: a file, or a folder that exists; None is the default.
    :raises SalternError: It is no path, or its folder does not exist.
    """
    if path is None:
        default.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        return default
    if not isinstance(path, str) or not path.strip():
        raise SalternError(f"path: {path!r} is not a path, such as path=/root/{default.name}")
    found = Path(path).expanduser().absolute()
    if found.is_dir():
        found /= default.name
    if not found.parent.is_dir():
        raise SalternError(
            f"path: there is no folder {found.parent}: make it, or give another path"
        )
    if found.exists() and not found.is_file():
        raise SalternError(f"path: {found} is not a file: give another path")
    return found


def write(path: Path, text: str) -> None:
    """Write the page, for its owner alone: it names every host and what is wrong with it.

    :raises SalternError: It cannot be written.
    """
    try:
        files.write(path, text, mode=0o600)
    except OSError as error:
        raise SalternError(f"path: {path} cannot be written: {error.strerror}") from error


def render(data: facts.Data) -> str:
    """Return the page.

    :param data: Of :func:`saltern.report.facts.gather`, without secrets. Whatever is in it is text: nothing of it
        becomes HTML.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        extensions=["jinja2.ext.loopcontrols"],
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "took": took,
        "when": _when,
        "ago": lambda second: _ago(data["now"] - second),
        "megabytes": _megabytes,
        "counted": lambda number, noun: count(number, noun),
        "short": lambda text, most: text if len(text) <= most else f"{text[: most - 1]}…",
    }
    environment.globals |= {"SHOWN": SHOWN, "WELL": facts.WELL, "BAD": facts.BAD}
    return environment.get_template("page.html.j2").render(data, **_pictures(data))


def _pictures(data: facts.Data) -> dict[str, Any]:
    last = data["last"]
    names = {one["name"] for one in data["services"]}
    needs = {one["name"]: names.intersection(one["needs"]) for one in data["services"]}
    return {
        "verdict": facts.verdict(data),
        "graph": layers.draw(needs),
        "number": {one["name"]: number for number, one in enumerate(data["services"])},
        "course": course.draw(data["runs"], data["incidents"], data["now"]),
        "kinds": dict.fromkeys(one["kind"] for one in data["runs"]),
        "line": timeline.draw(last) if last else None,
        "worked": timeline.of_hosts(last) if last else [],
        "images_tree": tree.draw(data["images"].get("tree", [])),
        "figures": list(_figures(data)),
    }


def _figures(data: Mapping[str, Any]) -> Any:
    """Yield the figures on top: what, the number, what is said beside it, and whether it is well."""
    # What is not well of something in maintenance is no alarm.
    hosts, calm = data["hosts"], not data["findings"]
    answer = sum(one["answers"] for one in hosts)
    yield "Hosts", f"{answer} of {len(hosts)}", "answer", calm or answer == len(hosts)
    up, containers = (sum(one[key] for one in hosts) for key in ("up", "containers"))
    if containers:
        yield "Containers", f"{up} of {containers}", "are up", calm or up == containers
    counted = [one["instances"] for one in hosts if one["instances"]]
    if counted:
        run, wanted = (sum(one[key] for one in counted) for key in ("running", "wanted"))
        yield "Instances", f"{run} of {wanted}", "run", calm or run == wanted
    if last := data["last"]:
        when = _ago(data["now"] - last["started"])
        yield "Last run", last["result"], when, last["result"] in ("done", "running")
    if data["certificates"]:
        days = min(one["days"] for one in data["certificates"])
        left = count(days, "day") if days >= 0 else "expired"
        yield "Certificates", left, "until the first expires" if days >= 0 else "", days >= 0
    if data["images"].get("total"):
        yield "Images", _megabytes(data["images"]["total"]), "on the master", True


def _when(second: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(second))


def _ago(seconds: float) -> str:
    for length, noun in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= length:
            return f"{count(int(seconds // length), noun)} ago"
    return "just now"


def _megabytes(size: float) -> str:
    """Return bytes as people read them: ``0.3 MB``, ``24 MB``, ``1.35 GB``."""
    if size >= 1e9:
        return f"{size / 1e9:.2f} GB"
    return f"{size / 1e6:.0f} MB" if size >= 1e7 else f"{size / 1e6:.1f} MB"
