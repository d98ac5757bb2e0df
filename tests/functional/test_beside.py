"""Replacing an API behind HAProxy, and HAProxy itself, while clients ask without pause: none fails."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from saltern.containers import balancer
from saltern.containers.engine import Engine
from saltern.containers.host import Host
from saltern.containers.spec import Spec

from .services import HOST, INTERNAL, Deployment, until

PORT = 18998
# A second host of the cloud.
OTHER = "127.0.9.4"
CLIENTS = 8
SERVICE = f"""
summary: A small API
like: api
user: placement
apis:
  web: {{port: {PORT}, check: /up, module: app}}
config:
  app.py: {{format: raw}}
containers:
  web-api: {{image: placement, environment: {{PYTHONPATH: /etc/web}}, deadline: 60}}
"""
# Some answers take long enough to be under way when the server is to stop.
APP = """
import os
import time

if "BROKEN" in os.environ:
    raise RuntimeError("a broken image")


def application(environ, start_response):
    sent = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    time.sleep(1.5 if environ["PATH_INFO"] == "/slow" else 0.02)
    start_response("200 OK", [])
    return [os.environ.get("ROUND", "0").encode() + b" " + sent]
"""


@dataclass
class Clients:
    """Clients that get and post until they are told to stop."""

    port: int = PORT
    served: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Clients:
        for number in range(CLIENTS):
            self._threads.append(threading.Thread(target=self._ask, args=(number,)))
            self._threads[-1].start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for one in self._threads:
            one.join()

    def _ask(self, number: int) -> None:
        """Ask again and again; every second client keeps its connection, one waits for slow answers."""
        connection = http.client.HTTPConnection(INTERNAL, self.port, timeout=60)
        path = "/slow" if number == 0 else "/"
        turn = 0
        while not self._over.is_set():
            turn += 1
            body = f"{number} {turn}" if turn % 2 else ""
            try:
                connection.request("POST" if body else "GET", path, body or None)
                answer = connection.getresponse()
                said = answer.read().decode()
                assert (answer.status, said.partition(" ")[2]) == (200, body), (answer.status, said)
                version = said.partition(" ")[0]
                self.served[version] = self.served.get(version, 0) + 1
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.failed.append(f"{time.monotonic():.2f} client {number}: {error!r}")
                connection.close()
            if number % 2:
                connection.close()
            self._over.wait(0.01)

    def until_served_by(self, version: int) -> None:
        """Wait until a version of the API has answered."""
        until(lambda: self.served.get(str(version)), f"version {version} answers")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the formula of the API."""
    files = tmp_path / "formulas/web/files"
    files.mkdir(parents=True)
    (files / "app.py").write_text(APP)
    (files.parent / "service.yml").write_text(SERVICE)
    return tmp_path / "formulas"


@pytest.fixture
def haproxy(salt_loaded: SimpleNamespace, call: Callable[..., Any], folder: Path) -> Deployment:
    """Return HAProxy, running."""
    one = Deployment("haproxy", salt_loaded, call, "web", formulas_of_test=folder)
    assert one.deploy(), "HAProxy runs"
    return one


@pytest.fixture
def web(
    haproxy: Deployment, salt_loaded: SimpleNamespace, call: Callable[..., Any], folder: Path
) -> Iterator[Callable[..., dict[str, Any]]]:
    """Return a function that deploys a version of the API; the first one runs."""
    one = Deployment("web", salt_loaded, call, "haproxy", formulas_of_test=folder)

    def deploy(version: int = 0, **environment: str) -> dict[str, Any]:
        return one.deploy(of_version(version, **environment))

    result = deploy()
    assert result["result"] is True, result["comment"]
    until(lambda: ask() == "0", "the API answers")
    deploy.deployment = one
    yield deploy


def of_version(version: int, **environment: str) -> dict[str, Any]:
    """Return the pillar of a version of the API."""
    return {"containers": {"web-api": {"environment": {"ROUND": str(version), **environment}}}}


def ask() -> str:
    """Return the version that answers."""
    connection = http.client.HTTPConnection(INTERNAL, PORT, timeout=60)
    connection.request("GET", "/")
    return connection.getresponse().read().decode().strip()


def names(web: Callable[..., Any]) -> dict[str, str]:
    """Return the containers of the API, without their prefix, and their states."""
    prefix = web.deployment.container.removesuffix("web")
    found = web.deployment.api.containers(all=True, filters={"name": f"^/{prefix}web"})
    return {one["Names"][0].removeprefix(f"/{prefix}"): one["State"] for one in found}


def test_a_replaced_api_loses_no_request(web: Callable[..., dict[str, Any]]) -> None:
    with Clients() as clients:
        for version in (1, 2, 3):
            result = web(version)
            assert result["result"] is True, result["comment"]
            clients.until_served_by(version)
    assert clients.failed == []
    assert names(web) == {"web-api": "running"}
    assert ask() == "3"


