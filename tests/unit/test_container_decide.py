"""What a container needs: every combination that a killed replacement can leave, and the usual."""

from __future__ import annotations

from itertools import product

import pytest

from saltern.containers import actual, once
from saltern.containers.dockerapi import to_docker
from saltern.containers.health import last_words
from saltern.containers.plan import Action, decide
from saltern.containers.replace import Step, recover
from saltern.containers.spec import Change, Spec
from saltern.errors import SalternError

SPEC = Spec.from_dict({"name": "web", "image": "web:1"})
NEW = Spec.from_dict({"name": "web", "image": "web:1", "init": True})
IMAGES = {"web:1": "sha256:aaa", "sha256:aaa": "sha256:aaa", "web:2": "sha256:bbb"}

# current: absent, or (running, as wanted); .next, which does not run; .previous -> steps
ABSENT, RUNS, RUNS_OLD, STOPPED, STOPPED_OLD = (
    "absent",
    "runs",
    "runs old",
    "stopped",
    "stopped old",
)
TABLE = {
    (ABSENT, False, False): (),
    (ABSENT, True, False): (Step.REMOVE_NEXT,),
    (ABSENT, False, True): (Step.RESTORE,),
    (ABSENT, True, True): (Step.REMOVE_NEXT, Step.RESTORE),
    (RUNS, False, False): (),
    (RUNS, True, False): (Step.REMOVE_NEXT,),
    (RUNS, False, True): (Step.PROVE,),
    (RUNS, True, True): (Step.REMOVE_NEXT, Step.PROVE),
    (RUNS_OLD, False, False): (),
    (RUNS_OLD, True, False): (Step.REMOVE_NEXT,),
    (RUNS_OLD, False, True): (Step.PROVE,),
    (RUNS_OLD, True, True): (Step.REMOVE_NEXT, Step.PROVE),
    (STOPPED, False, False): (),
    (STOPPED, True, False): (Step.REMOVE_NEXT,),
    (STOPPED, False, True): (Step.PROVE,),
    (STOPPED, True, True): (Step.REMOVE_NEXT, Step.PROVE),
    (STOPPED_OLD, False, False): (),
    (STOPPED_OLD, True, False): (Step.REMOVE_NEXT,),
    (STOPPED_OLD, False, True): (Step.DISCARD, Step.RESTORE),
    (STOPPED_OLD, True, True): (Step.REMOVE_NEXT, Step.DISCARD, Step.RESTORE),
}


@pytest.mark.parametrize(("current", "previous"), [*product((False, True), repeat=2)])
def test_a_new_container_that_runs_takes_the_place_or_goes(current, previous):
    """It may have all the work already."""
    found = {"current": current, "running": False, "matches": current, "previous": previous}
    assert recover(**found, next_=True, next_running=True) == (Step.TAKE_OVER,)


@pytest.mark.parametrize(("found", "steps"), TABLE.items(), ids=str)
def test_every_combination_has_its_repair(found, steps):
    """The table is the description."""
    current, next_, previous = found
    assert (
        recover(
            current=current != ABSENT,
            running=current in (RUNS, RUNS_OLD),
            matches=current in (RUNS, STOPPED),
            next_=next_,
            previous=previous,
        )
        == steps
    )


def test_the_table_is_complete():
    """Five ways for the container itself, two for each of the others."""
    states = (ABSENT, RUNS, RUNS_OLD, STOPPED, STOPPED_OLD)
    assert set(TABLE) == set(product(states, (False, True), (False, True)))


def listed(
    spec=SPEC, part="", state="running", status="Up 2 minutes", prefix="", image="sha256:aaa"
):
    """Return a container in the words of `GET /containers/json`."""
    name = f"/{prefix}{spec.name}" + (f".{part}" if part else "")
    return {
        "Id": f"id{name}",
        "Names": [name],
        "State": state,
        "Status": status,
        # Docker gives the name only where it is still that of the container's image.
        "Image": spec.image if IMAGES.get(spec.image) == image else image,
        "ImageID": image,
        "Created": 1,
        "Labels": to_docker(spec, "web", prefix=prefix)["Labels"],
    }


def plan(*containers, spec=SPEC, **options):
    """Return what `spec` needs where these containers are."""
    return decide(actual.snapshot(containers, IMAGES.get), spec, "web", **options)


def test_a_container_as_wanted_needs_nothing():
    """Neither does one whose health is good."""
    assert plan(listed()).action is Action.NOTHING
    assert plan(listed(status="Up 1 hour (healthy)")).action is Action.NOTHING


@pytest.mark.parametrize(
    "found",
    [
        {"status": "Up 1 hour (unhealthy)"},
        {"status": "Up 1 second (health: starting)"},
        {"state": "restarting", "status": "Restarting (1) 2 seconds ago"},
    ],
)
def test_a_container_that_is_not_healthy_is_waited_for(found):
    """It is as wanted, so it is not replaced; whether it comes up is seen."""
    decided = plan(listed(**found))
    assert (decided.action, decided.changes) == (Action.CHECK, [])


