"""What a run concerns and in which order it happens."""

import pytest

from saltern.cloud import loading
from saltern.cloud.model import Cloud
from saltern.errors import SalternError
from saltern.run import plan
from saltern.run import schedule as rollout
from saltern.run.fleet import Fleet, Run
from saltern.run.schedule import Schedule, Service


def _graph(**requires):
    return {
        name: Service(name, ("a", "b", "c"), frozenset(needed)) for name, needed in requires.items()
    }


STACK = _graph(mariadb=[], rabbitmq=[], keystone=["mariadb"], glance=["keystone", "rabbitmq"])


def test_everything_is_chosen_unless_names_are_given():
    services, hosts = rollout.narrow(STACK, ["a", "b", "c"])
    assert list(services) == list(STACK)
    assert hosts == ["a", "b", "c"]


def test_names_limit_services_and_their_hosts():
    services, hosts = rollout.narrow(STACK, ["a", "b", "c"], ["keystone"], ["c", "a"])
    assert list(services) == ["keystone"]
    assert services["keystone"].hosts == ("a", "c")
    assert hosts == ["a", "c"]


@pytest.mark.parametrize(
    ("services", "hosts", "message"),
    [
        (["keyston"], [], "unknown service 'keyston'. Did you mean 'keystone'?"),
        ([], ["z"], "unknown host 'z'. Allowed: a, b, c"),
    ],
)
def test_unknown_names_are_refused_with_the_known_ones(services, hosts, message):
    with pytest.raises(SalternError, match="pillar") as error:
        rollout.narrow(STACK, ["a", "b", "c"], services, hosts)
    assert message in str(error.value)


def test_a_service_that_runs_on_no_chosen_host_is_refused():
    services = {"nova": Service("nova", ("b",))}
    with pytest.raises(SalternError, match="nova runs on b, none of which was chosen"):
        rollout.narrow(services, ["a", "b"], ["nova"], ["a"])


@pytest.mark.parametrize(
    ("serial", "first", "groups"),
    [
        (0, "a", [["a"], ["b", "c", "d"]]),
        (1, "a", [["a"], ["b"], ["c"], ["d"]]),
        (2, "a", [["a"], ["b", "c"], ["d"]]),
        (0, None, [["a", "b", "c", "d"]]),
        (0, "z", [["a", "b", "c", "d"]]),
    ],
)
def test_the_first_host_goes_alone_and_the_others_in_groups(serial, first, groups):
    assert rollout.batches(["a", "b", "c", "d"], serial, first) == groups


def _steps(schedule):
    return [(step.service, list(step.hosts)) for step in schedule.ready()]


def test_services_start_when_what_they_require_is_done_on_all_hosts():
    schedule = Schedule(STACK, {"mariadb": ["a", "b"], "rabbitmq": ["a"], "keystone": ["a", "b"]})
    assert schedule.total == 5
    assert _steps(schedule) == [("mariadb", ["a"]), ("rabbitmq", ["a"])]
    assert _steps(schedule) == []
    schedule.finished("mariadb", "a", ok=True)
    assert _steps(schedule) == [("mariadb", ["b"])]
    schedule.finished("rabbitmq", "a", ok=True)
    assert _steps(schedule) == []
    schedule.finished("mariadb", "b", ok=True)
    assert _steps(schedule) == [("keystone", ["a"])]


def test_an_unchanged_service_between_two_keeps_their_order():
    schedule = Schedule(STACK, {"mariadb": ["a"], "glance": ["a"]})
    assert _steps(schedule) == [("mariadb", ["a"])]
    schedule.finished("mariadb", "a", ok=True)
    assert _steps(schedule) == [("glance", ["a"])]


def test_the_first_host_is_not_special_where_it_does_not_change():
    schedule = Schedule(STACK, {"keystone": ["b", "c"]})
    assert _steps(schedule) == [("keystone", ["b", "c"])]


def test_after_a_failure_nothing_new_starts():
    schedule = Schedule(STACK, {"mariadb": ["a", "b"], "rabbitmq": ["a"], "keystone": ["a"]})
    schedule.ready()
    schedule.finished("mariadb", "a", ok=False)
    schedule.finished("rabbitmq", "a", ok=True)
    assert _steps(schedule) == []
    assert schedule.left == {"mariadb": ["b"], "keystone": ["a"]}


# After its first host, two at a time; one of them may fail.
LIMITED = {
    "compute": Service("compute", tuple("abcdef"), serial=2, max_failures=1),
    "agent": Service("agent", tuple("bcdefa"), frozenset(["compute"])),
    "page": Service("page", ("a",), frozenset(["agent"])),
}
EVERYWHERE = {"compute": list("abcdef"), "agent": list("abcdef"), "page": ["a"]}


def _finish(schedule, *failed):
    """Let the steps that may start finish; return them."""
    steps = _steps(schedule)
    for service, hosts in steps:
        for host in hosts:
            schedule.finished(service, host, ok=(service, host) not in failed)
    return steps


def test_the_others_follow_the_first_in_batches_and_so_many_may_fail():
    schedule = Schedule(LIMITED, EVERYWHERE)
    failed = ("compute", "d")
    steps = [_finish(schedule, failed) for _ in range(4)]
    assert steps == [
        [("compute", ["a"])],
        [("compute", ["b", "c"])],
        [("compute", ["d", "e"])],
        [("compute", ["f"])],
    ]
    # On the host that failed, what requires it stays as it was.
    assert [_finish(schedule), _finish(schedule)] == [
        [("agent", ["b"])],
        [("agent", ["c", "e", "f", "a"])],
    ]
    assert _finish(schedule) == [("page", ["a"])]
    assert schedule.left == {"agent": ["d"]}


