"""What a person reads of a run: lines, tables, the last block of a failed run, plans."""

from __future__ import annotations

import pytest

from saltern.errors import Failure
from saltern.host import checks, clients, prechecks
from saltern.host.prechecks import Listener
from saltern.run import plan, progress, status
from saltern.run.progress import Phase


def test_a_phase_says_the_same_on_the_bus_and_on_the_screen():
    events, lines = [], []
    times = iter([0.0, 2.0])
    phase = Phase(
        "42",
        "applied",
        "Apply",
        lambda data, tag: events.append((tag, data)),
        lines.append,
        lambda: next(times),
    )
    phase.begin()
    phase.host("aio", "keystone: done", True, 1.26, 50)
    phase.state("aio", "Run keystone-api", False, 3)
    phase.end(True, "Changed 1 service.")
    assert [tag for tag, _ in events] == [
        f"saltern/rollout/42/applied/{what}" for what in ("begin", "host", "state", "end")
    ]
    assert lines == [
        "Apply ...",
        "   50% aio: keystone: done (1.3 s)",
        "       aio: FAILED: Run keystone-api (3.0 s)",
        "  Changed 1 service. (2.0 s)",
    ]
    assert lines == [progress.line(tag.rpartition("/")[2], data) for tag, data in events]


def test_the_last_block_names_step_host_state_reason_and_what_to_do():
    failure = Failure("not healthy\nlast line", "aio", "keystone", "Run keystone-api", "look")
    assert progress.failure_block("Apply", [failure], "salt-run x") == (
        "\nFAILED  Apply\n"
        "  host    aio\n"
        "  service keystone\n"
        "  state   Run keystone-api\n"
        "  reason  not healthy\n"
        "          last line\n"
        "  next    look\n"
        "  then    salt-run x"
    )


def test_of_a_long_reason_the_first_and_the_last_lines_are_shown():
    reason = "\n".join(f"line {number}" for number in range(40))
    block = progress.failure_block("Apply", [Failure(reason)], "again")
    assert "line 2\n" in block
    assert "... 29 lines, shown above ...\n" in block
    assert "line 31" not in block
    assert "line 32\n" in block


def test_of_many_failures_a_few_are_shown_and_the_rest_counted():
    failures = [Failure("no", f"host{number}") for number in range(7)]
    block = progress.failure_block("Ask", failures, "again")
    assert "host4" in block
    assert "and     2 more failures on host5, host6" in block


def test_states_that_only_failed_with_others_are_no_failures_of_their_own():
    running = {
        "b": {
            "result": False,
            "comment": "requisite",
            "__id__": "B",
            "__run_num__": 1,
            "__state_ran__": False,
        },
        "a": {"result": False, "comment": "broken", "__id__": "A", "__run_num__": 0},
        "c": {"result": True, "comment": "", "__id__": "C", "__run_num__": 2},
    }
    found = progress.state_failures(running, "aio", "keystone")
    assert [(one.state, one.reason) for one in found] == [("A", "broken")]


def test_states_that_did_not_render_are_one_failure():
    (found,) = progress.state_failures(["bad SLS", "line 3"], "aio")
    assert found.reason == "bad SLS\nline 3"


def _state(id_, number, result=True, changes=None, sls="keystone"):
    return {
        "__id__": id_,
        "__run_num__": number,
        "__sls__": sls,
        "result": result,
        "changes": changes or {},
        "comment": f"{id_} s3cr3t-value",
    }


RUNNING = {
    "2": _state("Run it", 2, None, {"image": {"old": "a", "new": "b"}}),
    "1": _state("Write it", 1, None, {"x.conf": "-old\n+s3cr3t-value\n"}),
    "0": _state("Have it", 0),
}


def test_a_plan_holds_what_would_change_in_order_and_no_secret():
    found = plan.of_states(RUNNING, {"keystone": {"password": "s3cr3t-value"}})
    assert [change["state"] for change in found["keystone"]] == ["Write it", "Run it"]
    assert "s3cr3t-value" not in str(found)


def test_a_plan_as_text_shows_diffs_and_old_and_new():
    text = plan.text({"aio": plan.of_states(RUNNING), "two": {}})
    assert text == (
        "aio\n"
        "  keystone\n"
        "    * Write it\n"
        "        -old\n"
        "        +s3cr3t-value\n"
        "    * Run it\n"
        "        image: a -> b\n"
        "two: nothing to change\n"
        "\n2 states of 1 service would change."
    )


UNKNOWN = {
    "state": "Create it",
    "result": None,
    "comment": f"{plan.UNKNOWN}refused",
    "changes": {},
}
NOT_UP = {
    "state": "Run db",
    "result": None,
    "comment": f"{plan.NOT_UP}db is starting",
    "changes": {},
}
CHANGE = {"state": "Write it", "result": None, "comment": "", "changes": {"x.conf": "+a"}}
STOPPED = {
    "state": "Run api",
    "result": None,
    "comment": "",
    "changes": {"state": {"old": "exited", "new": "running"}},
}
FAILS = {"state": "Run it", "result": False, "comment": "no image", "changes": {}}


