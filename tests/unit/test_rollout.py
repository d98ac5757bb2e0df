"""What a run concerns and in which order it happens."""

import pytest

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
    ("at_once", "first", "groups"),
    [
        (0, "a", [["a"], ["b", "c", "d"]]),
        (1, "a", [["a"], ["b"], ["c"], ["d"]]),
        (2, "a", [["a"], ["b", "c"], ["d"]]),
        (0, None, [["a", "b", "c", "d"]]),
        (0, "z", [["a", "b", "c", "d"]]),
    ],
)
def test_the_first_host_goes_alone_and_the_others_in_groups(at_once, first, groups):
    assert rollout.batches(["a", "b", "c", "d"], at_once, first) == groups


def _steps(schedule):
    return [(step.service, list(step.hosts)) for step in schedule.ready()]


def test_services_start_when_what_they_require_is_done_on_all_hosts():
    schedule = Schedule(STACK, {"mariadb": ["a", "b"], "rabbitmq": ["a"], "keystone": ["a", "b"]})
    assert schedule.total == 5
    assert _steps(schedule) == [("mariadb", ["a"]), ("rabbitmq", ["a"])]
    assert _steps(schedule) == []
    schedule.finished("mariadb", ok=True)
    assert _steps(schedule) == [("mariadb", ["b"])]
    schedule.finished("rabbitmq", ok=True)
    assert _steps(schedule) == []
    schedule.finished("mariadb", ok=True)
    assert _steps(schedule) == [("keystone", ["a"])]


def test_an_unchanged_service_between_two_keeps_their_order():
    schedule = Schedule(STACK, {"mariadb": ["a"], "glance": ["a"]})
    assert _steps(schedule) == [("mariadb", ["a"])]
    schedule.finished("mariadb", ok=True)
    assert _steps(schedule) == [("glance", ["a"])]


def test_the_first_host_is_not_special_where_it_does_not_change():
    schedule = Schedule(STACK, {"keystone": ["b", "c"]})
    assert _steps(schedule) == [("keystone", ["b", "c"])]


def test_after_a_failure_nothing_new_starts():
    schedule = Schedule(STACK, {"mariadb": ["a", "b"], "rabbitmq": ["a"], "keystone": ["a"]})
    schedule.ready()
    schedule.finished("mariadb", ok=False)
    schedule.finished("rabbitmq", ok=True)
    assert _steps(schedule) == []


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
