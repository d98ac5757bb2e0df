"""The choice of the member that forms a Galera cluster again."""

import pytest

from saltern.run import galera
from saltern.run.formation import RefusedError

A, B = "aaaaaaaa-0000-0000-0000-000000000001", "bbbbbbbb-0000-0000-0000-000000000001"
HOSTS = ("one", "two", "three")


def killed(seqno, uuid=A):
    """Return the facts of a member that was killed."""
    state = {"uuid": uuid, "seqno": -1, "safe": False}
    return {"data": True, "half_copied": False, "grastate": state, "position": f"{uuid}:{seqno}"}


def stopped(seqno, safe=False, uuid=A):
    """Return the facts of a member that was stopped."""
    state = {"uuid": uuid, "seqno": seqno, "safe": safe}
    return {"data": True, "half_copied": False, "grastate": state, "position": f"{uuid}:{seqno}"}


EMPTY = {"data": False, "half_copied": False, "grastate": None, "position": ""}
HALF = {"data": True, "half_copied": True, "grastate": None, "position": ""}
UNKNOWN = {"data": True, "half_copied": False, "grastate": None, "position": ""}


@pytest.mark.parametrize(
    ("facts", "host"),
    [
        ((killed(5), killed(7), killed(6)), "two"),
        ((killed(7), killed(7), killed(7)), "one"),
        ((stopped(7), stopped(7), stopped(7, safe=True)), "three"),
        ((stopped(5), killed(9), stopped(5)), "two"),
        ((EMPTY, killed(3), HALF), "two"),
        ((EMPTY, EMPTY, killed(3)), "three"),
        (({**killed(7), "grastate": None}, killed(7), killed(7)), "two"),
        (
            (killed(7) | {"grastate": {"uuid": B, "seqno": -1, "safe": False}}, killed(7), EMPTY),
            "two",
        ),
    ],
)
def test_the_member_with_every_write_is_chosen(facts, host):
    act, text = galera.choose(HOSTS, dict(zip(HOSTS, facts, strict=True)))
    position = dict(zip(HOSTS, facts, strict=True))[host]["position"]
    assert act == {host: {"position": position}}
    assert host in text


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ((killed(5), killed(7)), "nothing is known of three"),
        ((killed(5), UNKNOWN, killed(7)), "two holds data whose position is unknown"),
        ((killed(5), killed(5), killed(5, B)), "the members were in different clusters"),
        (
            (stopped(5, safe=True), killed(7), killed(5)),
            "one says that it left last, but two holds",
        ),
        ((EMPTY, EMPTY, EMPTY), "no member holds data"),
        ((HALF, HALF, EMPTY), "no member holds data"),
        (
            ({**stopped(5), "position": f"{A}:9"}, stopped(5), stopped(5)),
            f"one holds {A}:9, but left the cluster at {A}:5",
        ),
    ],
)
def test_missing_and_contradicting_facts_are_refused(facts, words):
    with pytest.raises(RefusedError, match=words):
        galera.choose(HOSTS, dict(zip(HOSTS, facts, strict=False)))


def test_the_remedy_of_a_refusal_keeps_the_hosts_of_the_run():
    with pytest.raises(RefusedError) as refused:
        galera.choose(HOSTS, {"one": killed(5), "two": killed(7)})
    assert refused.value.remedy.endswith(
        """orch.mariadb_recovery pillar='{"hosts": ["one", "two"], "force": "two", "confirm": "yes"}'"""
    )
    with pytest.raises(RefusedError) as refused:
        galera.choose(HOSTS, {"one": killed(5), "two": killed(7), "three": UNKNOWN})
    assert "hosts" not in refused.value.remedy.partition("pillar=")[2]


def test_a_person_can_choose_but_not_what_cannot_be():
    facts = {"one": killed(5), "two": killed(7, B), "three": EMPTY}
    act, _ = galera.choose(HOSTS, facts, force="one")
    assert act == {"one": {"position": f"{A}:5"}}
    assert galera.choose(HOSTS, {"one": UNKNOWN}, force="one")[0] == {"one": {"position": ""}}
    for force, words in (("three", "incomplete"), ("four", "nothing is known of it")):
        with pytest.raises(RefusedError, match=words):
            galera.choose(HOSTS, facts, force=force)


def test_a_cluster_that_is_up_is_left_alone():
    facts = {"one": {}, "two": {"cluster": "Primary"}, "three": {"cluster": "non-Primary"}}
    with pytest.raises(RefusedError, match="the cluster is up on two"):
        galera.down(HOSTS, facts)
    assert galera.down(HOSTS, {"one": {}, "three": {}})[0] == {"one": {}, "three": {}}


@pytest.mark.parametrize(
    ("one", "two", "words"),
    [
        ({"state": "Synced", "uuid": A}, {"state": "Joined", "uuid": A}, "two: .*Joined"),
        ({"state": "Synced", "uuid": A}, {"state": "Synced", "uuid": B}, "not in one cluster"),
        # All members say so after they were started without their positions: they differ silently.
        ({"state": "Synced", "uuid": galera.NO_CLUSTER},) * 2 + ("not in one cluster",),
        ({"state": "Synced", "uuid": A}, {}, "two: "),
    ],
)
def test_members_that_are_not_in_step_are_named(one, two, words):
    with pytest.raises(RefusedError, match=words):
        galera.agree(HOSTS, {"one": one, "two": two})


def test_members_in_step_are_counted():
    facts = {host: {"state": "Synced", "uuid": A} for host in ("one", "two")}
    assert galera.agree(HOSTS, facts)[1] == "2 of 3 members are in step. Missing: three."


def test_grastate_is_read():
    text = f"# GALERA saved state\nversion: 2.1\nuuid:    {A}\nseqno:   -1\nsafe_to_bootstrap: 0\n"
    assert galera.grastate(text) == {"uuid": A, "seqno": -1, "safe": False}
    assert galera.grastate("") is None
