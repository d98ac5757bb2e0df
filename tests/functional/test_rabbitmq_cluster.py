"""RabbitMQ on three hosts: formed once, joined by the others, queues that outlive any one of them."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import clouds
import pika
import pytest

from .members import HOSTS, Members
from .services import NAMESPACE, until

pytestmark = pytest.mark.clusters

# As the services do it, through the library they do it with.
CASTS = """
import sys, time, oslo_messaging
from oslo_config import cfg
conf = cfg.CONF
conf([], default_config_files=[])
oslo_messaging.get_rpc_transport(conf, "rabbit://")
for option, value in {"ssl": True, "ssl_ca_file": "/ca.pem"}.items():
    conf.set_override(option, value, "oslo_messaging_rabbit")
transport = oslo_messaging.get_rpc_transport(conf, open("/url").read())
client = oslo_messaging.get_rpc_client(transport, oslo_messaging.Target(topic="t"), retry=3)
while True:
    try:
        client.cast({}, "anything")
        print("sent", flush=True)
    except oslo_messaging.MessagingException as error:
        print("failed:", error, flush=True)
    time.sleep(0.5)
"""
SMALL = {"memory_mb": 512, "containers": {"rabbitmq": {"deadline": 600}}}


@pytest.fixture
def rabbitmq(members) -> Members:
    """Return three hosts for RabbitMQ."""
    return members("rabbitmq")


def running(members: Members, host: str) -> set[str]:
    """Return the hosts whose nodes run, as one of them sees it."""
    status = members.run(host, "rabbitmq", "rabbitmqctl", "cluster_status", "--formatter", "json")
    nodes = {node.partition("@")[2] for node in json.loads(status)["running_nodes"]}
    return {one for one in HOSTS if members.address(one) in nodes}


def declare(members: Members, host: str, name: str, kind: str = "quorum") -> None:
    """Declare a queue of a type."""
    queue = (
        f'rabbit_amqqueue:declare(rabbit_misc:r(<<"/">>, queue, <<"{name}">>), true, false, '
        f'[{{<<"x-queue-type">>, longstr, <<"{kind}">>}}], none, <<"test">>).'
    )
    members.run(host, "rabbitmq", "rabbitmqctl", "eval", queue)


def replicas(members: Members, host: str) -> int:
    """Return on how many nodes the only queue has a copy that is up."""
    listed = members.run(
        host, "rabbitmq", "rabbitmqctl", "list_queues", "name", "online", "--formatter", "json"
    )
    return len(json.loads(listed)[0]["online"])


def node(members: Members, host: str) -> str:
    """Return the name of a host's node."""
    return f"rabbit@{members.address(host)}"


@contextmanager
def channel(
    members: Members, host: str
) -> Iterator[pika.adapters.blocking_connection.BlockingChannel]:
    """Yield a channel to the node of a host."""
    login = pika.PlainCredentials("openstack", members.secret("rabbitmq.password"))
    where = pika.ConnectionParameters(members.address(host), credentials=login)
    with pika.BlockingConnection(where) as connection:
        yield connection.channel()


def copies(members: Members, host: str) -> dict[str, int]:
    """Return queue to the number of nodes on which it has a copy that is up."""
    command = ["rabbitmqctl", "list_queues", "name", "online", "--formatter", "json"]
    listed = json.loads(members.run(host, "rabbitmq", *command))
    return {one["name"]: len(one["online"]) for one in listed}


def test_a_new_cookie_and_a_new_password_reach_all_nodes_while_they_run(rabbitmq: Members) -> None:
    made = rabbitmq.cloud(rabbitmq=SMALL)
    rabbitmq.deploy("rabbitmq", made)
    declare(rabbitmq, "one", "kept")
    rabbitmq.renew("rabbitmq", "erlang_cookie")
    rabbitmq.renew("rabbitmq", "password")
    for host in HOSTS:
        rabbitmq.apply(host, made, "rabbitmq")
        assert running(rabbitmq, host) == set(HOSTS)
    users = rabbitmq.run("two", "rabbitmq", "rabbitmqctl", "-q", "list_users")
    assert "openstack\t" in users and "openstack2\t" in users

    # One that starts now is asked for the new cookie; with an older file it would bring back the old user.
    rabbitmq.end("rabbitmq", "password")
    rabbitmq.apply("one", made, "rabbitmq")
    for number, name in rabbitmq.top("two", "rabbitmq"):
        if name == "beam.smp":
            os.kill(number, signal.SIGKILL)
    until(lambda: running(rabbitmq, "one") == set(HOSTS), "the node is back", 300)
    for host in ("two", "three"):
        rabbitmq.apply(host, made, "rabbitmq")
    users = rabbitmq.run("two", "rabbitmq", "rabbitmqctl", "-q", "list_users")
    assert "openstack\t" not in users and "openstack2\t" in users
    assert replicas(rabbitmq, "one") == 3


