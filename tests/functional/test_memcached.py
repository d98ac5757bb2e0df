"""memcached as deployed: serves on the host's address, with the options given."""

from __future__ import annotations

import socket

import pytest

from .services import HOST, Deployment, until


@pytest.fixture
def memcached(salt_loaded, call) -> Deployment:
    """Return the service with its image built."""
    return Deployment("memcached", salt_loaded, call)


def ask(command: str) -> str:
    """Return memcached's answer to a command."""
    with socket.create_connection((HOST, 11211), timeout=5) as connection:
        connection.sendall(f"{command}\r\nquit\r\n".encode())
        answer = b""
        while chunk := connection.recv(4096):
            answer += chunk
    return answer.decode()


def test_serves_with_its_options_and_comes_back(memcached: Deployment) -> None:
    result = memcached.deploy({"memory_mb": 32, "max_connections": 100})
    assert result["result"] is True, result["comment"]
    assert ask("set greeting 0 60 5\r\nhello") == "STORED\r\n"
    assert "hello" in ask("get greeting")
    settings = ask("stats settings")
    assert "STAT maxbytes 33554432\r\n" in settings
    assert "STAT maxconns 100\r\n" in settings
    assert "STAT udpport 0\r\n" in settings
    memcached.kill("memcached")
    until(lambda: "VERSION" in ask("version"), "memcached runs again")
    again = memcached.deploy({"memory_mb": 32, "max_connections": 100})
    assert not again["changes"]
