"""Secrets that an operator chose: refused by name, or written so that each reader gets them."""

from __future__ import annotations

import json

import pytest

from saltern.cloud import secrets
from saltern.errors import SalternError
from saltern.service import scope, templates

CATALOG = {
    "nova": {
        "summary": "",
        "roles": [],
        "secrets": {
            "password": {},
            "key": {"kind": "hex"},
            "ring": {"kind": "fernet_ring"},
            "kek": {"kind": "fernet_key"},
            "eight": {"pattern": "[a-z]{1,8}"},
        },
    }
}
GOOD = {
    "password": "a$b %c#d;e!f\"g'h\\i/j@k:l=m,n{{o}}[p]~",
    "key": "0aF9",
    "ring": {0: "A" * 43 + "=", 1: "b" * 43 + "="},
    "kek": "A" * 43 + "=",
    "eight": "abc",
}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("password", 12345678, "is a int"),
        ("password", True, "is a bool"),
        ("password", 1.5, "is a float"),
        ("password", ["hidden"], "is a list"),
        ("password", {"hidden": 1}, "is a dict"),
        ("password", "hidden\n[DEFAULT]", "printable"),
        ("password", "hidden\x00", "printable"),
        ("password", " hidden", "printable"),
        ("password", "hidden ", "printable"),
        ("password", "hiddén", "printable"),
        ("password", "hid\\$den", "oslo.config"),
        ("key", "hidden", "[0-9A-Fa-f]+"),
        ("kek", "hidden", "{43}="),
        ("ring", "hidden", "ring"),
        ("ring", {0: "hidden"}, "ring"),
        ("ring", {"0": "A" * 43 + "="}, "ring"),
        ("eight", "hiddenhidden", "[a-z]{1,8}"),
    ],
)
def test_what_cannot_be_used_is_named_without_its_value(name, value, words):
    (found,) = secrets.problems(CATALOG, {"nova": GOOD | {name: value}}, "/s.yml")
    assert found.key == f"/s.yml: nova: {name}" and words in found.what
    assert "hidden" not in str(found) and "1234" not in str(found)


def test_what_is_made_can_be_used():
    filled, _ = secrets.fill(CATALOG, {})
    filled["nova"]["eight"] = "abc"
    assert secrets.problems(CATALOG, filled, "/s.yml") == []


def test_a_renamed_secret_keeps_its_value():
    catalog = {"nova": {"secrets": {"password": {"formerly": "passwd"}, "key": {}}}}
    filled, added = secrets.fill(catalog, {"nova": {"passwd": "kept-value"}})
    assert filled["nova"]["password"] == "kept-value"
    assert added == ["nova.password", "nova.key"]


def test_what_can_be_used_is_no_problem_nor_is_what_is_missing():
    assert secrets.problems(CATALOG, {"nova": GOOD}, "/s.yml") == []
    assert secrets.problems(CATALOG, {"nova": {"password": None}}, "/s.yml") == []
    made, _ = secrets.fill(CATALOG, {})
    del made["nova"]["eight"]
    assert secrets.problems(CATALOG, made, "/s.yml") == []


@pytest.mark.parametrize("text", ["nova: [hidden]", "nova: hidden", "[hidden]", "hidden"])
def test_a_file_of_another_form_is_named_without_its_content(tmp_path, text):
    path = tmp_path / "secrets.yml"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(SalternError, match="secrets.yml") as error:
        secrets.read(path)
    assert "hidden" not in str(error.value)


def test_a_service_without_secrets_is_an_empty_one(tmp_path):
    path = tmp_path / "secrets.yml"
    path.write_text("nova:\n")
    path.chmod(0o600)
    assert secrets.read(path) == {"nova": {}}
    assert secrets.fill(CATALOG, secrets.read(path))[1]


def written(form: str, value: str, text: str = "{{ secret('s.p') }}") -> str:
    """Return what a template of this format makes of a secret."""
    facts = {
        "host": {},
        "hosts": {},
        "services": {"s": {"options": {}}},
        "secrets": {"s": {"p": value}},
    }
    return templates.render("t", {"t": text}.get, scope.Context(facts, "s"), form)


def test_a_secret_is_escaped_as_its_file_is_read():
    assert written("oslo", "ab$cd") == "ab$$cd"
    assert written("oslo", '"ab"') == '""ab""'
    assert written("raw", "ab$c#d") == "ab$c#d"
    assert written("ini", "ab_cd=") == "ab_cd="
    quoted = "{{ secret('s.p') | tojson }}"
    assert json.loads(written("json", 'a"b\\', quoted)) == 'a"b\\'


def test_a_secret_in_a_macro_is_escaped_once():
    macro = "{% macro m() %}{{ secret('s.p') }}{% endmacro %}{{ m() }}"
    assert written("oslo", "a$b", macro) == "a$$b"


@pytest.mark.parametrize("form", ["ini", "uwsgi", "properties", "yaml", "json"])
def test_what_a_format_takes_wrongly_is_refused_by_name(form):
    with pytest.raises(SalternError, match=r"s\.p") as error:
        written(form, "hidden#%x")
    assert "hidden" not in str(error.value)