def test_a_cluster_is_formed_once_and_changed_one_node_at_a_time(rabbitmq: Members) -> None:
    made = rabbitmq.cloud(rabbitmq=SMALL)
    assert rabbitmq.deploy("rabbitmq", made).prepare == {"one": {"form": ["rabbitmq"]}}
    for host in HOSTS:
        assert running(rabbitmq, host) == set(HOSTS)
    declare(rabbitmq, "one", "kept")
    assert replicas(rabbitmq, "two") == 3

    changed = rabbitmq.cloud(rabbitmq={**SMALL, "heartbeat": 30})
    assert not rabbitmq.deploy("rabbitmq", changed).prepare
    assert replicas(rabbitmq, "one") == 3

    # A lost disk: the others forget the node, it joins as a new one and gets its copies.
    rabbitmq.lose("three", "rabbitmq")
    decided = rabbitmq.deploy("rabbitmq", changed)
    assert decided.orders["rabbitmq"][0] == "three"
    assert decided.forget == {"one": {"rabbitmq": ["three"]}}
    assert running(rabbitmq, "three") == set(HOSTS)
    until(lambda: replicas(rabbitmq, "three") == 3, "the queue has three copies again", 300)

    # While one is missing, the others are indispensable.
    rabbitmq.call("three", None, "container.stopped", "rabbitmq")
    impatient = {"heartbeat": 40, "containers": {"rabbitmq": {"deadline": 5}}}
    other = rabbitmq.cloud(rabbitmq={**SMALL, **impatient})
    with pytest.raises(Exception, match="not stopped: other members still depend on it"):
        rabbitmq.apply("one", other, "rabbitmq")
    assert running(rabbitmq, "one") == {"one", "two"}

    # All stopped: none would get ready alone.
    for host in ("one", "two"):
        rabbitmq.call(host, None, "container.stopped", "rabbitmq")
    decided = rabbitmq.deploy("rabbitmq", changed)
    assert decided.prepare == {key: {"start": ["rabbitmq"]} for key in HOSTS}
    assert replicas(rabbitmq, "one") == 3


def test_a_node_that_was_frozen_and_comes_back_alone_joins_again(rabbitmq: Members) -> None:
    made = rabbitmq.cloud(rabbitmq={**SMALL, "net_ticktime": 5})
    rabbitmq.deploy("rabbitmq", made)
    [frozen] = [number for number, name in rabbitmq.top("three", "rabbitmq") if name == "beam.smp"]
    os.kill(frozen, signal.SIGSTOP)
    try:
        until(lambda: running(rabbitmq, "one") == {"one", "two"}, "it counts as down", 120)
        # Longer than its own tick: awake, it drops those that have dropped it.
        time.sleep(30)
    finally:
        os.kill(frozen, signal.SIGCONT)
    for host in HOSTS:
        until(lambda host=host: running(rabbitmq, host) == set(HOSTS), f"{host} sees all", 240)
        until(lambda host=host: rabbitmq.healthy(host, "rabbitmq"), f"{host} is healthy", 120)
    assert frozen not in dict(rabbitmq.top("three", "rabbitmq"))


def test_a_stream_gets_the_copies_that_it_lacks(rabbitmq: Members) -> None:
    made = rabbitmq.cloud(rabbitmq=SMALL)
    rabbitmq.deploy("rabbitmq", made)
    rabbitmq.call("three", None, "container.stopped", "rabbitmq")
    declare(rabbitmq, "one", "late_fanout", "stream")
    assert replicas(rabbitmq, "two") == 2
    rabbitmq.call("three", None, "container.start", "rabbitmq", deadline=300)
    until(lambda: replicas(rabbitmq, "three") == 3, "the stream has three copies", 240)
    # A lost disk: its copy is forgotten with the node, and made anew.
    rabbitmq.lose("three", "rabbitmq")
    rabbitmq.deploy("rabbitmq", made)
    until(lambda: replicas(rabbitmq, "three") == 3, "the new node has a copy", 240)


