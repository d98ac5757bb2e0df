"""container.running on real Docker: create, no-op, change, and the old one back on failure."""

from __future__ import annotations

import pytest
from salt.exceptions import CommandExecutionError

pytestmark = pytest.mark.docker

UP = {"test": ["test", "-e", "/tmp/up"], "interval": 300}
SERVE = ["sh", "-c", "echo up >/tmp/up; trap 'exit 0' TERM; while :; do sleep 0.1; done"]


@pytest.fixture
def spec(image):
    """Return the arguments of a container that becomes healthy at once."""
    return {
        "name": "web",
        "service": "web",
        "image": image,
        "command": SERVE,
        "tmpfs": ["/tmp"],
        "healthcheck": UP,
        "deadline": 20,
    }


def test_a_container_is_created_and_healthy(call, api, prefix, spec):
    """The first run creates, the container runs with its labels."""
    done = call("container.running", **spec)
    assert done["action"] == "create"
    found = api.inspect_container(f"{prefix}web")
    assert found["State"]["Running"]
    assert found["Config"]["Labels"]["saltern.service"] == "web"


def test_a_second_run_changes_nothing(call, api, prefix, spec):
    """The same spec, in another order and notation, is no change."""
    spec["environment"] = {"A": 1, "B": True}
    call("container.running", **spec)
    before = api.inspect_container(f"{prefix}web")["State"]["StartedAt"]
    spec["environment"] = {"B": "true", "A": "1"}
    done = call("container.running", **spec)
    assert (done["action"], done["changes"]) == ("nothing", {})
    assert api.inspect_container(f"{prefix}web")["State"]["StartedAt"] == before
