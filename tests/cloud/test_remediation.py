"""The cloud mends itself: what was removed or edited comes back, what somebody has stopped does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.waiting import until

from .conftest import ETC, Cloud


@pytest.fixture
def mended(cloud: Cloud) -> Iterator[Cloud]:
    """The cloud with remediation on, in which nothing is wrong any more."""
    with cloud.settings(remediation={"enabled": True}):
        until(lambda: not incidents(cloud, "open=True"), "nothing is wrong")
        yield cloud


def incidents(cloud: Cloud, *words: str) -> list[dict[str, Any]]:
    """Return what the journal says."""
    done = cloud.salt_run("saltern.incidents", "--out=json", *words)
    return json.loads(done.stdout)["incidents"]


def is_healthy(cloud: Cloud, name: str, other_than: str = "") -> bool:
    """Return whether a container is there and healthy, and another one than before."""
    found = {one.name: one for one in cloud.docker.containers.list() if one.id != other_than}
    return name in found and found[name].health == "healthy"


def test_what_was_removed_or_edited_comes_back(mended: Cloud) -> None:
    gone = mended.docker.containers.get("placement-api")
    digest = mended.docker.containers.get("heat-api").labels["saltern.config"]
    edited = ETC / "services/heat" / digest / "heat.conf"
    before = edited.read_text()
    gone.remove(force=True)
    edited.write_text(f"{before}# by hand\n")
    until(lambda: is_healthy(mended, "placement-api", other_than=gone.id), "it is back")
    until(lambda: edited.read_text() == before, "the edit is gone")
    until(lambda: not incidents(mended, "open=True"), "nothing is wrong")
    last = {one["rule"]: one for one in incidents(mended)}
    assert last["container_missing"]["name"] == "placement-api"
    assert last["configuration_changed"]["service"] == "heat"
    assert all(
        "orch.deploy" in last[rule]["done"]
        for rule in ("container_missing", "configuration_changed")
    )


def test_what_somebody_has_stopped_is_left_alone_and_shown(mended: Cloud) -> None:
    one = mended.docker.containers.get("heat-api-cfn")
    one.stop()
    try:
        until(lambda: incidents(mended, "open=True"), "it is shown")
        (shown,) = incidents(mended, "open=True")
        assert (shown["rule"], shown["name"], shown["done"]) == ("stopped_by_hand", one.name, "")
        one.reload()
        assert one.status == "exited"
    finally:
        one.start()
    until(lambda: is_healthy(mended, one.name), "it runs again")
    until(lambda: not incidents(mended, "open=True"), "it is over")
