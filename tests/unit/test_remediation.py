"""What is done about a fault, and what is not: rules, causes, clusters, pauses, proof; and what the journal keeps."""

from __future__ import annotations

import json

import pytest

from saltern.cloud.loading import schema
from saltern.containers import faults
from saltern.containers.faults import Fault
from saltern.run import incidents, maintenance, remediation, rules, schedule, words
from saltern.run.schedule import Service


class Cloud:
    """What decisions see of a cloud."""

    def __init__(self, **remediation_):
        given = {"enabled": True, "rules": {}, "hosts": 5, "incidents": 2000, **remediation_}
        self.settings = {
            "remediation": given,
            "images": {},
            "limits": {"clock_offset_s": 2},
        }
        self.placement = {
            "mariadb": ["one", "two", "three"],
            "keystone": ["one", "two", "three"],
            "libvirt": ["one", "two"],
            "nova": ["one", "two"],
        }
        member = {"clusters": {"mariadb": {"recovery": "mariadb_recovery"}}}
        self.catalog = {name: member if name == "mariadb" else {} for name in self.placement}


GRAPH = {
    "mariadb": Service("mariadb", ("one", "two", "three")),
    "keystone": Service("keystone", ("one", "two", "three"), frozenset({"mariadb"})),
    "libvirt": Service("libvirt", ("one", "two")),
    "nova": Service("nova", ("one", "two"), frozenset({"keystone", "libvirt"})),
}


def incident(rule, service="nova", host="one", **more):
    given = {"rule": rule, "service": service, "host": host, "name": service}
    return {**given, "decision": "before", "next": 0, "began": 0, "tries": 0, **more}


def decide(one, *others, now=1000.0, resting=(), upgrading=(), **settings):
    situation = remediation.Situation(
        Cloud(**settings), [one, *others], now, resting, upgrading, GRAPH
    )
    return remediation.decide(one, situation)


@pytest.mark.parametrize(
    ("rule", "action"),
    [
        (faults.STOPPED, rules.START),
        (faults.UNHEALTHY, rules.RESTART),
        (faults.MISSING, rules.APPLY),
        (faults.CHANGED, rules.APPLY),
        (faults.CONFIGURATION, rules.APPLY),
        (faults.BY_HAND, rules.SHOW),
        (rules.MEMBER, rules.SHOW),
    ],
)
def test_each_rule_has_the_one_action_that_loses_nothing(rule, action):
    assert decide(incident(rule)).action == action
    assert not decide(incident(rule), rules={rule: "observe"}).action
    assert not decide(incident(rule), enabled=False).action


def test_the_pillar_knows_every_rule_and_no_other():
    known = schema()["properties"]["remediation"]["properties"]["rules"]["properties"]
    assert set(known) == set(rules.RULES)
    for name, rule in rules.RULES.items():
        assert known[name]["$ref"] == f"#/$defs/{'rule' if rule.action else 'shown'}"
        assert rules.of({}, name) == (rules.ACT if rule.action else rules.OBSERVE)


def test_an_image_without_a_registry_is_only_shown():
    assert not decide(incident(faults.IMAGE)).action


def test_what_the_pillar_does_not_want_there_is_left_alone():
    decision = decide(incident(faults.STOPPED, host="three"))
    assert (decision.action, decision.later) == ("", False)
    assert "does not want nova here" in decision.why


def test_maintenance_an_unfinished_upgrade_and_a_pause_put_it_off():
    rest = maintenance.Maintenance("one", "", "disk", "ann", 0, 2000)
    for decision in (
        decide(incident(faults.STOPPED), resting=[rest]),
        decide(incident(faults.STOPPED), upgrading=["nova"]),
        decide(incident(faults.STOPPED, next=1001)),
    ):
        assert (decision.action, decision.later) == ("", True)
    elsewhere = maintenance.Maintenance("two", "", "disk", "ann", 0, 2000)
    assert decide(incident(faults.STOPPED), resting=[elsewhere], upgrading=["glance"]).action
    assert decide(incident(faults.STOPPED, next=999)).action


