"""A saved plan is done as it is, or what has changed since is named."""

from __future__ import annotations

import json

import pytest

from saltern.run import saved_plans
from saltern.run.formation import RefusedError
from saltern.run.saved_plans import changed, differences

SAVED = {"id": "20261128-093312", "saved": 1795858392.0}


def entry(changes=None, state="Run web", result=None, comment="web would be replaced"):
    """Return an entry of a plan."""
    return {"state": state, "result": result, "comment": comment, "changes": changes or {}}


def planned(*entries, host="one"):
    return {host: {"web": list(entries)}}


def said(before, now):
    return list(differences(before, now))


CONFIG = {"config": {"old": "0a", "new": "0b"}}


def test_the_same_plan_has_no_difference_also_after_it_was_saved():
    before = planned(entry({"command": {"old": ("a",), "new": ("b",)}}), entry(CONFIG, "Other"))
    assert said(json.loads(json.dumps(before)), before) == []


def test_what_is_planned_no_more_was_not_planned_or_is_something_else_is_named():
    before = planned(entry(CONFIG), entry(CONFIG, "Gone"))
    now = planned(entry({"config": {"old": "0a", "new": "0c"}}), entry(CONFIG, "New"))
    assert said(before, now) == [
        "one: web: Run web: would do something else",
        "one: web: Gone: has nothing to do any more",
        "one: web: New: was not planned",
    ]
    assert said(before, {"one": {}, "two": before["one"]}) == [
        "one: web: Run web: has nothing to do any more",
        "one: web: Gone: has nothing to do any more",
        "two: web: Run web: was not planned",
        "two: web: Gone: was not planned",
    ]


def test_a_container_that_is_down_since_is_a_difference_and_other_words_of_its_check_are_none():
    down = [entry(comment=f"is not up: web is unhealthy: {words}") for words in ("a", "b")]
    assert said(planned(down[0]), planned(down[1])) == []
    assert said({"one": {}}, planned(down[0])) == ["one: web: Run web: was not planned"]


def test_an_image_that_was_not_there_may_have_come():
    old = "saltern/web:1 (aa)"
    here = {"image": {"old": old, "new": "reg/web:2 (bb)"}}
    missing = {"image": {"old": old, "new": "reg/web:2 (not here yet)"}}
    assert said(planned(entry(missing)), planned(entry(here))) == []
    assert said(planned(entry(here)), planned(entry(missing))) != []
    other = {"image": {"old": old, "new": "reg/web:3 (bb)"}}
    assert said(planned(entry(missing)), planned(entry(other))) != []
    new = {"container": {"old": None, "new": "reg/web:2 (not here yet)"}}
    made = {"container": {"old": None, "new": "reg/web:2"}}
    assert said(planned(entry(new)), planned(entry(made))) == []
    task = [{"image": {"old": "sha256:aa", "new": one}} for one in ("", "sha256:bb")]
    assert said(planned(entry(task[0])), planned(entry(task[1]))) == []


def test_each_key_and_file_that_has_changed_is_named():
    before = {"pillar": {"a:b": "1", "a:c": "2"}, "checkout": {"x.py": "1"}}
    now = {"pillar": {"a:b": "2", "a:d": "2"}, "checkout": {"x.py": "1"}}
    assert list(changed(before, now)) == [
        "pillar: a:b has changed",
        "pillar: a:c is gone",
        "pillar: a:d is new",
    ]


def test_a_refusal_names_the_first_of_many_and_how_to_go_on():
    saved_plans.refuse(SAVED, [])
    with pytest.raises(RefusedError) as refused:
        saved_plans.refuse(SAVED, [f"line {number}" for number in range(20)])
    assert str(refused.value).startswith(
        "plan 20261128-093312 of 2026-11-28 09:33:12 UTC does not hold any more:\nline 0\n"
    )
    assert str(refused.value).endswith("line 7\nand 12 more")
    assert "saltern.plan save=True" in refused.value.remedy


def test_without_a_plan_in_the_command_there_is_none(tmp_path):
    opts = {"saltern": {"var": str(tmp_path)}}
    assert saved_plans.of_command(opts, {"services": ["web"]}) is None


def test_an_unknown_plan_is_one_error_with_the_known_ones(tmp_path):
    opts = {"saltern": {"var": str(tmp_path)}}
    with pytest.raises(RefusedError, match="unknown plan 'x'; none is saved"):
        saved_plans.of_command(opts, {"plan": "x"})
    folder = tmp_path / "plans"
    folder.mkdir()
    (folder / "20261128-093312.json").write_text("{}")
    for name in ("20261128-093313", "../../etc/passwd"):
        with pytest.raises(Exception, match="20261128-093312"):
            saved_plans.of_command(opts, {"plan": name})


@pytest.mark.parametrize("key", ["services", "hosts"])
def test_a_plan_has_its_own_limits(tmp_path, key):
    with pytest.raises(RefusedError, match=f"pillar:{key}: a saved plan says itself"):
        saved_plans.of_command({"saltern": {"var": str(tmp_path)}}, {"plan": "x", key: ["web"]})
