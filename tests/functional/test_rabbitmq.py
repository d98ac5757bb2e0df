"""RabbitMQ as deployed: the broker, its user, its durable queues, a new password."""

from __future__ import annotations

import logging
from typing import Any

import pika
import pytest

from .services import HOST, Asking, Deployment, until

# A broker that is killed is meant to be away.
logging.getLogger("pika").setLevel(logging.CRITICAL)
UUID = "01234567-89ab-cdef-0123-456789abcdef"


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


def channel(rabbitmq: Deployment, password: str, user: str = "openstack") -> Any:
    """Return a channel of a client whose messages are confirmed."""
    login = pika.PlainCredentials(user, password)
    opened = pika.BlockingConnection(pika.ConnectionParameters(HOST, credentials=login)).channel()
    opened.confirm_delivery()
    return opened


def declare(opened: Any, name: str, kind: str = "quorum") -> None:
    """Declare a queue of a type."""
    opened.queue_declare(name, durable=True, arguments={"x-queue-type": kind})


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
    declare(channel(rabbitmq, "first-password"), "kept")

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


def test_two_accounts_are_there_while_the_password_is_rotated(rabbitmq: Deployment) -> None:
    old, new, cookie = "old-password", "new-password", "COOKIE"
    slot = {"password.slot": 1}

    def sign_in(*login: str) -> None:
        opened = channel(rabbitmq, *login)
        opened.basic_publish("", "kept", b"message")
        opened.connection.close()

    assert rabbitmq.deploy(password=old, erlang_cookie=cookie)["result"] is True
    container = rabbitmq.api.inspect_container(rabbitmq.container)["Id"]
    declare(channel(rabbitmq, old), "kept")
    with Asking(lambda: sign_in(old)) as holder:
        former = {"password.former": old, **slot}
        result = rabbitmq.deploy(password=new, erlang_cookie=cookie, **former)
        assert result["result"] is True, result["comment"]
        with Asking(lambda: sign_in(new, "openstack2")) as other:
            other.again()
            rabbitmq.kill("beam.smp")
            for one in (holder, other):
                one.again()
        # A connection that a kill cuts while it opens is a "probable" refusal to the client; the broker names a real one.
        refused = [one for one in holder.errors + other.errors if "ACCESS_REFUSED" in one]
        assert not refused
    retired = {"password.retired": old, **slot}
    assert rabbitmq.deploy(password=new, erlang_cookie=cookie, **retired)["result"] is True
    listed = rabbitmq.run("rabbitmqctl", "-q", "--no-table-headers", "list_users")
    assert [line.split()[0] for line in listed.splitlines()] == ["openstack2"]
    sign_in(new, "openstack2")
    with pytest.raises(pika.exceptions.ProbableAuthenticationError, match="ACCESS_REFUSED"):
        sign_in(old)
    # The next one goes back to the first name.
    assert rabbitmq.deploy(
        password="third", erlang_cookie=cookie, **{"password.former": new, "password.slot": 0}
    )["result"]
    for login in (("third",), (new, "openstack2")):
        sign_in(*login)
    assert rabbitmq.api.inspect_container(rabbitmq.container)["Id"] == container


def test_a_new_cookie_is_taken_while_the_node_runs(rabbitmq: Deployment) -> None:
    assert rabbitmq.deploy(password="a-password", erlang_cookie="FIRST")["result"] is True
    container = rabbitmq.api.inspect_container(rabbitmq.container)["Id"]
    opened = channel(rabbitmq, "a-password")
    declare(opened, "kept")
    assert rabbitmq.deploy(password="a-password", erlang_cookie="SECOND")["result"] is True
    assert "kept\tquorum\trunning" in queues(rabbitmq)
    opened.basic_publish("", "kept", b"message")
    assert rabbitmq.api.inspect_container(rabbitmq.container)["Id"] == container


def test_what_nobody_will_read_goes_by_itself(rabbitmq: Deployment) -> None:
    assert rabbitmq.deploy(password="a-password", erlang_cookie="COOKIE")["result"] is True
    opened = channel(rabbitmq, "a-password")
    orphans = {f"engine_worker.{UUID}", f"heat-engine-listener.{UUID}"}
    for name in (*orphans, "engine_worker", "conductor.control1", f"reply_{UUID}"):
        declare(opened, name)
    declare(opened, "scheduler_fanout", "stream")
    listed = rabbitmq.run(
        "rabbitmqctl", "-q", "--no-table-headers", "list_queues", "name", "policy"
    )
    policies = dict(line.partition("\t")[::2] for line in listed.splitlines())
    assert {name for name, policy in policies.items() if policy == "orphans"} == orphans
    assert {name for name, policy in policies.items() if policy == "streams"} == {
        "scheduler_fanout"
    }

    # Age is looked at where a segment ends: they are small.
    for _ in range(2500):
        opened.basic_publish("", "scheduler_fanout", bytes(1000))
    segments = "ls /var/lib/rabbitmq/mnesia/*/stream/*scheduler_fanout*/*.segment | wc -l"
    until(lambda: int(rabbitmq.run("bash", "-c", segments)) > 1, "a second segment is begun")
