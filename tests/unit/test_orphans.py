"""What is nobody's, and what only seems so."""

from __future__ import annotations

from saltern.run import orphans
from saltern.run.orphans import Orphan

PORT = "0d6c37a1-5b1e-4a37-9f0a-0a1b2c3d4e5f"
NETWORK = "5be910a3-cebc-4822-9bf6-eb616425ec6e"
TAPS = {"ports": "tap(.{11})", "local_networks": "tap(.{10})0"}
KNOWN = {"instances": [], "ports": [PORT], "networks": [NETWORK], "local_networks": [NETWORK]}


def thing(name: str, belongs_to: dict[str, str], minutes: int | None = 60, remedy: str = ""):
    return {
        "service": "libvirt",
        "kind": "thing",
        "name": name,
        "minutes": minutes,
        "belongs_to": belongs_to,
        "remedy": remedy,
    }


def names(*things, known=None, minutes=10):
    return [one.name for one in orphans.judge("aio", things, known or KNOWN, minutes)]


def test_what_a_known_resource_begins_with_is_no_orphan():
    mine, metadata = f"tap{PORT[:11]}", f"tap{NETWORK[:10]}0"
    assert names(thing(mine, TAPS), thing(metadata, TAPS)) == []
    assert names(thing("tap12345678-90", TAPS)) == ["tap12345678-90"]


def test_a_name_that_no_resource_gives_is_somebody_elses():
    assert names(thing("tap0", TAPS), thing("docker0", TAPS)) == []


def test_what_nobody_was_asked_about_is_no_orphan():
    volumes = {"volumes": "volume-(.*)"}
    assert names(thing("volume-1", volumes)) == []
    assert names(thing("volume-1", volumes), known={"volumes": []}) == ["volume-1"]


def test_what_is_young_may_be_under_way():
    domain = {"instances": "(.*)"}
    assert names(thing("a", domain, minutes=9), thing("b", domain, minutes=10)) == ["b"]
    assert names(thing("c", domain, minutes=None)) == ["c"]


def test_a_network_is_local_where_it_has_a_port():
    known = {"networks": [NETWORK], "bindings": [{"network": NETWORK, "host": "compute1"}]}
    namespace = thing(f"ovnmeta-{NETWORK}", {"local_networks": "ovnmeta-(.*)"})
    assert names(namespace, known=orphans.local(known, "compute1")) == []
    assert names(namespace, known=orphans.local(known, "compute2")) == [f"ovnmeta-{NETWORK}"]


def test_a_container_that_failed_belongs_to_nobody():
    failed = thing("keystone-api.failed", {"none": "(.*)"}, minutes=None)
    assert names(failed, known=orphans.local({"bindings": []}, "aio")) == ["keystone-api.failed"]


def test_records_that_are_stuck_are_orphans_after_a_while():
    stuck = {"service": "glance", "kind": "image", "id": "i"}
    found = orphans.records({"stuck": [stuck | {"minutes": 5}, stuck | {"minutes": 50}]}, 10)
    assert found == [Orphan("", "glance", "image", "i", 50)]


def test_only_what_is_an_orphan_twice_is_cleaned():
    def orphan(name: str, minutes: int) -> Orphan:
        return Orphan("aio", "libvirt", "domain", name, minutes)

    before, after = (
        [orphan("gone", 10), orphan("stays", 10)],
        [orphan("new", 11), orphan("stays", 11)],
    )
    assert orphans.seen_twice(before, after) == [orphan("stays", 11)]


def test_people_read_which_ones_clean_leaves():
    shown = {"orphans": [vars(Orphan("aio", "cinder-volume", "file", "f", 12, "see the docs"))]}
    assert "not removed by clean: see the docs" in orphans.text(shown)
    assert orphans.text({"orphans": []}) == "No orphans"