def test_on_several_hosts_every_haproxy_moves_first(
    salt_loaded: SimpleNamespace, call: Callable[..., Any], folder: Path
) -> None:
    """Both hosts of this test are on one machine: the kernel gives connections to either HAProxy."""
    own = salt_loaded.opts["saltern"]
    prefixes = {"one": own["prefix"], "two": f"{own['prefix']}two-"}

    def deploy(host: str, service: str, version: int = 0) -> None:
        folders = {key: f"{own[key]}-{host}" for key in ("etc", "var")}
        opts = {**salt_loaded.opts, "saltern": {"prefix": prefixes[host], **folders}}
        others = {"web", "haproxy"} - {service}
        one = Deployment(
            service, SimpleNamespace(opts=opts), call, *others, formulas_of_test=folder
        )
        one.host = host
        one.hosts["two"] = {"address": OTHER, "roles": ["control"]}
        options = of_version(version) if service == "web" else {"check_interval": "1s"}
        for fields in one.containers(options):
            name, generation = fields.pop("service"), fields.pop("generation")
            on_host = Host(Engine(), prefixes[host])
            on_host.running(Spec.from_dict(fields), name, generation)

    for service in ("haproxy", "web"):
        for host in prefixes:
            deploy(host, service)

    def both_use_both() -> bool:
        urls = [f"http://{address}:61313/servers;csv" for address in (HOST, OTHER)]
        told = balancer.ask(urls, "web", HOST)
        return all(told[one][host].is_used() for one in (HOST, OTHER) for host in prefixes)

    until(both_use_both, "both HAProxies use both servers")
    with Clients() as clients:
        for version, host in ((1, "one"), (2, "two"), (3, "one")):
            deploy(host, "web", version)
            clients.until_served_by(version)
    assert clients.failed == []


def test_a_broken_api_never_takes_the_place(web: Callable[..., dict[str, Any]]) -> None:
    with Clients() as clients:
        result = web(1, BROKEN="1")
        assert result["result"] is False
        assert "exited with code" in result["comment"]
        assert "was not touched" in result["comment"]
        assert web(2)["result"] is True
        clients.until_served_by(2)
    assert clients.failed == []
    assert "1" not in clients.served
    assert names(web) == {"web-api": "running"}


def test_haproxy_reads_a_new_configuration_and_is_replaced_without_loss(
    haproxy: Deployment, web: Callable[..., dict[str, Any]]
) -> None:
    def container() -> str:
        return haproxy.api.inspect_container(haproxy.container)["Id"]

    first = container()
    with Clients() as clients:
        for timeout in ("9s", "8s"):
            result = haproxy.deploy({"timeout_connect": timeout})
            assert result["result"] is True, result["comment"]
            assert set(result["changes"]) == {"config"}
            assert container() == first
        assert haproxy.deploy({"timeout_connect": "8s"})["changes"] == {}
        for number in ("1", "2"):
            environment = {"haproxy": {"environment": {"ROUND": number}}}
            result = haproxy.deploy({"timeout_connect": "8s", "containers": environment})
            assert result["result"] is True, result["comment"]
            served = sum(clients.served.values())
            until(
                lambda at=served: sum(clients.served.values()) > at + 50, "HAProxy passes them on"
            )
        assert web(1)["result"] is True
        clients.until_served_by(1)
    assert clients.failed == []
    assert container() != first


def test_haproxy_goes_on_with_the_old_configuration_if_the_new_one_is_wrong(
    haproxy: Deployment, web: Callable[..., dict[str, Any]]
) -> None:
    with Clients() as clients:
        result = haproxy.deploy({"config": {"haproxy.cfg": "global\n    nonsense\n"}})
        assert result["result"] is False
        assert "nonsense" in result["comment"]
    assert clients.failed == []
    haproxy.api.restart(haproxy.container)
    until(lambda: ask() == "0", "what it starts with is the old one")
    assert haproxy.deploy()["changes"] == {}


# Replaces a container and dies when the step argv[2] is done.
KILLED = """
import json, os, sys
from pathlib import Path
from saltern.containers import balancer
from saltern.containers.engine import Engine
from saltern.containers.host import Host
from saltern.containers.spec import Spec
fields = json.load(sys.stdin)
service, generation = fields.pop("service"), fields.pop("generation")
def progress(step):
    if step == sys.argv[2]:
        os._exit(77)
Host(Engine(), sys.argv[1], progress).running(Spec.from_dict(fields), service, generation)
"""


@pytest.mark.parametrize("step", ["started beside", "told to leave", "left", "stopped", "named"])
def test_a_replacement_that_was_killed_is_finished_without_loss(
    web: Callable[..., dict[str, Any]], step: str, pytestconfig: pytest.Config
) -> None:
    (spec,) = web.deployment.containers(of_version(1))
    prefix = web.deployment.container.removesuffix("web")
    with Clients() as clients:
        done = subprocess.run(
            [sys.executable, "-c", KILLED, prefix, step],
            input=json.dumps(spec),
            text=True,
            env={**os.environ, "PYTHONPATH": str(pytestconfig.rootpath / "_utils")},
            check=False,
            capture_output=True,
        )
        assert done.returncode == 77, done.stderr
        result = web(2)
        assert result["result"] is True, result["comment"]
        clients.until_served_by(2)
    assert clients.failed == []
    assert names(web) == {"web-api": "running"}
