"""RabbitMQ as deployed: the broker, its user, its durable queues, a new password."""

from __future__ import annotations

import pytest

from .services import Deployment, until

DECLARE = (
    'rabbit_amqqueue:declare(rabbit_misc:r(<<"/">>, queue, <<"kept">>), true, false,'
    ' [{<<"x-queue-type">>, longstr, <<"quorum">>}], none, <<"test">>).'
)


@pytest.fixture
def rabbitmq(salt_loaded, call) -> Deployment:
    """Return the service with its image built, and with ports that leave a running cloud alone."""
    deployment = Deployment("rabbitmq", salt_loaded, call)
    deployment.port("epmd", 14369)
    deployment.port("distribution", 15673)
    return deployment


def accepts(rabbitmq: Deployment, password: str) -> bool:
    """Return whether the broker lets the services in with a password."""
    script = 'read -r password; rabbitmqctl -q authenticate_user openstack "$password"'
    done = rabbitmq.run("bash", "-c", f"{script} && echo yes || echo no", stdin=f"{password}\n")
    return done.split()[-1] == "yes"


def queues(rabbitmq: Deployment) -> list[str]:
    """Return the queues that run, with their type."""
    return rabbitmq.run("rabbitmqctl", "-q", "list_queues", "name", "type", "state").split("\n")


def test_queues_survive_a_crash_and_a_new_password(rabbitmq: Deployment) -> None:
    cookie = "COOKIEOFTHETEST"
    result = rabbitmq.deploy(password="first-password", erlang_cookie=cookie)
    assert result["result"] is True, result["comment"]
    assert accepts(rabbitmq, "first-password")
    vhosts = rabbitmq.run("rabbitmqctl", "-q", "list_vhosts", "name", "default_queue_type")
    assert "/\tquorum" in vhosts
    rabbitmq.run("rabbitmqctl", "-q", "eval", DECLARE)

    rabbitmq.kill("beam.smp")
    until(lambda: "kept\tquorum\trunning" in queues(rabbitmq), "the queue is back")

    changed = rabbitmq.deploy(password="second-password", erlang_cookie=cookie)
    assert changed["result"] is True, changed["comment"]
    assert accepts(rabbitmq, "second-password")
    assert not accepts(rabbitmq, "first-password")
    assert "kept\tquorum\trunning" in queues(rabbitmq)

    seen = rabbitmq.api.logs(rabbitmq.container).decode()
    seen += str(rabbitmq.api.inspect_container(rabbitmq.container))
    for secret in ("first-password", "second-password", cookie):
        assert secret not in seen