@pytest.mark.parametrize(
    ("entry", "kind", "trusted"),
    [
        (CHANGE, plan.Kind.CHANGES, True),
        (STOPPED, plan.Kind.CHANGES, False),
        (UNKNOWN, plan.Kind.UNKNOWN, False),
        (NOT_UP, plan.Kind.NOT_UP, False),
        (FAILS, plan.Kind.FAILS, False),
        # A state of an operator's own that would do something it cannot name.
        ({**CHANGE, "changes": {}}, plan.Kind.CHANGES, True),
    ],
)
def test_an_entry_is_a_change_a_failure_or_a_finding(entry, kind, trusted):
    assert plan.kind(entry) is kind
    assert plan.trusted({"a": {"x": [CHANGE, entry]}, "b": {}}) is trusted


def test_what_cannot_be_asked_or_is_not_up_is_work_but_no_change():
    plans = {"a": {"db": [NOT_UP], "keystone": [UNKNOWN]}, "b": {}}
    assert plan.work(plans, ["db", "keystone"]) == {"db": ["a"], "keystone": ["a"]}
    assert plan.failures(plans) == []
    assert plan.summary(plans) == (
        "Not up, waited for: db on a. Cannot be asked yet: keystone on a."
    )
    assert plan.summary({"a": {}}) == "Nothing to change."
    text = plan.text(plans)
    assert (
        "    - Run db\n        is not up: db is starting\n        next: salt-run saltern.logs"
        in text
    )
    assert "    ? Create it\n        cannot be asked: refused\n" in text
    assert text.endswith("Nothing would change; 1 could not be asked; 1 not up.")


def test_the_plan_counts_changes_apart_from_findings():
    plans = {"a": {"x": [CHANGE, FAILS, UNKNOWN], "y": [STOPPED]}, "b": {"x": [CHANGE]}}
    assert plan.text(plans).endswith(
        "3 states of 2 services would change; 1 failed; 1 could not be asked."
    )
    assert plan.summary(plans).startswith("Changes: x on a, b; y on a.")


def test_services_that_change_nowhere_are_no_work():
    plans = {"a": {"keystone": [{}]}, "b": {"keystone": [{}], "own": [{}]}, "c": {}}
    assert plan.work(plans, ["mariadb", "keystone"]) == {"keystone": ["a", "b"]}


def test_new_images_and_new_services_are_more_than_configuration():
    change = {"state": "", "result": None, "comment": ""}
    plans = {
        "a": {
            "keystone": [{**change, "changes": {"config": {"old": "1", "new": "2"}}}],
            "glance": [{**change, "changes": {"image": {"old": "1", "new": "2"}}}],
            "nova": [{**change, "changes": {"container": {"old": None, "new": "x"}}}],
        }
    }
    assert plan.beyond_configuration(plans) == {
        "glance": "its image changes",
        "nova": "does not run yet",
    }


def test_checks_are_a_table_of_hosts():
    rows = {
        "one": [checks.check("disk", True, "9 GB"), checks.check("clock", False, "late", "ntp")],
        "two": [checks.check("disk", True, "9 GB")],
    }
    assert checks.table(rows) == "       one     two\ndisk   ok      ok\nclock  FAILED  -"


def test_containers_are_a_table():
    rows = {"one": [{"name": "x", "state": "running", "image": "i:1", "status": "Up"}], "two": []}
    assert status.text(rows).splitlines()[1:] == [
        "one   x               running  -       i:1    Up",
        "two   (no container)  -        -       -      -",
    ]


CLOUD = {
    "host": {"id": "aio", "address": "10.0.0.1"},
    "hosts": {"aio": {"address": "10.0.0.1"}},
    "internal_address": "10.0.0.9",
    "external_address": "10.0.0.10",
    "release": "2026.2",
    "images": {},
    "services": {
        "keystone": {
            "hosts": ["aio"],
            "ports": {"keystone": {"port": 5000, "frontend": "http", "external": True}},
        },
        "haproxy": {"several": False, "ports": {}, "provides": ["load_balancer"]},
    },
    "formulas": {"keystone": {"containers": {"api": {"image": "keystone"}}}, "haproxy": {}},
}


def test_ports_of_services_and_of_their_frontends_are_wanted():
    assert prechecks.wanted_ports(CLOUD) == [
        ("haproxy", "10.0.0.10", 5000),
        ("haproxy", "10.0.0.9", 5000),
        ("keystone", "10.0.0.1", 5000),
    ]


