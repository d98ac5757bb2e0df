"""A saved plan is what its run does, or the run names what has changed since and does nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import salt.payload
import yaml

from .conftest import PREFIX, Cloud, Result

NAMESPACE = f"saltern-test-plans-{os.getpid()}"
IMAGE = f"{NAMESPACE}/app:2026.2"
ON = ["services=[app]", "hosts=[two]"]
APP = {
    "summary": "A container with a configuration and a task",
    "roles": ["control"],
    "enabled": False,
    "options": {"word": {"type": "string", "default": "first", "description": "A word"}},
    "config": {"app.conf": {"format": "ini"}},
    "containers": {"app": {"command": ["/bin/busybox", "sleep", "1000"], "stop_timeout": 1}},
    "tasks": {
        "prepare": {
            "phase": "deploy",
            "where": "each",
            "name": "Prepare app",
            "command": ["/bin/busybox", "true"],
            "rerun_on": ["image", "spec"],
        }
    },
}


def saved(cloud: Cloud, *words: str) -> tuple[str, dict[str, Any]]:
    """Save a plan and return its id, and host to service to what would change."""
    done = cloud.run("saltern.plan", "save=True", "--out=json", *words)
    assert done.code == 0, done.err
    found = json.loads(done.out)
    found = found.get("data", found)
    return found["saved"], found["plan"]


def deploy(cloud: Cloud, plan: str) -> Result:
    return cloud.run("state.orchestrate", "orch.deploy", plan=plan)


def done(cloud: Cloud) -> dict[str, dict[str, dict[str, Any]]]:
    """Return what the jobs that are kept have changed: host to service to state to changes."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for path in (cloud.folder / "master/cache/jobs").glob("*/*/*/return.p"):
        states = salt.payload.loads(path.read_bytes())["return"]
        if not isinstance(states, Mapping) or path.parent.name not in cloud.hosts:
            continue
        for one in states.values():
            if isinstance(one, Mapping) and one.get("changes") and "__sls__" in one:
                service = found.setdefault(path.parent.name, {}).setdefault(one["__sls__"], {})
                service[one["__id__"]] = one["changes"]
    return json.loads(json.dumps(found))