def test_one_more_failure_than_is_allowed_stops_the_run():
    schedule = Schedule(LIMITED, EVERYWHERE)
    failed = [("compute", "b"), ("compute", "d")]
    steps = [_finish(schedule, *failed) for _ in range(4)]
    assert steps[2:] == [[("compute", ["d", "e"])], []]
    assert schedule.left == {"compute": ["f"], "agent": list("bcdefa"), "page": ["a"]}


def test_the_first_host_may_never_fail():
    schedule = Schedule(LIMITED, EVERYWHERE)
    _finish(schedule, ("compute", "a"))
    assert _finish(schedule) == []


def test_without_the_first_host_what_requires_it_stays_as_it_was_everywhere():
    schedule = Schedule(LIMITED, EVERYWHERE)
    for _ in range(4):
        _finish(schedule, ("compute", "b"))
    assert _finish(schedule) == []
    assert schedule.left == {"agent": list("bcdefa"), "page": ["a"]}


def test_a_removal_may_name_services_that_the_cloud_does_not_have_and_looks_on_every_host():
    chosen, hosts = rollout.narrow(STACK, ["a", "b"], ["keystone", "gone"], ["b"], anywhere=True)
    assert {name: one.hosts for name, one in chosen.items()} == {"keystone": ("b",), "gone": ("b",)}
    assert hosts == ["b"]
    assert rollout.narrow(STACK, ["a", "b"], anywhere=True) == rollout.narrow(STACK, ["a", "b"])


def test_a_host_that_asks_a_database_always_plans_anew():
    services = {
        "mariadb": Service("mariadb", ("a", "b")),
        "keystone": Service("keystone", ("b", "a"), database=True),
        "more": Service("more", ("c",)),
    }
    fleet = Fleet(None, str, str, served=lambda names: "" if "more" in names else "digest")
    calls = Run(fleet, services, ["a", "b", "c"], Cloud({}, {}, {}, {})).plan_calls()
    assert calls == {
        "a": {"services": ["mariadb", "keystone"], "served": "digest"},
        "b": {"services": ["mariadb", "keystone"]},
        "c": {"services": ["more"], "served": ""},
    }


def test_what_runs_of_another_release_is_named_where_its_image_changes():
    def container(service, release, state="running"):
        return {"service": service, "release": release, "state": state}

    image = [{"changes": {"image": {"old": "x", "new": "y"}}}]
    plans = {
        "a": {"nova": image, "heat": image, "mine": image, "glance": [{"changes": {"config": {}}}]},
        "b": {"nova": image},
        "c": {},
    }
    changing = plan.images_change(plans)
    assert changing == {"a": ["nova", "heat", "mine"], "b": ["nova"]}
    there = {
        "a": {
            "nova-api": container("nova", "2026.1"),
            "heat-api": container("heat", "2026.1", state="exited"),
            "mine": container("mine", ""),
            "glance-api": container("glance", "2026.1"),
        },
        "b": {"nova-api": container("nova", "2026.2")},
    }
    assert plan.other_releases(changing, there, "2026.2") == {"2026.1": ["nova"]}
    assert plan.other_releases(changing, there, "2026.1") == {"2026.2": ["nova"]}


MEMBERS = {
    "mariadb": {
        "summary": "a cluster",
        "roles": ["control"],
        "serial": 1,
        "clusters": {"mariadb": {"data": "/x", "form": "/y"}},
        "containers": {"mariadb": {"image": "mariadb"}},
    },
    "glance": {"summary": "images", "roles": ["control"], "serial": 3},
}


def _limited(hosts=3, **pillar):
    """Return a cloud with limits of its services."""
    names = {f"c{number}": f"10.0.0.{number}" for number in range(1, hosts + 1)}
    places = {name: {"address": one, "roles": ["control"]} for name, one in names.items()}
    settings = {"internal_address": "10.0.0.9", "hosts": places}
    return loading.load({"saltern": settings, **pillar}, MEMBERS)


def test_the_pillar_says_how_many_hosts_change_together_and_may_fail():
    assert rollout.graph(_limited())["glance"].serial == 3
    given = rollout.graph(_limited(glance={"serial": 10, "max_failures": 2}))
    assert (given["glance"].serial, given["glance"].max_failures) == (10, 2)
    assert (given["mariadb"].serial, given["mariadb"].max_failures) == (1, 0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"serial": 2}, "mariadb:serial: is 2: 2 members away at a time would split the cluster"),
        ({"serial": 0}, "mariadb:serial: is 0: all other members away at a time would split"),
        ({"max_failures": 1}, "mariadb:max_failures: is 1: to go on where a member has failed"),
        ({"serial": -1}, "mariadb:serial: found -1"),
        ({"serial": "two"}, "mariadb:serial: found 'two' (string)"),
        ({"max_failure": 1}, "Did you mean 'max_failures'?"),
    ],
)
def test_a_limit_that_would_split_a_cluster_or_is_none_is_refused(given, words):
    (problem,) = _limited(mariadb=given).problems
    assert words in str(problem)


def test_a_member_without_others_may_have_any_limit():
    assert _limited(hosts=1, mariadb={"serial": 2}).problems == []
    assert _limited(mariadb={"serial": 1, "max_failures": 0}).problems == []


def test_work_without_an_order_runs_so_much_at_once():
    work = {name: ["one"] for name in "abcde"}
    plan = Schedule(rollout.side_by_side(work, 2), work)
    assert [step.service for step in plan.ready()] == ["a", "b"]
    plan.finished("b", "one", ok=True)
    assert [step.service for step in plan.ready()] == ["d"]
    plan.finished("a", "one", ok=True)
    assert [step.service for step in plan.ready()] == ["c"]
