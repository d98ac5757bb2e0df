"""Who forms a cluster and who goes first."""

import pytest

from saltern.formation import Formation, Member, RefusedError, decide


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
        ([a(**UP), b(), c()], Formation(("b", "c", "a"))),
        ([a(), b(**UP), c(**UP)], Formation(("a", "b", "c"))),
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
    with pytest.raises(RefusedError, match="no member is up, and a hold data") as refused:
        decide("db", [a(data=True), b()], recovery="mariadb_recovery")
    assert "orch.mariadb_recovery" in refused.value.remedy


def test_a_limited_run_forms_the_cluster_on_a_host_of_its_own():
    assert decide("db", [a(), b(), c()], chosen=["b", "c"]).form == "b"
    with pytest.raises(RefusedError, match="a must form the cluster, and this run leaves it out"):
        decide("db", [a(alone=True), b()], chosen=["b"])
