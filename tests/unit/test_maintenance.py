"""Hosts in maintenance: what is noted, when it ends, and what it keeps a run from."""

from __future__ import annotations

import pytest

from saltern.errors import SalternError
from saltern.run import maintenance
from saltern.run.schedule import Service


def services():
    return {
        "nova-compute": Service("nova-compute", ("one", "two")),
        "rsyslog": Service("rsyslog", ("one", "two", "three")),
    }


def begin(folder, host="one", services=(), reason="disk change", hours=2):
    return maintenance.begin(folder, host, services, reason, "ann", hours)


def test_it_is_noted_with_reason_person_and_end_and_ends_by_itself(tmp_path):
    begin(tmp_path)
    (one,) = maintenance.read(tmp_path)
    assert (one.host, one.service, one.reason, one.who) == ("one", "", "disk change", "ann")
    assert one.until - one.since == 7200
    assert maintenance.read(tmp_path, now=one.until + 1) == []


def test_a_second_note_of_the_same_replaces_the_first_and_others_stay(tmp_path):
    begin(tmp_path)
    begin(tmp_path, services=["rsyslog"])
    begin(tmp_path, reason="other")
    assert {(one.service, one.reason) for one in maintenance.read(tmp_path)} == {
        ("", "other"),
        ("rsyslog", "disk change"),
    }


def test_all_of_a_host_or_one_service_of_it_ends(tmp_path):
    begin(tmp_path)
    begin(tmp_path, services=["rsyslog", "nova-compute"])
    assert [one.name for one in maintenance.end(tmp_path, "one", ["rsyslog"])] == ["rsyslog on one"]
    maintenance.end(tmp_path, "one")
    assert maintenance.read(tmp_path) == []
    with pytest.raises(SalternError, match="one is not in maintenance"):
        maintenance.end(tmp_path, "one")


@pytest.mark.parametrize("hours", [0, -1, "two", True, float("inf")])
def test_a_time_that_is_none_is_refused(tmp_path, hours):
    with pytest.raises(SalternError, match="^hours: "):
        begin(tmp_path, hours=hours)
    assert maintenance.read(tmp_path) == []


def test_a_reason_is_asked_for(tmp_path):
    with pytest.raises(SalternError, match="^reason: say why"):
        begin(tmp_path, reason=" ")


def test_a_file_that_somebody_has_spoilt_is_named(tmp_path):
    (tmp_path / "one@.json").write_text("{")
    with pytest.raises(SalternError, match="one@.json: cannot be read"):
        maintenance.read(tmp_path)


def test_a_run_leaves_out_the_host_and_the_service(tmp_path):
    begin(tmp_path)
    begin(tmp_path, host="two", services=["rsyslog"])
    left, hosts, gone = maintenance.left_out(
        maintenance.read(tmp_path), services(), ["one", "two", "three"]
    )
    assert left["nova-compute"].hosts == ("two",)
    assert left["rsyslog"].hosts == ("three",)
    assert hosts == ["two", "three"]
    assert [one.name for one in gone] == ["one", "rsyslog on two"]


def test_a_host_that_the_operator_names_is_worked_on_all_the_same(tmp_path):
    begin(tmp_path)
    left, hosts, gone = maintenance.left_out(
        maintenance.read(tmp_path), services(), ["one"], (), ["one"]
    )
    assert (left, hosts, gone) == (services(), ["one"], [])


def test_what_the_run_does_not_concern_is_not_named(tmp_path):
    begin(tmp_path, services=["nova-compute"])
    begin(tmp_path, host="three")
    chosen = {"nova-compute": Service("nova-compute", ("two",))}
    left = maintenance.left_out(maintenance.read(tmp_path), chosen, ["one", "two", "three"])
    assert left == (chosen, ["one", "two"], [])


def test_a_service_that_was_named_and_would_run_nowhere_stops_the_run(tmp_path):
    for host in ("one", "two"):
        begin(tmp_path, host=host)
    with pytest.raises(SalternError, match="nova-compute would run nowhere: one is in maintenance"):
        maintenance.left_out(
            maintenance.read(tmp_path), services(), ["one", "two", "three"], ["nova-compute"]
        )


def test_it_says_until_when_why_and_who():
    one = maintenance.Maintenance("one", "glance", "disk", "ann", 0, 3600)
    assert str(one) == "glance on one is in maintenance until 1970-01-01 01:00 UTC: disk (ann)"
    assert maintenance.how_to_end(one).endswith("host=one services='[glance]' end=True")
