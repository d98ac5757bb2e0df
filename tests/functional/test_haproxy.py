"""HAProxy as deployed: requests reach a service through both addresses, and only a healthy one."""

from __future__ import annotations

import json
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from saltern.containers import balancer

from .services import EXTERNAL, HOST, INTERNAL, Deployment, until

PORT = 18999
# A second host of the cloud.
OTHER = "127.0.9.4"


class Echo(BaseHTTPRequestHandler):
    """Answers with the headers of the request; its health can be changed."""

    ill: set[str] = set()

    def do_GET(self) -> None:
        own = self.server.server_address[0]
        status = 503 if own in Echo.ill and self.path == "/healthcheck" else 200
        body = json.dumps({**self.headers, "server": own}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Stay silent."""


@contextmanager
def serving(*addresses: str) -> Iterator[None]:
    """Serve on the addresses of hosts."""
    servers = [ThreadingHTTPServer((address, PORT), Echo) for address in addresses]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def backend() -> Iterator[None]:
    """Serve on the addresses of both hosts."""
    Echo.ill = set()
    with serving(HOST, OTHER):
        yield


@pytest.fixture
def haproxy(salt_loaded, call) -> Deployment:
    """Return the service with its image built and one more frontend."""
    deployment = Deployment("haproxy", salt_loaded, call)
    deployment.port("web", PORT, frontend="http", check="/healthcheck", external=True)
    return deployment


def get(address: str, trust: ssl.SSLContext | None = None) -> dict[str, str]:
    """Return the headers that the backend received, asked by TLS if there is something to trust."""
    url = f"{'https' if trust else 'http'}://{address}:{PORT}/"
    with urllib.request.urlopen(url, timeout=5, context=trust) as answer:
        return {key.lower(): value for key, value in json.load(answer).items()}


def refused() -> bool:
    """Return whether HAProxy says that no server is available."""
    try:
        get(INTERNAL)
    except urllib.error.HTTPError as error:
        return error.code == 503
    return False


def test_passes_requests_to_healthy_servers_only(haproxy: Deployment, backend: None) -> None:
    haproxy.hosts["two"] = {"address": OTHER, "roles": ["control"]}
    result = haproxy.deploy({"check_interval": "500ms"})
    assert result["result"] is True, result["comment"]
    for address in (INTERNAL, EXTERNAL):
        seen = get(address)
        assert seen["x-forwarded-proto"] == "http"
        assert seen["x-forwarded-host"] == f"{address}:{PORT}"
        assert seen["x-forwarded-for"].startswith("127.")
    Echo.ill = {HOST}
    until(lambda: {get(INTERNAL)["server"] for _ in range(8)} == {OTHER}, "one is left out")
    Echo.ill = {HOST, OTHER}
    until(refused, "both are left out")
    Echo.ill = {OTHER}
    until(lambda: not refused() and get(INTERNAL)["server"] == HOST, "one is used again")


def test_a_server_without_a_second_one_is_used_whatever_a_check_says(
    haproxy: Deployment, backend: None
) -> None:
    Echo.ill = {HOST}
    assert haproxy.deploy({"check_interval": "100ms", "check_fall": 1})["result"] is True
    assert [get(INTERNAL)["server"] for _ in range(30)] == [HOST] * 30


def test_the_server_in_use_stays_in_use_with_a_new_configuration(haproxy: Deployment) -> None:
    haproxy.hosts["two"] = {"address": OTHER, "roles": ["control"]}
    haproxy.port("web", PORT, frontend="tcp", active_passive=True)

    def is_used(address: str, host: str) -> bool:
        told = balancer.ask([f"http://{HOST}:61313/servers;csv"], "haproxy-web", HOST)
        return told[HOST][host].is_used() and get(INTERNAL)["server"] == address

    with serving(OTHER):
        assert haproxy.deploy({"check_interval": "500ms"})["result"] is True
        until(lambda: is_used(OTHER, "two"), "the second one is in use")
        with serving(HOST):
            for timeout in ("9s", "8s"):
                until(lambda: is_used(OTHER, "one"), "the first one is back")
                options = {"check_interval": "500ms", "timeout_connect": timeout}
                assert haproxy.deploy(options)["result"] is True
                assert {get(INTERNAL)["server"] for _ in range(8)} == {OTHER}


def test_tls_on_the_external_address_alone(haproxy: Deployment, backend: None) -> None:
    result = haproxy.deploy({"check_interval": "500ms"}, {"tls": {"external": True}})
    assert result["result"] is True, result["comment"]
    assert until(lambda: get(INTERNAL), "the server is used")["x-forwarded-proto"] == "http"
    seen = get(EXTERNAL, haproxy.trust)
    assert seen["x-forwarded-proto"] == "https"
    assert seen["x-forwarded-host"] == f"{EXTERNAL}:{PORT}"
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        get(EXTERNAL, ssl.create_default_context())


def test_a_wrong_configuration_brings_the_old_one_back(haproxy: Deployment, backend: None) -> None:
    assert haproxy.deploy()["result"] is True
    wrong = {
        "config": {"haproxy.cfg": "global\n    nonsense\n"},
        "containers": {"haproxy": {"deadline": 10}},
    }
    result = haproxy.deploy(wrong)
    assert result["result"] is False
    assert "nonsense" in result["comment"]
    assert get(INTERNAL)["x-forwarded-proto"] == "http"