def planned(plan: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return a plan in the form of :func:`done`."""
    return {
        host: {
            service: {one["state"]: one["changes"] for one in changes}
            for service, changes in services.items()
        }
        for host, services in plan.items()
        if services
    }


def does_what_it_says(cloud: Cloud, *words: str) -> dict[str, dict[str, Any]]:
    """Save a plan and do it; return what it did to the service of the test on one host."""
    name, plan = saved(cloud, *words)
    cloud.forget_jobs()
    result = deploy(cloud, name)
    assert result.code == 0, result.err
    assert done(cloud) == planned(plan)
    return planned(plan)["two"]["app"]


def build(mark: str) -> None:
    """Make the image of a static busybox anew."""
    tar = subprocess.run(["tar", "-C", "/", "-c", "bin/busybox"], capture_output=True, check=True)
    label = f"LABEL mark={mark}"
    command = ["docker", "import", "--change", label, "-", IMAGE]
    subprocess.run(command, input=tar.stdout, capture_output=True, check=True)


@pytest.fixture
def app(cloud: Cloud) -> Iterator[dict[str, Any]]:
    """A service on real Docker, and the settings of a cloud that has it; it is not deployed yet."""
    home = cloud.folder / "formulas/app"
    (home / "files").mkdir(parents=True)
    (home / "service.yml").write_text(yaml.safe_dump(APP))
    (home / "init.sls").write_text("#!service\n")
    (home / "files/app.conf").write_text("[app]\nword = {{ options.word }}\n")
    build("one")
    settings = {"services": {"app": {"enabled": True}}, "images": {"namespace": NAMESPACE}}
    cloud.set_pillar(settings=settings)
    yield settings
    subprocess.run(["docker", "rm", "-f", f"{PREFIX}two-app"], check=True, capture_output=True)
    images = ["docker", "images", "-q", "--filter", "label=mark"]
    found = subprocess.run(images, check=True, capture_output=True, text=True).stdout.split()
    subprocess.run(["docker", "rmi", "-f", *found], check=True, capture_output=True)
    shutil.rmtree(home)
    for part in ("var/once", "etc/services"):
        shutil.rmtree(cloud.folder / "minions/two" / part)


@pytest.mark.docker
def test_a_run_does_what_its_plan_says_whatever_kind_of_change_it_is(cloud, app):
    new = does_what_it_says(cloud, *ON)
    assert list(new) == ["Write the configuration of app", "Prepare app", "Run app"]
    assert new["Run app"] == {"container": {"old": None, "new": IMAGE}}

    cloud.set_pillar(settings=app, app={"word": "second"})
    config = does_what_it_says(cloud, *ON)
    assert "+word = second" in config["Write the configuration of app"]["app.conf"]
    assert list(config["Run app"]) == ["config"]

    options = {"app": {"environment": {"COLOUR": "blue"}}}
    cloud.set_pillar(settings=app, app={"word": "second", "containers": options})
    option = does_what_it_says(cloud, *ON)
    assert list(option) == ["Run app"] and list(option["Run app"]) == ["environment.COLOUR"]

    build("two")
    image = does_what_it_says(cloud, *ON)
    assert list(image["Run app"]) == list(image["Prepare app"]) == ["image"]

    task = {**APP["tasks"]["prepare"], "environment": {"COLOUR": "red"}}
    service = {**APP, "tasks": {"prepare": task}}
    (cloud.folder / "formulas/app/service.yml").write_text(yaml.safe_dump(service))
    assert list(does_what_it_says(cloud, *ON)) == ["Prepare app"]
    assert "Nothing to change." in cloud.deploy(services=["app"], hosts=["two"]).out


def test_states_of_any_formula_are_done_as_planned_with_the_limits_of_the_plan(cloud):
    name, plan = saved(cloud, "services=[alpha,beta]", "hosts=[one,three]")
    shown = cloud.run("saltern.plan", "save=True").out
    assert 'Saved: salt-run state.orchestrate orch.deploy pillar=\'{"plan": "' in shown
    result = deploy(cloud, name)
    assert result.code == 0, result.err
    assert planned(plan).keys() == {"one", "three"}
    assert {host: set(services) for host, services in planned(plan).items()} == {
        host: set(services) for host, services in done(cloud).items()
    }
    assert cloud.written() == {"one": ["alpha", "beta"], "two": [], "three": ["alpha", "beta"]}
    assert {path.stat().st_mode & 0o777 for path in (cloud.folder / "var/plans").iterdir()} == {
        0o600
    }
    kept = b"".join(path.read_bytes() for path in (cloud.folder / "var/plans").iterdir())
    assert cloud.secret.encode() not in kept
    # It is done: a second time, nothing of it is left to do.
    again = deploy(cloud, name)
    assert again.code == 1
    assert "Write the file of alpha: has nothing to do any more" in again.last_block


def test_an_unknown_plan_and_one_with_other_limits_are_errors_before_any_host_is_asked(cloud):
    none = deploy(cloud, "20261128-000000")
    assert none.code == 1
    assert "unknown plan '20261128-000000'; none is saved" in none.last_block
    name, _ = saved(cloud)
    cloud.forget_jobs()
    unknown = deploy(cloud, "20261128-000000")
    assert unknown.code == 1
    assert name in unknown.last_block
    limited = cloud.deploy(plan=name, hosts=["one"])
    assert limited.code == 1
    assert "pillar:hosts: a saved plan says itself what it changes where" in limited.last_block
    assert cloud.jobs("saltern.plan") == []


def test_what_has_changed_on_the_master_since_the_plan_is_named_and_nothing_is_done(cloud):
    name, _ = saved(cloud)
    cloud.forget_jobs()
    cloud.set_pillar(alpha={"content": "second"})
    refused = deploy(cloud, name)
    assert refused.code == 1
    assert "pillar: alpha:content is new" in refused.last_block
    assert "next    salt-run saltern.plan save=True" in refused.last_block
    cloud.set_pillar()
    changed = {
        cloud.folder / "formulas/beta/init.sls": "checkout",
        cloud.folder / "salt/_states/oracle.py": "checkout",
    }
    for path, place in changed.items():
        good = path.read_text()
        path.write_text(good + "\n# another\n")
        try:
            refused = deploy(cloud, name)
        finally:
            path.write_text(good)
        assert refused.code == 1
        assert f"{place}: {path} has changed" in refused.last_block
    secrets = cloud.folder / "secrets.yml"
    good = secrets.read_text()
    secrets.write_text(good.replace(cloud.secret, cloud.secret[::-1]))
    try:
        refused = deploy(cloud, name)
    finally:
        secrets.write_text(good)
    assert "secrets: alpha:password has changed" in refused.last_block
    assert cloud.jobs("saltern.plan") == []
    assert deploy(cloud, name).code == 0


def test_a_host_that_has_changed_since_the_plan_is_named_and_nothing_is_done(cloud):
    assert cloud.deploy().code == 0
    cloud.set_pillar(gamma={"content": "second"})
    name, _ = saved(cloud)
    cloud.forget_jobs()
    (cloud.folder / "hosts/two/alpha").unlink()
    refused = deploy(cloud, name)
    assert refused.code == 1
    assert "two: alpha: Write the file of alpha: was not planned" in refused.last_block
    assert cloud.jobs("state.sls") == []
    assert cloud.content("one", "gamma") == "first"


def test_after_a_failure_one_goes_on_without_the_plan(cloud):
    cloud.set_pillar(beta={"broken_on": ["two"]})
    name, _ = saved(cloud, "services=[alpha,beta]")
    failed = deploy(cloud, name)
    assert failed.code == 1
    again = """then    salt-run state.orchestrate orch.deploy pillar='{"services": ["alpha", "beta"]}'"""
    assert again in failed.last_block
