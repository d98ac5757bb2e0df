"""What should run against what does: rows, findings with their remedies, and what is left over."""

from __future__ import annotations

import pytest

from saltern.errors import Failure
from saltern.run import findings, status
from saltern.tls.store import Expiry

FORMULAS = {
    "glance": {"containers": {"glance-api": {}}},
    "mariadb": {"containers": {"mariadb": {}}},
}


def container(name, service="glance", part="", state="running", health="healthy", once=False):
    return {
        "name": name,
        "part": part,
        "service": service,
        "state": state,
        "health": health,
        "image": "i:1",
        "status": "Exited (1) 2 hours ago" if state == "exited" else "Up",
        "once": once,
    }


MARIADB = container("mariadb", "mariadb")


def kinds(*found, services=None):
    return {one["name"]: one["kind"] for one in status.rows(found, FORMULAS, services)}


def test_what_should_run_and_is_not_there_has_a_row():
    assert kinds(MARIADB) == {"glance-api": "missing", "mariadb": ""}
    (row,) = status.rows([], FORMULAS, ["glance"])
    assert (row["name"], row["service"], row["state"]) == ("glance-api", "glance", "missing")


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        ({}, ""),
        ({"health": ""}, ""),
        ({"health": "starting"}, "starting"),
        ({"health": "unhealthy"}, "unhealthy"),
        ({"state": "exited", "health": ""}, "stopped"),
        ({"state": "created", "health": ""}, "stopped"),
        ({"state": "dead", "health": ""}, "stopped"),
        ({"state": "paused", "health": "healthy"}, "paused"),
        ({"state": "restarting", "health": ""}, "restarting"),
    ],
)
def test_only_what_runs_and_is_healthy_is_well(facts, kind):
    assert kinds(container("glance-api", **facts), services=["glance"]) == {"glance-api": kind}


def test_what_a_replacement_left_is_named():
    found = [container("glance-api"), container("glance-api", part="failed", state="exited")]
    assert kinds(*found, services=["glance"]) == {"glance-api": "", "glance-api.failed": "failed"}
    left = container("glance-api", part="previous", state="exited")
    assert kinds(found[0], left, services=["glance"])["glance-api.previous"] == "interrupted"


def test_containers_that_no_service_wants_are_left_over_but_tasks_at_work_are_not():
    found = [
        MARIADB,
        container("glance-api"),
        container("glance-cache"),
        container("heat-api", "heat"),
        container("glance-db-sync", once=True),
        container("heat-db-sync", "heat", once=True),
    ]
    rows = status.rows(found, FORMULAS)
    left = {one["name"]: one["kind"] for one in status.leftovers(rows)}
    assert left == {"glance-cache": "unwanted", "heat-api": "leftover", "heat-db-sync": "leftover"}
    assert "heat-api" not in kinds(*found, services=["glance"])
    said = status.left_summary({"one": status.leftovers(rows)})
    assert said.startswith("Would stay") and "heat-api" in said and said.endswith("on one.")
    assert status.left_summary({}) == ""


def of(*found, host="one", recoveries=None):
    rows = {host: status.rows(found, FORMULAS)}
    for one in rows[host]:
        one["said"] = "connection refused"
    return {one["name"]: one for one in findings.of_containers(rows, recoveries or {})}


def test_nothing_is_found_where_all_is_well():
    assert of(MARIADB, container("glance-api")) == {}
    assert findings.text([]) == "All well."


@pytest.mark.parametrize(
    ("facts", "finding", "remedy"),
    [
        (None, "missing", "orch.deploy"),
        ({"state": "exited", "health": ""}, "Exited (1) 2 hours ago", "orch.deploy"),
        ({"state": "restarting", "health": ""}, "exits again and again", "saltern.logs"),
        ({"health": "starting"}, "connection refused", "ask again"),
        ({"health": "unhealthy"}, "connection refused", "salt one container.restart glance-api"),
    ],
)
def test_each_finding_has_a_remedy(facts, finding, remedy):
    found = [MARIADB, *([] if facts is None else [container("glance-api", **facts)])]
    one = of(*found)["glance-api"]
    assert one["host"] == "one" and finding in one["finding"] and remedy in one["remedy"]
    shown = findings.text([one])
    assert "glance-api" in shown and one["remedy"] in shown


def test_leftovers_name_the_command_that_removes_them():
    found = of(container("glance-cache"), container("heat-api", "heat"))
    assert found["glance-cache"]["remedy"] == "salt one container.absent glance-cache"
    assert '"services": ["heat"], "hosts": ["one"]' in found["heat-api"]["remedy"]
    assert "orch.destroy" in found["heat-api"]["remedy"]


def test_a_cluster_without_a_member_that_is_up_names_its_recovery():
    recoveries = {"mariadb": {"mariadb": "mariadb_recovery"}}
    down = container("mariadb", "mariadb", state="restarting", health="")

    def remedies(*members):
        rows = {
            f"host{number}": status.rows([one], FORMULAS, ["mariadb"])
            for number, one in enumerate(members)
        }
        return [one["remedy"] for one in findings.of_containers(rows, recoveries)]

    assert ["orch.mariadb_recovery" in one for one in remedies(down, down)] == [True, True]
    assert ["orch.mariadb_recovery" in one for one in remedies(down, MARIADB)] == [False]


RECORDS = {
    "down": [
        {"service": "nova", "what": "nova-compute", "host": "two", "since": "12:00"},
        {"service": "cinder", "what": "cinder-volume", "host": "gone@file", "since": None},
    ],
    "errors": {"neutron": "503 Service Unavailable"},
}


def test_what_openstack_holds_for_down_is_found():
    error, nova, cinder = findings.of_records(RECORDS, ["one", "two"], "one", "toolbox")
    assert error["name"] == "neutron" and "503" in error["finding"]
    assert (nova["host"], nova["name"]) == ("two", "nova-compute") and "12:00" in nova["finding"]
    assert "service=nova host=two" in nova["remedy"]
    assert cinder["host"] == "gone" and "never" in cinder["finding"]
    assert "salt one saltern.forget_host gone" in cinder["remedy"]
    assert findings.of_records({}, ["one"], "", "") == []
    (missing,) = findings.of_records(
        {"errors": {"toolbox": "not found"}}, ["one"], "one", "toolbox"
    )
    assert missing["name"] == "toolbox" and "image.build toolbox" in missing["remedy"]


def test_instances_that_should_run_and_do_not_are_counted():
    wanted = {"one": ["a", "b", "c"], "two": ["d"], "three": ["e"]}
    counted = status.instances(wanted, {"one": ["b", "x"], "two": ["d"], "three": None})
    assert counted == {
        "one": {"wanted": 3, "running": 1, "down": ["a", "c"]},
        "two": {"wanted": 1, "running": 1, "down": []},
    }
    assert status.instances_text(counted) == "Instances that run: one 1 of 3, two 1 of 1"
    (found,) = findings.of_instances(counted)
    assert found["host"] == "one" and "1 of 3 instances run; down: a, c" in found["finding"]
    many = findings.of_instances({"one": {"wanted": 9, "running": 0, "down": list("abcdefghi")}})
    assert many[0]["finding"].endswith("a, b, c and 6 more")


def test_silent_hosts_and_expired_certificates_are_found():
    (silent,) = findings.of_failures([Failure("does not answer", "two", remedy="look")])
    assert (silent["host"], silent["remedy"]) == ("two", "look")
    expiries = [Expiry("external", "", -1, []), Expiry("host", "two", 20, [])]
    assert [one["name"] for one in findings.of_certificates(expiries)] == ["external"]
