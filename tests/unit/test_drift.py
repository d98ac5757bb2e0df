"""Drift: what of plans is one, how it is kept and shown."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from saltern.errors import Failure, SalternError
from saltern.run import drift, history
from saltern.run.drift import Drift

CHANGED = {"state": "Write glance-api.conf", "result": None, "comment": "", "changes": {"x": "y"}}
DOWN = {"state": "Run glance-api", "result": None, "comment": "is not up: exited", "changes": {}}
UNKNOWN = {"state": "Ask", "result": None, "comment": "cannot be asked: away", "changes": {}}
FAILS = {"state": "Look", "result": False, "comment": "no image", "changes": {}}


def found() -> Drift:
    """Return the drift of a cloud whose host `one` differs and whose `three` is silent."""
    plans = {"one": {"glance": [CHANGED, DOWN], "nova": [UNKNOWN, FAILS]}, "two": {}}
    return drift.of_plans(plans, [Failure("no answer", "three")], 0.0)


def test_only_what_would_change_is_drift() -> None:
    assert found() == Drift(0.0, {"one": {"glance": ["Write glance-api.conf"]}}, ["three"])
    assert found().services == ["glance"]


def test_it_is_kept_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "var/drift.json"
    assert drift.read(path) is None
    drift.write(path, found())
    assert drift.read(path) == found()
    path.write_text("{")
    with pytest.raises(SalternError, match="remove it"):
        drift.read(path)


def test_it_reads_as_host_service_and_states() -> None:
    lines = drift.text(asdict(found())).splitlines()
    assert lines[0] == "Not as the pillar says (1970-01-01 00:00 UTC); no answer from three:"
    assert lines[1] == "  one  glance  Write glance-api.conf"
    assert "orch.deploy" in lines[2]
    # It may be mended already.
    shown = drift.text(asdict(found()) | {"since": "orch.deploy"})
    assert "orch.deploy has changed something since: salt-run saltern.drift" in shown
    assert drift.text(asdict(Drift(0.0))).startswith("All hosts that answered are as the pillar")


def test_many_states_are_counted() -> None:
    shown = drift.text(asdict(Drift(0.0, {"one": {"nova": list("abcde")}})))
    assert "a; b; c; 2 more states" in shown


def test_a_later_run_counts_only_if_it_changed_something() -> None:
    run = {"command": "orch.deploy", "started": 10.0, "seconds": 5.0, "result": "done"}
    idle = run | {"phases": [{"changed": []}], "services": {}}
    changing = run | {"phases": [{"changed": ["one"]}], "services": {}}
    assert history.last_change([changing, idle], 12.0) == "orch.deploy"
    assert history.last_change([changing], 20.0) == ""
    assert history.last_change([idle], 0.0) == ""
