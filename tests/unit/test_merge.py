"""Configuration files keep what they say and take what the pillar says."""

from __future__ import annotations

import pytest

from saltern.errors import SalternError
from saltern.service import merge

INI = """\
top = 1
[DEFAULT]
# a comment
debug = false
filter = a
filter = b
skip-name-resolve
long = first
    second
[empty]
"""


def test_ini_survives_a_round_trip():
    parsed = merge.parse_ini(INI)
    assert parsed[""] == {"top": ["1"]}
    assert parsed["DEFAULT"]["filter"] == ["a", "b"]
    assert parsed["DEFAULT"]["skip-name-resolve"] == [None]
    assert parsed["DEFAULT"]["long"] == ["first\nsecond"]
    assert parsed["empty"] == {}
    assert merge.parse_ini(merge.write_ini(parsed)) == parsed


def test_one_option_is_overridden_and_the_others_stay():
    text = merge.apply(INI, "ini", {"DEFAULT": {"debug": True}}, "x.conf")
    parsed = merge.parse_ini(text)
    assert parsed["DEFAULT"]["debug"] == ["true"]
    assert parsed["DEFAULT"]["filter"] == ["a", "b"]


def test_a_list_is_a_repeated_option_and_null_removes():
    override = {"DEFAULT": {"filter": ["c", "d", 3], "debug": None}, "empty": None, "new": {"a": 1}}
    parsed = merge.parse_ini(merge.apply(INI, "ini", override, "x.conf"))
    assert parsed["DEFAULT"]["filter"] == ["c", "d", "3"]
    assert "debug" not in parsed["DEFAULT"]
    assert "empty" not in parsed
    assert parsed["new"] == {"a": ["1"]}


def test_properties_have_no_section():
    text = merge.apply("a.b = 1\nc = 2\n", "properties", {"a.b": 5}, "rabbitmq.conf")
    assert merge.parse_ini(text) == {"": {"a.b": ["5"], "c": ["2"]}}


def test_yaml_and_json_merge_deeply():
    text = merge.apply("a: {b: 1, c: 2}\n", "yaml", {"a": {"b": None, "d": [1]}}, "x.yaml")
    assert text == "a:\n  c: 2\n  d:\n  - 1\n"
    assert '"b": 2' in merge.apply('{"a": {"b": 1}}', "json", {"a": {"b": 2}}, "x.json")


@pytest.mark.parametrize(
    ("text", "form", "override"),
    [
        ("[broken\n", "ini", None),
        ("a: [", "yaml", None),
        ("{", "json", None),
        ("text", "raw", {"a": 1}),
        ("[a]\n", "ini", {"a": 5}),
    ],
)
def test_what_does_not_fit_is_an_error_that_names_the_file(text, form, override):
    with pytest.raises(SalternError, match="the-file"):
        merge.apply(text, form, override, "the-file")


MULTI = {"pci": ["alias"], "backend_defaults": ["replication_device"]}


def oslo(override):
    return merge.parse_ini(merge.apply("[pci]\n", "oslo", override, "nova.conf", MULTI))


def test_a_list_of_oslo_is_one_value_unless_its_option_is_repeated():
    written = oslo({"filter_scheduler": {"enabled_filters": ["A", "B"]}, "pci": {"alias": [1, 2]}})
    assert written["filter_scheduler"]["enabled_filters"] == ["A,B"]
    assert written["pci"]["alias"] == ["1", "2"]


def test_a_section_of_the_operators_name_has_the_options_of_others():
    written = oslo({"ceph1": {"replication_device": ["a", "b"], "hosts": ["a", "b"]}})
    assert written["ceph1"] == {"replication_device": ["a", "b"], "hosts": ["a,b"]}


def test_an_empty_list_is_an_empty_value():
    assert oslo({"x": {"y": []}})["x"]["y"] == [""]


def test_a_comma_in_an_item_is_refused_with_its_key():
    with pytest.raises(SalternError, match="nova.conf:x:y: .*comma"):
        oslo({"x": {"y": ["a", "b,c"]}})
