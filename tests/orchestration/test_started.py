"""A minion that starts: the reactor deploys to its host where the pillar allows it, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

from .conftest import HOSTS, Cloud, until

SERVICES = ["alpha", "beta", "gamma"]


def allow(cloud: Cloud, *allowed: str, **options) -> None:
    """Write the pillar, with ``deploy_on_start`` for some hosts."""
    hosts = {
        name: {
            "address": f"127.0.1.{number}",
            "roles": ["control"],
            "deploy_on_start": name in allowed,
        }
        for number, name in enumerate(HOSTS, 1)
    }
    cloud.set_pillar(settings={"hosts": hosts}, **options)


def deployed(cloud: Cloud, host: str) -> bool:
    """Return whether a host has its services, and the run that brought them has ended."""
    # Only looked at: who tries a lock takes it from others for a moment.
    lock = f":{(cloud.folder / 'var/rollout.lock').stat().st_ino} "
    return cloud.written()[host] == SERVICES and lock not in Path("/proc/locks").read_text()


def test_a_host_that_starts_gets_its_services_where_the_pillar_allows_it(cloud: Cloud):
    allow(cloud, "two")
    cloud.restart("three")
    until(lambda: set(cloud.up()) == set(HOSTS))
    cloud.restart("two")
    until(lambda: deployed(cloud, "two"))
    assert cloud.written() == {"one": [], "two": SERVICES, "three": []}
    (run,) = (json.loads(one.read_text()) for one in (cloud.folder / "var/history").iterdir())
    assert (run["who"], run["result"]) == ("the reactor", "done")


def test_a_run_under_way_is_waited_for(cloud: Cloud):
    allow(cloud, "three", alpha={"slow": 5})
    deploy = ("state.orchestrate", "orch.deploy", 'pillar={"hosts": ["one"]}')
    with cloud.started(*deploy) as run:
        until(lambda: any(mods == "alpha" for mods, _ in cloud.jobs("state.sls")))
        cloud.restart("three")
        assert run.wait(60) == 0
    until(lambda: deployed(cloud, "three"))
    assert cloud.written()["two"] == []


def test_a_host_that_is_not_in_the_inventory_gets_nothing(cloud: Cloud):
    done = cloud.run("saltern.started", "stranger")
    assert done.code == 0
    assert "Nothing to deploy to" in done.out
    assert cloud.jobs("state.sls") == []