def test_what_is_unhealthy_gets_time_to_recover_by_itself():
    assert decide(incident(faults.UNHEALTHY, began=995)).later
    assert decide(incident(faults.UNHEALTHY, began=985)).action == rules.RESTART


def test_pauses_grow():
    assert [remediation.pause_after(tries) for tries in (1, 2, 3, 20)] == [10, 20, 40, 900]


def test_dependants_wait_while_their_cause_is_known():
    ill = incident(faults.UNHEALTHY)
    gone = [incident(faults.STOPPED, "mariadb", host) for host in ("one", "two", "three")]
    assert decide(ill, *gone).why == "waits for mariadb"
    assert decide(ill, *gone).later
    # One of three members is no cause.
    assert decide(ill, gone[1]).action == rules.RESTART
    # What works for this host alone is one, and that of another host is not.
    assert decide(ill, incident(faults.BY_HAND, "libvirt", "one")).why == "waits for libvirt"
    assert decide(ill, incident(faults.BY_HAND, "libvirt", "two")).action
    # The cause itself does not wait for what needs it.
    assert decide(gone[0], ill).action == rules.START


def clusters(host, found, *others):
    situation = remediation.Situation(Cloud(), others, 0, graph=GRAPH)
    return [one.rule for one in remediation.of_clusters(host, found, situation)]


def test_a_member_that_is_ill_is_shown_and_one_that_is_dead_started_while_others_are_up():
    ill = Fault(faults.UNHEALTHY, "mariadb", "mariadb", "")
    dead = Fault(faults.STOPPED, "mariadb", "mariadb", "")
    assert clusters("one", [ill]) == [rules.MEMBER]
    assert clusters("one", [dead]) == [faults.STOPPED]
    assert clusters("one", [Fault(faults.UNHEALTHY, "nova", "nova", "")]) == [faults.UNHEALTHY]
    two = incident(rules.MEMBER, "mariadb", "two")
    three = incident(faults.STOPPED, "mariadb", "three")
    assert clusters("one", [ill], two) == [rules.MEMBER]
    assert clusters("one", [ill], two, three) == [rules.DATABASE]
    assert clusters("one", [dead], two, three) == [rules.DATABASE]


def test_a_cluster_without_members_is_started_after_a_while_by_its_orchestration():
    down = incident(rules.DATABASE, "mariadb", began=980)
    assert (decide(down).action, decide(down).later) == ("", True)
    long = incident(rules.DATABASE, "mariadb", began=900)
    assert decide(long).action == rules.RECOVER
    assert "orch.mariadb_recovery" in decide(long).why
    assert not decide(long, rules={rules.DATABASE: "observe"}).action


def test_clock_disk_and_watch_are_read_from_an_answer():
    def of(**answer):
        given = {"time": 100.5, "short": [], "watched": 3, **answer}
        return [one.rule for one in remediation.of_host(given, (100, 101), Cloud().settings)]

    assert of() == []
    assert of(time=103.5) == [rules.CLOCK]
    assert of(time=97) == [rules.CLOCK]
    assert of(short=["/var: 3 MB are free"]) == [rules.DISK]
    assert of(watched=None) == of(watched=500) == [rules.UNWATCHED]


def signed(**fields):
    return json.dumps({"host": "one", "serial": 5, "time": 1, "faults": [], **fields})


def test_a_word_counts_only_with_the_key_of_the_host_that_it_names():
    keys = {"one": "k1", "two": "k2"}
    assert words.read(signed(), lambda host: keys[host]) == words.Word("one", 5, "k1")
    assert words.read(signed(), lambda host: "") is None


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "{",
        "[]",
        signed(host="../../etc"),
        signed(host=".."),
        signed(host=7),
        signed(serial="5"),
        signed(serial=True),
        signed(serial=0),
        signed(serial=2**80),
        signed(more="x" * 200_000),
    ],
)
def test_what_no_watch_sends_is_refused_before_any_key_is_looked_at(text):
    def never(host):
        raise AssertionError(host)

    assert words.read(text, never) is None