def test_a_member_that_runs_is_not_forgotten_and_lost_copies_come_back(rabbitmq: Members) -> None:
    made = rabbitmq.cloud(rabbitmq=SMALL)
    rabbitmq.deploy("rabbitmq", made)
    with channel(rabbitmq, "one") as open_:
        open_.confirm_delivery()
        for name, kind in (("kept", "quorum"), ("told", "stream")):
            open_.queue_declare(name, durable=True, arguments={"x-queue-type": kind})
            for number in range(10):
                open_.basic_publish("", name, f"{number}".encode())
    assert copies(rabbitmq, "one") == {"kept": 3, "told": 3}

    with pytest.raises(Exception, match=f"{node(rabbitmq, 'three')} runs: stop it first"):
        rabbitmq.call("one", made, "cluster.forget", {"rabbitmq": ["three"]})
    assert copies(rabbitmq, "one") == {"kept": 3, "told": 3}

    # A healthy member without its copies, and the disk of another one is lost: no majority is left.
    rabbitmq.run("one", "rabbitmq", "rabbitmq-queues", "shrink", node(rabbitmq, "three"))
    delete = ["rabbitmq-streams", "delete_replica", "told", node(rabbitmq, "three")]
    rabbitmq.run("one", "rabbitmq", *delete)
    rabbitmq.lose("two", "rabbitmq")
    assert rabbitmq.deploy("rabbitmq", made).forget == {"one": {"rabbitmq": ["two"]}}

    for host in HOSTS:
        assert running(rabbitmq, host) == set(HOSTS)
    whole = {"kept": 3, "told": 3}
    until(lambda: copies(rabbitmq, "one") == whole, "both have three copies again", 300)
    with channel(rabbitmq, "three") as open_:
        open_.basic_qos(prefetch_count=10)
        for name in ("kept", "told"):
            arguments = {"x-stream-offset": "first"} if name == "told" else {}
            found = open_.consume(name, arguments=arguments, inactivity_timeout=60)
            bodies = [next(found)[2] for _ in range(10)]
            assert bodies == [f"{number}".encode() for number in range(10)]
            open_.cancel()


def test_clients_go_on_by_tls_when_the_first_broker_is_lost(
    rabbitmq: Members, tmp_path: Path
) -> None:
    made = rabbitmq.cloud(rabbitmq={**SMALL, "tls": True})
    rabbitmq.deploy("rabbitmq", made)
    password = rabbitmq.secret("rabbitmq.password")
    brokers = ",".join(f"openstack:{password}@{rabbitmq.address(one)}:5672" for one in HOSTS)
    (tmp_path / "url").write_text(f"rabbit://{brokers}/")
    (tmp_path / "ca.pem").write_text(rabbitmq.certificates["ca"])
    mounts = [f"{tmp_path / name}:/{name}:ro" for name in ("url", "ca.pem")]
    client = rabbitmq.api.create_container(
        clouds.image("openstack-base", NAMESPACE),
        ["python3", "-c", CASTS],
        name=rabbitmq.name("one", "client"),
        host_config=rabbitmq.api.create_host_config(
            binds=mounts, network_mode=f"container:{rabbitmq.name('one', 'net')}"
        ),
    )
    rabbitmq.api.start(client)

    def sent() -> int:
        return rabbitmq.api.logs(client).decode().count("sent")

    until(lambda: sent() > 3, "messages are sent", 120)
    listing = ["rabbitmqctl", "-q", "--no-table-headers", "list_connections", "host"]
    [used] = {*rabbitmq.run("one", "rabbitmq", *listing).split()}
    first = next(one for one in HOSTS if rabbitmq.address(one) == used)
    rabbitmq.call(first, None, "container.stopped", "rabbitmq")
    before = sent()
    until(lambda: sent() > before + 3, "messages are sent through another broker", 120)
