"""Upgrades: which services are due, what is in the way, what is kept, and to what one can go back."""

from __future__ import annotations

import pytest

from saltern.errors import SalternError
from saltern.run import rollbacks, upgrades
from saltern.run.upgrades import Upgrade

IMAGE = {
    "state": "Run x",
    "result": None,
    "comment": "",
    "changes": {"image": {"old": 1, "new": 2}},
}
OPTION = {
    "state": "Run x",
    "result": None,
    "comment": "",
    "changes": {"config": {"old": 1, "new": 2}},
}
DOWN = {"state": "Run x", "result": None, "comment": "is not up: x is exited", "changes": {}}
UNKNOWN = {"state": "Ask x", "result": None, "comment": "cannot be asked: away", "changes": {}}
SERVICES = ["store", "front"]
CATALOG = {name: {"containers": {name: {}}} for name in SERVICES} | {"cells": {"tasks": {}}}


def containers(**releases):
    """Return what ``container.list`` says: a container a service."""
    return {name: {"service": name, "release": one} for name, one in releases.items()}


def due(plans, there, unfinished=None):
    return upgrades.due(plans, there, CATALOG, unfinished or {}, "2026.2")


def test_services_with_another_image_are_due_in_the_order_of_the_run():
    plans = {"one": {"front": [IMAGE], "store": [IMAGE]}, "two": {"store": [IMAGE]}}
    there = {"one": containers(front="2026.1", store="2026.1"), "two": containers(store="2025.2")}
    found = due(plans, there)
    assert list(found) == SERVICES
    assert found["store"] == Upgrade(["2025.2", "2026.1"], "2026.2")
    assert found["store"].text() == "2025.2, 2026.1 -> 2026.2"


def test_a_changed_option_is_no_upgrade_and_named():
    plans = {"one": {"store": [OPTION]}}
    assert due(plans, {}) == {}
    assert upgrades.others(plans, {}) == ["store"]


def test_a_service_that_does_not_run_yet_is_not_upgraded():
    new = {**IMAGE, "changes": {"container": {"old": None, "new": "x"}, "image": {}}}
    assert due({"one": {"store": [new]}}, {"one": {}}) == {}


def test_a_service_of_tasks_alone_gets_another_image_too():
    assert due({"one": {"cells": [IMAGE]}}, {"one": {}}) == {"cells": Upgrade([], "2026.2")}


def test_what_an_earlier_run_has_begun_is_due_without_any_change():
    begun = {"store": Upgrade(["2026.1"], "2026.2", {"one": "abc"})}
    assert due({"one": {}}, {}, begun) == begun


def test_what_runs_counts_too_where_an_upgrade_has_begun():
    begun = {"store": Upgrade(["2026.1"], "2026.3", {"one": "abc"})}
    plans = {"one": {"store": [IMAGE]}}
    found = due(plans, {"one": containers(store="2026.3")}, begun)
    assert found["store"].old == ["2026.1", "2026.3"]


def test_what_is_down_is_in_the_way_unless_an_upgrade_has_left_it_so():
    plans = {"one": {"front": [DOWN], "store": [IMAGE]}}
    found = {"store": Upgrade(["2026.1"], "2026.2")}
    (failure,) = upgrades.in_the_way(plans, found, {})
    assert (failure.host, failure.service) == ("one", "front")
    assert "saltern.status" in failure.remedy
    assert upgrades.in_the_way(plans, found, {"front": Upgrade([], "")}) == []
    stopped = {**DOWN, "changes": {"state": {"old": "exited", "new": "running"}}}
    assert len(upgrades.in_the_way({"one": {"front": [stopped]}}, found, {})) == 1


def test_what_cannot_be_asked_matters_where_it_is_upgraded():
    plans = {"one": {"store": [UNKNOWN]}}
    assert upgrades.in_the_way(plans, {}, {}) == []
    assert len(upgrades.in_the_way(plans, {"store": Upgrade([], "")}, {})) == 1


def test_unfinished_upgrades_are_kept_until_none_is_left(tmp_path):
    path = upgrades.file(str(tmp_path))
    begun = {"store": Upgrade(["2026.1"], "2026.2", {"one": "abc"})}
    assert upgrades.read(path) == {}
    upgrades.write(path, begun)
    assert upgrades.read(path) == begun
    upgrades.write(path, {})
    assert not path.exists()
    path.write_text("{")
    with pytest.raises(SalternError, match=r"upgrade\.json is spoilt"):
        upgrades.read(path)


