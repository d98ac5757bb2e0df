"""Who forms a cluster and who goes first."""

import pytest

from saltern.containers.inside import on_host
from saltern.run.formation import (
    Formation,
    Member,
    NoMemberUpError,
    RefusedError,
    actions,
    decide,
    dispense_with,
)
from saltern.run.schedule import Clustered


def a(**facts):
    return Member("a", **facts)


def b(**facts):
    return Member("b", **facts)


def c(**facts):
    return Member("c", **facts)


UP = {"data": True, "running": True, "healthy": True}


@pytest.mark.parametrize(
    ("members", "formation"),
    [
        # New: the first forms, once.
        ([a(), b(), c()], Formation(("a", "b", "c"), form="a")),
        ([a(marked=True), b(), c()], Formation(("a", "b", "c"))),
        ([a(), b(marked=True), c()], Formation(("b", "a", "c"))),
        ([a(running=True), b(running=True), c()], Formation(("a", "b", "c"), form="a")),
        # One host has served alone: it goes over to the cluster, whatever its place.
        ([a(), b(alone=True, running=True, healthy=True)], Formation(("b", "a"), form="b")),
        ([a(alone=True, marked=True), b()], Formation(("a", "b"))),
        # It is there: what is down comes first, and nobody forms another one.
        ([a(**UP), b(**UP), c(**UP)], Formation(("a", "b", "c"))),
        ([a(**UP), b(), c()], Formation(("b", "c", "a"), forget=("b", "c"), asked="a")),
        ([a(), b(**UP), c(**UP)], Formation(("a", "b", "c"), forget=("a",), asked="b")),
        ([a(**UP), b(data=True, running=True), c(**UP)], Formation(("b", "a", "c"))),
        # Data from before the cluster do not count beside it.
        ([a(**UP, alone=True), b(alone=True), c(**UP)], Formation(("b", "a", "c"))),
        # All down: started together.
        ([a(data=True), b(data=True, running=True), c()], Formation(("a", "b", "c"), start=("a",))),
        # A recovery was interrupted after its choice.
        ([a(data=True), b(data=True, marked=True)], Formation(("b", "a"))),
    ],
)
def test_the_facts_decide(members, formation):
    assert decide("db", members) == formation


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([a(marked=True), b(marked=True)], "more than one host to form the cluster: a, b"),
        ([a(alone=True), b(alone=True)], "more than one host with data of its own: a, b"),
        ([a(marked=True), b(alone=True)], "a is marked .* but b has data"),
        (
            [a(marked=True), b(data=True)],
            "a is marked to form a new cluster, but there is one on b",
        ),
        ([a(**UP, marked=True), b(**UP)], "a is marked to form a new cluster"),
    ],
)
def test_facts_that_contradict_are_refused(members, words):
    with pytest.raises(RefusedError, match=words):
        decide("db", members)


def test_a_cluster_that_needs_a_choice_is_not_started():
    with pytest.raises(NoMemberUpError, match="no member is up, and a hold data") as refused:
        decide("db", [a(data=True), b()], recovery="mariadb_recovery")
    assert refused.value.remedy.endswith("salt-run state.orchestrate orch.mariadb_recovery")
    assert not refused.value.trying
    members = [a(data=True, running=True), b()]
    with pytest.raises(NoMemberUpError) as refused:
        decide("db", members, chosen=["a", "b"], recovery="mariadb_recovery", unknown=["c"])
    assert refused.value.remedy.endswith("""pillar='{"hosts": ["a", "b"]}'""")
    assert refused.value.trying


def test_a_healthy_member_is_never_forgotten():
    healthy = b(running=True, healthy=True)
    assert decide("db", [a(**UP), healthy, c()]).forget == ("c",)


def test_a_limited_run_forms_the_cluster_on_a_host_of_its_own():
    assert decide("db", [a(), b(), c()], chosen=["b", "c"]).form == "b"
    with pytest.raises(RefusedError, match="a must form the cluster, and this run leaves it out"):
        decide("db", [a(alone=True), b()], chosen=["b"])


def test_no_cluster_is_formed_while_a_host_may_hold_one():
    with pytest.raises(RefusedError, match="nothing is known of c"):
        decide("db", [a(), b()], unknown=["c"])
    assert decide("db", [a(**UP), b(data=True)], unknown=["c"]).order == ("b", "a")
    facts = {"a": {"db": {"db": UP}}}
    assert actions({"db": Clustered(("a", "b"), {"db": ""})}, facts, ["a"]).prepare == {}


def test_all_clusters_of_a_run_are_decided_together():
    clusters = {
        "db": Clustered(("a", "b"), {"db": "recover"}),
        "ovn": Clustered(("a", "b"), {"nb": "", "sb": ""}),
        "mq": Clustered(("a", "b"), {"mq": ""}),
    }
    facts = {
        "a": {"db": {"db": {}}, "ovn": {"nb": UP, "sb": UP}, "mq": {"mq": {"data": True}}},
        "b": {"db": {"db": {}}, "ovn": {"nb": {}, "sb": {}}, "mq": {"mq": {"data": True}}},
    }
    todo = actions(clusters, facts, ["a", "b"])
    assert todo.orders == {"ovn": ("b", "a")}
    assert todo.prepare == {"a": {"form": ["db"], "start": ["mq"]}, "b": {"start": ["mq"]}}
    assert todo.forget == {"a": {"nb": ["b"], "sb": ["b"]}}
    assert todo.text() == (
        "To do: form db on a; start mq on a; start mq on b; nb forgets b; sb forgets b."
    )
    assert actions({}, {}, []).text() == "No cluster has to be formed or started."
    unchanged = actions(clusters, facts, ["a", "b"], changing=["ovn"])
    assert (unchanged.prepare, unchanged.forget) == ({}, todo.forget)


def test_each_cluster_forgets_its_own_lost_members():
    clusters = {
        "mq": Clustered(("a", "b", "c"), {"mq": ""}),
        "ovn": Clustered(("a", "b", "c"), {"nb": "", "sb": ""}),
    }
    facts = {
        "a": {"mq": {"mq": UP}, "ovn": {"nb": UP, "sb": UP}},
        "b": {"mq": {"mq": {}}, "ovn": {"nb": UP, "sb": UP}},
        "c": {"mq": {"mq": UP}, "ovn": {"nb": {}, "sb": UP}},
    }
    assert actions(clusters, facts, ["a", "b", "c"]).forget == {"a": {"mq": ["b"], "nb": ["c"]}}


def test_files_of_volumes_are_found_on_the_host():
    mounted, volumes = ["db:/var/lib/db", "/srv/more:/more:ro"], {"db": "/docker/db/_data"}
    assert str(on_host("/var/lib/db/data/x", mounted, volumes)) == "/docker/db/_data/data/x"
    assert str(on_host("/more/x", mounted, {})) == "/srv/more/x"
    assert on_host("/var/lib/db/data", mounted, {}) is None
    assert on_host("/elsewhere", mounted, volumes) is None


def test_a_host_is_removed_only_while_the_others_are_healthy():
    clusters = {"ovn": Clustered(("a", "b", "c"), {"nb": "", "sb": ""})}
    facts = {host: {"ovn": {"nb": {"healthy": True}, "sb": {"healthy": True}}} for host in "bc"}
    asked = {"b": {"nb": ["a"], "sb": ["a"]}}
    assert dispense_with("a", clusters, facts) == asked
    facts["c"]["ovn"]["sb"]["healthy"] = False
    with pytest.raises(RefusedError, match="sb: c must be healthy before a goes"):
        dispense_with("a", clusters, facts)