def test_what_a_failed_replacement_left_goes_when_the_mistake_is_undone():
    """Not while a container is not up, and with the next replacement that succeeds."""
    left = listed(part="failed", state="exited")
    gone = Change("failed", "web.failed, kept for inspection", None)
    undone = plan(listed(), left)
    assert (undone.action, undone.changes) == (Action.CLEAN, [gone])
    assert plan(listed(status="Up 1 hour (unhealthy)"), left).action is Action.CHECK
    again = plan(listed(), left, spec=NEW)
    assert again.action is Action.REPLACE and gone in again.changes
    assert gone in plan(left).changes


@pytest.mark.parametrize("state", ["exited", "created", "dead", "paused"])
def test_a_stopped_container_is_started(state):
    """The same container."""
    decided = plan(listed(state=state))
    assert decided.action is Action.START
    assert decided.changes == [Change("state", state, "running")]


def test_changes_are_those_of_spec_config_and_image():
    """Whatever differs is named."""
    decided = plan(listed(image="sha256:old"), spec=NEW, generation={"digest": "g2", "path": "/g2"})
    assert decided.action is Action.REPLACE
    assert decided.shown() == {
        "image": {"old": "(old)", "new": "web:1 (aaa)"},
        "config": {"old": None, "new": "g2"},
        "init": {"old": False, "new": True},
    }


def test_another_name_of_the_same_image_is_no_change():
    """Images are compared by their ids."""
    renamed = Spec.from_dict({"name": "web", "image": "sha256:aaa"})
    assert plan(listed(), spec=renamed).action is Action.NOTHING


def test_an_image_that_is_not_here_is_a_change():
    """A plan can be made before it is built or pulled."""
    missing = Spec.from_dict({"name": "web", "image": "web:9"})
    assert plan(spec=missing).shown()["container"]["new"] == "web:9 (not here yet)"
    assert "not here yet" in plan(listed(), spec=missing).shown()["image"]["new"]


def test_after_an_interruption_the_old_container_counts():
    """What is planned is what follows the repair."""
    left = [listed(NEW, "next", "created"), listed(part="previous", state="exited")]
    same = plan(*left)
    assert same.action is Action.START
    assert same.repair == (Step.REMOVE_NEXT, Step.RESTORE)
    assert plan(*left, spec=NEW).action is Action.REPLACE


def test_a_new_container_beside_the_old_one_counts_if_that_is_gone():
    """What is planned is what follows the repair."""
    left = [listed(NEW, "next"), listed(part="previous", state="exited")]
    assert plan(*left, spec=NEW).action is Action.CHECK
    assert plan(*left, spec=NEW).repair == (Step.TAKE_OVER,)
    assert plan(*left).action is Action.REPLACE
    assert plan(listed(), *left).action is Action.CHECK


def test_containers_of_another_prefix_are_not_seen():
    """Two clouds on one host."""
    assert plan(listed(prefix="t-")).action is Action.CREATE
    both = actual.snapshot([listed(), listed(prefix="t-")], IMAGES.get, "t-")
    assert [one.full_name for one in both.containers.values()] == ["t-web"]


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("saltern/web:1", False),
        ("web", False),
        ("localhost/web", True),
        ("10.0.0.1:4000/saltern/web:1", True),
        ("registry.example.org/web", True),
    ],
)
def test_only_names_with_a_registry_can_be_pulled(image, registry):
    """The first part says so, as Docker reads it."""
    assert actual.has_registry(image) is registry


@pytest.mark.parametrize(
    ("image", "full"),
    [("web", "web:latest"), ("r:4000/web", "r:4000/web:latest"), ("r:4000/web:1", "r:4000/web:1")],
)
def test_latest_is_the_tag_where_none_is_given(image, full):
    """A registry's port is no tag."""
    assert actual.full_image_name(image) == full


def test_a_once_task_runs_for_what_it_names():
    """The marker holds just that."""
    facts = {"image": "sha256:aaa", "config": "g1", "spec": "s1"}
    wanted = once.chosen(facts, ["image", "config"])
    assert wanted == {"image": "sha256:aaa", "config": "g1"}
    assert once.due(None, wanted) == [Change("ran", None, "for the first time")]
    assert once.due(wanted, wanted) == []
    assert once.due({**wanted, "config": "g0"}, wanted) == [Change("config", "g0", "g1")]
    assert once.due({}, once.chosen(facts, [])) == []


def test_an_unknown_reason_is_refused_with_the_nearest():
    """As for every other field."""
    with pytest.raises(SalternError, match=r"found 'imag', allowed: image; did you mean 'image'\?"):
        once.chosen({"image": "a"}, ["imag"])


def test_a_marker_survives_and_a_broken_one_is_told(tmp_path):
    """With the remedy."""
    path = tmp_path / "once" / "task.json"
    assert once.read(path) is None
    once.write(path, {"image": "a"})
    assert once.read(path) == {"image": "a"}
    path.write_text("{")
    with pytest.raises(SalternError, match="remove it"):
        once.read(path)


def test_the_first_errors_of_a_long_log_stand_before_its_last_lines():
    log = ["start", "2026 [ERROR] unknown option", *(f"stopping {n}" for n in range(90))]
    shown = last_words("\n".join(log)).splitlines()
    assert shown[:2] == ["2026 [ERROR] unknown option", "..."]
    assert shown[-1] == "stopping 89" and len(shown) == 32
    assert last_words("one\n[ERROR] two\n") == "one\n[ERROR] two"