def test_tasks_run_on_the_first_host_or_on_each():
    catalog = {
        "store": {
            "tasks": {
                "a": {"phase": "expand", "where": "first"},
                "b": {"phase": "contract", "where": "each"},
            }
        },
        "front": {},
    }
    hosts = {"store": ["one", "two"], "front": ["one"]}
    assert upgrades.where(catalog, SERVICES, "expand", hosts) == {"store": ["one"]}
    assert upgrades.where(catalog, SERVICES, "contract", hosts) == {"store": ["one", "two"]}
    assert upgrades.where(catalog, SERVICES, "migrate", hosts) == {}


def test_databases_of_a_service_are_all_that_it_has():
    catalog = {"store": {"database": {"name": "store", "also": ["more"]}}, "front": {}}
    assert upgrades.databases(catalog, SERVICES) == ["store", "more"]


def test_a_run_limited_to_hosts_names_the_first_one_of_each_service():
    placed = {"store": ["one", "two"], "front": ["two", "three"]}
    assert upgrades.left_out(SERVICES, placed, ["one", "two", "three"]) == {}
    assert upgrades.left_out(SERVICES, placed, ["one"]) == {
        "store": ["two"],
        "front": placed["front"],
    }
    assert upgrades.without_first(SERVICES, placed, ["one", "two"]) == []
    (failure,) = upgrades.without_first(SERVICES, placed, ["one"])
    assert failure.service == "front"
    assert "begins on two" in failure.reason


GRAPH = {"store": type("Service", (), {"hosts": ("one", "two")})}


def revision(id_, release="2026.2"):
    return {"id": id_, "release": release, "images": [f"store:{release}"]}


def test_a_service_goes_back_to_the_revision_before():
    known = {"one": {"store": [revision("a"), revision("b")]}, "two": {"store": [revision("c")]}}
    found, wrong = rollbacks.goals({"store": {}}, ["store"], GRAPH, known, {})
    assert found == {"store": {"one": "a"}}
    assert [(one.host, one.reason) for one in wrong] == [("two", "keeps no earlier revision of it")]
    assert rollbacks.text(found, known) == "store on one to store:2026.2."


def test_a_schema_of_the_new_release_has_no_way_back():
    known = {"one": {"store": [revision("a", "2026.1"), revision("b")]}}
    stateless, none = rollbacks.goals({"store": {}}, ["store"], GRAPH, known, {})
    assert (stateless, none) == ({"store": {"one": "a"}}, [])
    found, (failure,) = rollbacks.goals({"store": {"database": {}}}, ["store"], GRAPH, known, {})
    assert found == {}
    assert "its schema is that of 2026.2" in failure.reason
    assert "backup" in failure.remedy


def test_an_unfinished_upgrade_goes_back_to_where_it_began():
    known = {host: {"store": [revision("a", "2026.1"), revision("b")]} for host in ("one", "two")}
    # Not moved yet: the other host.
    begun = {"store": Upgrade(["2026.1"], "2026.2", {"one": "a"})}
    found, wrong = rollbacks.goals({"store": {"database": {}}}, ["store"], GRAPH, known, begun)
    assert (found, wrong) == ({"store": {"one": "a"}}, [])


def test_a_service_that_is_being_contracted_goes_back_by_its_backup_alone():
    known = {"one": {"store": [revision("a", "2026.1"), revision("b")]}}
    begun = {"store": Upgrade(["2026.1"], "2026.2", {"one": "a", "two": ""})}
    assert rollbacks.ways(begun) == {"store": {"one": "a"}}
    begun["store"].contracting = True
    assert rollbacks.ways(begun) == {}
    found, (failure,) = rollbacks.goals({"store": {}}, ["store"], GRAPH, known, begun)
    assert found == {}
    assert "the way back is the backup" in failure.remedy


def test_the_last_word_says_what_is_where():
    begun = {name: Upgrade(["2026.1"], "2026.2", {"one": "a", "two": "b"}) for name in SERVICES}
    done = {"store": {"one": ["store"]}}
    word = rollbacks.ended(begun, done, {"store": ["two"]})
    assert "Went back to what they came from: store on one." in word.reason
    assert "Not back: store on two." in word.reason
    assert "Nothing had moved." in rollbacks.ended(begun, {}, {}).reason
