"""A host that is not as the pillar says is found, shown and, if the pillar says so, mended."""

from __future__ import annotations

import json

from .conftest import HOSTS, Cloud, until


def drift(cloud: Cloud, *words: str) -> dict | None:
    """Return what the runner finds."""
    done = cloud.run("saltern.drift", "--out=json", *words)
    assert done.code == 0, done.out + done.err
    return json.loads(done.out)["drift"]


def edit(cloud: Cloud, host: str) -> None:
    """Change a service's file by hand."""
    (cloud.folder / "hosts" / host / "alpha").write_text("by hand\n")


def test_what_somebody_has_edited_is_shown_until_a_run_has_mended_it(cloud: Cloud) -> None:
    assert cloud.deploy().code == 0
    assert drift(cloud)["hosts"] == {}
    assert "Not as the pillar says" not in cloud.run("saltern.status").out
    edit(cloud, "two")
    with cloud.silent("three"):
        found = drift(cloud, "due=True")
    assert found["hosts"] == {"two": {"alpha": ["Write the file of alpha"]}}
    assert found["silent"] == ["three"]
    # To look changes nothing.
    assert cloud.content("two", "alpha") == "by"
    status = cloud.run("saltern.status")
    assert "two  alpha  Write the file of alpha" in status.out
    assert "orch.deploy` makes it so" in status.out
    assert cloud.deploy().code == 0
    assert "has changed something since" in cloud.run("saltern.status").out
    drift(cloud)
    assert "Not as the pillar says" not in cloud.run("saltern.status").out


def test_the_schedule_mends_it_if_the_pillar_says_so(cloud: Cloud) -> None:
    assert cloud.deploy().code == 0
    cloud.set_pillar(settings={"drift": "act"})
    edit(cloud, "two")
    # By hand it only looks.
    assert drift(cloud)["hosts"]
    assert cloud.content("two", "alpha") == "by"
    cloud.forget_jobs()
    drift(cloud, "due=True")
    assert cloud.content("two", "alpha") == "first"
    assert cloud.jobs("state.sls") == [("alpha", ("two",))]
    (run,) = json.loads(cloud.run("saltern.history", "run=last", "--out=json").out).values()
    assert list(run["services"]) == ["alpha"]


def test_it_is_not_looked_for_if_the_pillar_says_so_or_during_a_run(cloud: Cloud) -> None:
    cloud.set_pillar(settings={"drift": "ignore"})
    assert drift(cloud, "due=True") is None
    cloud.set_pillar(beta={"slow": 30})
    with cloud.started("state.orchestrate", "orch.deploy"):
        until(lambda: cloud.written()["one"])
        assert drift(cloud, "due=True") is None


def test_a_host_in_maintenance_is_left_alone(cloud: Cloud) -> None:
    assert cloud.deploy().code == 0
    cloud.set_pillar(settings={"drift": "act", "maintenance": "refuse"})
    begun = cloud.run("saltern.maintenance", "host=two", "reason=disk change")
    assert begun.code == 0, begun.err
    for host in HOSTS[:2]:
        edit(cloud, host)
    assert set(drift(cloud, "due=True")["hosts"]) == {"one"}
    assert [cloud.content(host, "alpha") for host in HOSTS[:2]] == ["first", "by"]
