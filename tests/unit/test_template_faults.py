"""What is wrong with a template shows before any host renders it."""

from __future__ import annotations

import pytest

from saltern.service import templates

SOURCES = {
    "good.conf": '{% import "common.j2" as common with context %}{{ common.part() }}{{ common.x }}',
    "common.j2": "{% macro part() %}a{% endmacro %}{% set x = 1 %}",
    "macro.conf": '{% import "common.j2" as common %}\n{{ common.prat() }}',
    "import.conf": '{% import "comon.j2" as common %}{{ common.part() }}',
    "syntax.conf": "a\n{% if %}",
    "below.conf": '{% import "syntax.conf" as other %}',
}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("good.conf", []),
        ("nothing.conf", ["nothing.conf does not exist"]),
        ("macro.conf", ["macro.conf, line 2: common.j2 has no 'prat'"]),
        ("import.conf", ["comon.j2 does not exist"]),
        ("syntax.conf", ["syntax.conf, line 2: "]),
        ("below.conf", ["syntax.conf, line 2: "]),
    ],
)
def test_a_fault_is_named_with_its_template(name, told):
    found = templates.faults(name, SOURCES.get)
    assert len(found) == len(told)
    assert all(one.startswith(words) for one, words in zip(found, told, strict=True))