@pytest.fixture
def journal(tmp_path):
    return incidents.Journal(tmp_path / "var/remediation.db")


def test_a_serial_must_rise_unless_the_key_is_another(journal):
    assert journal.note("one", 5, "k1")
    assert not journal.note("one", 5, "k1")
    assert not journal.note("one", 4, "k1")
    assert journal.note("two", 1, "k2")
    assert journal.note("one", 6, "k1")
    assert journal.note("one", 1, "new")


def test_a_word_that_comes_while_its_host_is_seen_to_is_not_lost(journal):
    journal.note("one", 1, "k")
    ((host, seen),) = journal.due(0)
    journal.note("one", 2, "k")
    journal.finish(host, seen, None)
    ((_, again),) = journal.due(0)
    assert again != seen
    journal.finish(host, again, 50)
    assert journal.due(49) == []
    assert journal.due(50) == [("one", again)]
    journal.finish(host, again, None)
    assert journal.due(99) == []


STOPPED = Fault(faults.STOPPED, "nova", "nova-api", "Exited (137)", 10.0)


def test_an_incident_has_a_beginning_a_decision_a_deed_and_an_end(journal, tmp_path):
    assert (tmp_path / "var/remediation.db").stat().st_mode & 0o777 == 0o600
    (one,) = journal.seen("one", [STOPPED], [faults.STOPPED])
    (same,) = journal.seen("one", [STOPPED], [faults.STOPPED])
    assert one["id"] == same["id"] and one["began"] == 10.0
    journal.decided(one["id"], "start it")
    (first,) = journal.open()
    journal.decided(one["id"], "start it")
    assert journal.open() == [first]
    journal.acted(one["id"], "started", 77.0)
    assert [(each["tries"], each["next"]) for each in journal.open("one")] == [(1, 77.0)]
    # Another question does not end it.
    journal.seen("one", [], [rules.CLOCK])
    assert len(journal.open()) == 1
    assert journal.seen("one", [], [faults.STOPPED]) == []
    (over,) = journal.read()
    assert over["ended"] and journal.open() == []
    text = incidents.table([over])
    assert "nova-api" in text and "decided: start it" in text and "done: started" in text
    assert incidents.table([]) == "No incident"


def test_the_journal_is_bounded_but_what_goes_on_stays(journal):
    journal.seen("zero", [STOPPED], [faults.STOPPED])
    for _ in range(20):
        journal.seen("one", [STOPPED], [faults.STOPPED])
        journal.seen("one", [], [faults.STOPPED])
    journal.trim(5)
    kept = journal.read()
    assert len(kept) == 6 and kept[0]["host"] == "zero"


def test_hosts_that_are_gone_leave_nothing_open(journal):
    journal.note("old", 1, "k")
    journal.seen("old", [STOPPED], [faults.STOPPED])
    journal.seen("", [Fault(rules.CERTIFICATE, "", "ca", "soon")], [rules.CERTIFICATE])
    journal.without(["one"])
    assert [one["host"] for one in journal.open()] == [""]
    assert journal.due(9e9) == []
    assert journal.read(host="old")[0]["ended"]


def test_clusters_are_those_of_several_hosts():
    assert list(schedule.clustered(Cloud())) == ["mariadb"]


def test_incidents_are_rows_of_the_report(tmp_path):
    journal = incidents.Journal(tmp_path / "db")
    journal.seen("one", [Fault(faults.MISSING, "web", "web", "removed")], [faults.MISSING])
    (row,) = incidents.rows(journal.read())
    assert {key: row[key] for key in ("host", "what", "until")} == {
        "host": "one",
        "what": "container_missing",
        "until": None,
    }
