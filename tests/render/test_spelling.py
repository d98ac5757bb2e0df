"""What YAML would turn into something else is refused where other programs read it."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
from clouds import ROOT
from salt.utils import yamlloader

from saltern.cloud import spelling

_SPEC = importlib.util.spec_from_file_location("yaml_text", ROOT / "_renderers/yaml_text.py")
RENDERER = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(RENDERER)
CATALOG: dict[str, Any] = {"nova": {"summary": ""}}


def found(text: str) -> list[str]:
    read = yamlloader.load(text, Loader=yamlloader.SaltYamlSafeLoader)
    return [str(one) for one in spelling.problems_of(read, RENDERER.render(text), CATALOG)]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("0750", "750"),
        ("1_000", "1000"),
        ("0x1F", "31"),
        ("0b11", "3"),
        ("12:30", "750"),
        ("+5", "5"),
        ("1.50", "1.5"),
        ("1.0e+3", "1000.0"),
        ("yes", "true"),
        ("Off", "false"),
    ],
)
@pytest.mark.parametrize("form", ["{}", "[1, {}]"])
def test_a_value_whose_text_would_change_is_refused_with_its_key(written, read, form):
    value = form.format(written)
    (told,) = found(f"nova: {{config: {{nova.conf: {{DEFAULT: {{mode: {value}}}}}}}}}")
    key = "nova:config:nova.conf:DEFAULT:mode" + (":1" if "[" in form else "")
    assert told == f"{key}: {written} is {read} to YAML. Write '{written}' in quotes, or {read}."


@pytest.mark.parametrize(
    "value", ["750", "'0750'", "1.5", "1500.0", "true", "2026-01-01", "1e3", "~"]
)
def test_what_stays_as_it_is_written_is_right(value):
    assert found(f"nova: {{config: {{nova.conf: {{DEFAULT: {{mode: {value}}}}}}}}}") == []


def test_options_have_types_but_a_number_of_another_base_is_ambiguous():
    assert found("nova: {ratio: 4.0, resume: yes}") == []
    assert found("nova: {mtu: 01500}") == ["nova:mtu: 01500 is 1500 to YAML. Write 1500."]


def test_containers_are_looked_at_and_keys_of_others_are_not():
    assert found("nova: {containers: {a: {environment: {X: 0750}}}}")
    assert found("users: {root: {mode: 0750}}") == []
