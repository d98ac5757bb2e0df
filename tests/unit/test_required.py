"""What a service requires, and whether it answers through a load balancer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from saltern.service import required


def _cloud(**services: Any) -> dict[str, Any]:
    plain = {"requires": [], "ports": {}}
    return {
        "internal_address": "10.0.0.9",
        "tls": {"internal": True},
        "services": {name: {**plain, **one} for name, one in services.items()},
    }


def test_ports_behind_haproxy_are_asked_of_what_is_required_and_runs() -> None:
    cloud = _cloud(
        haproxy={
            "ports": {"monitor": {"port": 1, "frontend": "none"}},
            "provides": ["load_balancer"],
        },
        mariadb={"ports": {"mariadb": {"port": 3306, "frontend": "tcp", "check": "galera"}}},
        keystone={"ports": {"keystone": {"port": 5000, "frontend": "http", "check": "/up"}}},
        nova={"ports": {"nova": {"port": 8774, "frontend": "http"}}},
        glance={"requires": ["mariadb", "keystone", "haproxy", "absent"]},
    )
    database, keystone = required.endpoints("glance", cloud)
    assert database == required.Endpoint("mariadb", "10.0.0.9", 3306, "tcp", "galera", False)
    assert keystone == required.Endpoint("keystone", "10.0.0.9", 5000, "http", "/up", True)
    del cloud["services"]["haproxy"]
    assert required.endpoints("glance", cloud) == []


@pytest.mark.parametrize(
    ("kind", "answer", "answers"),
    [
        ("tcp", b"\x4a\x00\x00\x00\x0a11.8", True),  # the server speaks first
        ("tcp", None, True),  # the client has to
        ("tcp", b"", False),  # HAProxy has no server
        ("http", b"HTTP/1.0 200 OK\r\n\r\n", True),
        ("http", b"HTTP/1.0 300 Multiple Choices\r\n\r\n", True),
        ("http", b"HTTP/1.0 503 Service Unavailable\r\n\r\n", False),
        ("http", b"", False),
    ],
)
def test_a_balancer_without_a_server_is_told_from_one_with(
    kind: str, answer: bytes | None, answers: bool
) -> None:
    def speak(connection: socket.socket) -> None:
        if kind == "http":
            connection.recv(1000)
        if answer is None:
            connection.recv(1000)
        else:
            connection.sendall(answer)

    with _server(speak) as port:
        endpoint = required.Endpoint("one", "127.0.0.1", port, kind)
        assert (required.why_not(endpoint) == "") is answers


def test_a_port_that_is_shut_is_named_with_the_reason() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    endpoint = required.Endpoint("one", "127.0.0.1", port, "tcp")
    assert "refused" in required.why_not(endpoint)


@contextmanager
def _server(speak: Callable[[socket.socket], None]) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                speak(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