@pytest.mark.parametrize(
    ("listener", "ok"),
    [
        (Listener("10.0.0.1", 5000, "nginx (pid 1)", ours=False), False),
        (Listener("0.0.0.0", 5000, "nginx (pid 1)", ours=False), False),
        (Listener("10.0.0.1", 5000, "uwsgi (pid 2)", ours=True), True),
        (Listener("10.0.0.2", 5000, "nginx (pid 1)", ours=False), True),
        (Listener("0.0.0.0", 5001, "nginx (pid 1)", ours=False), True),
    ],
)
def test_a_port_is_free_or_ours_or_the_check_names_who_has_it(listener, ok):
    found = prechecks.ports(CLOUD, [listener])
    assert found["ok"] is ok
    assert ok or "nginx (pid 1)" in found["found"]


@pytest.mark.parametrize(
    ("host", "ok"), [(100.5, True), (99.0, True), (97.0, False), (102.9, True), (104.0, False)]
)
def test_a_clock_is_wrong_only_by_more_than_the_round_trip_explains(host, ok):
    assert prechecks.clock(100.0, host, 101.0, limit=2)["ok"] is ok


@pytest.mark.parametrize(
    ("version", "ok"), [("20.10.24+dfsg1", True), ("26.1.5", True), ("19.03.1", False)]
)
def test_docker_must_be_new_enough(version, ok):
    assert prechecks.docker(version, "cgroup v2")["ok"] is ok


def test_docker_that_does_not_answer_is_a_failed_check():
    assert prechecks.docker("", "", "no answer")["found"] == "no answer"


def test_addresses_must_be_on_the_host():
    assert prechecks.address(CLOUD, ["10.0.0.1", "10.0.0.9", "10.0.0.10"])["ok"]
    missing = prechecks.address(CLOUD, ["10.0.0.1", "10.0.0.9"])
    assert "10.0.0.10 (saltern:external_address)" in missing["found"]


def test_images_must_be_here_unless_a_registry_has_them():
    assert prechecks.images(CLOUD, ["saltern/keystone:2026.2"])["ok"]
    assert not prechecks.images(CLOUD, [])["ok"]
    cloud = {**CLOUD, "images": {"registry": "registry:5000"}}
    assert prechecks.images(cloud, [])["ok"]


def test_openrc_quotes_what_a_shell_would_read():
    clouds = {"clouds": {"saltern": {"region_name": "R", "auth": {"password": "a b'c"}}}}
    assert "export OS_PASSWORD='a b'\"'\"'c'\nexport OS_REGION_NAME=R\n" in clients.openrc(clouds)


def test_a_moving_address_lies_in_a_network_of_the_host():
    cloud = {**CLOUD, "formulas": {"haproxy": {}}}
    assert prechecks.vip(cloud, ["10.0.0.1/24", "127.0.0.1/8"])["ok"]
    wrong = prechecks.vip(cloud, ["10.7.0.1/24"])
    assert not wrong["ok"] and "saltern:internal_address" in wrong["found"]


def test_interfaces_and_paths_of_options_exist():
    assert prechecks.interfaces({}, ["lo"])["ok"]
    wrong = prechecks.interfaces({"agents:interface": "eth9"}, ["lo", "eth0"])
    assert "eth9 (agents:interface)" in wrong["found"] and "eth0" in wrong["remedy"]
    wanted = [
        {"path": "/dev/x", "remedy": "Plug"},
        {"holds": "host.kvm", "remedy": "Set virt_type"},
        {"holds": "no", "what": "eth0 is taken", "remedy": "Name another"},
        {"none_runs": ["ntpd", "chronyd"], "remedy": "Stop it"},
    ]
    formulas = {"libvirt": {"prechecks": wanted}}
    good = prechecks.declared(
        formulas, lambda path: True, lambda service, one: True, lambda program: False
    )
    assert good == []
    rows = prechecks.declared(
        formulas, lambda path: False, lambda service, one: False, lambda program: program == "ntpd"
    )
    assert [row["remedy"] for row in rows] == ["Plug", "Set virt_type", "Name another", "Stop it"]
    assert [row["found"] for row in rows] == [
        "/dev/x does not exist",
        "requirement not met: host.kvm",
        "eth0 is taken",
        "the host itself runs ntpd",
    ]


def test_containers_with_the_dns_servers_of_their_start_are_named():
    host = ["# by hand\nnameserver 192.0.2.1\nsearch a\n", "nameserver 192.0.2.2\n"]
    same = {"nova": "nameserver 192.0.2.1\n", "glance": "search b\nnameserver 192.0.2.2\n"}
    assert prechecks.dns(host, same)["ok"]
    old = prechecks.dns(host, {**same, "heat": "nameserver 192.0.2.9\n"})
    assert not old["ok"] and old["found"].endswith("than the host: heat")
