"""Orchestrations are tables of phases, and none uses what loses failures."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from saltern.run import summary

ORCH = Path(__file__).parents[2] / "salt/orch"
TABLES = sorted(path.stem for path in ORCH.glob("*.sls"))
# Measured on Salt 3008.3: the first raises, the second loses failures, the third takes silence for
# success, the fourth makes returns vanish.
FORBIDDEN = ("parallel_runners", "batch:", "salt.function", "queue: True", "salt.state")


@pytest.mark.parametrize("table", TABLES)
def test_no_table_uses_what_loses_failures(table):
    text = (ORCH / f"{table}.sls").read_text()
    assert [word for word in FORBIDDEN if word in text] == []


@pytest.mark.parametrize("table", TABLES)
def test_a_table_has_one_phase_a_row_and_stops_at_the_first_failure(table):
    text = (ORCH / f"{table}.sls").read_text()
    # This renderer has each phase end the run when it fails.
    assert text.startswith("#!yaml|phases\n")
    phases = yaml.safe_load(text)
    kinds = []
    for sentence, body in phases.items():
        assert " " in sentence
        ((function, arguments),) = body.items()
        module, _, kind = function.partition(".")
        assert f"{module}_|-" in summary.PHASES
        assert "failhard" not in str(arguments)
        kinds.append(kind)
    assert next(kind for kind in kinds if kind != "confirmed") == "validated"
    # What changes hosts holds the lock; the demo only uses the cloud.
    if {"applied", "called"} & set(kinds) and not table.startswith("demo"):
        assert "locked" in kinds
