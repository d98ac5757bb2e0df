"""Clients that ask each API and an instance of a deployed cloud without pause, and count what fails."""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
import yaml

CLOUDS = Path("/etc/saltern/clouds.yaml")
# HAProxy gives up before that, and says so.
_TIMEOUT = 130
# Seconds between two questions of a client, and between two small things.
_PAUSE = 0.1
_BETWEEN_THINGS = 3
# Seconds that something may take to be made or gone.
_PATIENCE = 300
# A stack that is made in seconds.
TEMPLATE = {
    "heat_template_version": "2018-08-31",
    "resources": {"word": {"type": "OS::Heat::RandomString"}},
}


class Session:
    """What an administrator's program has: a token, and connections that stay open."""

    def __init__(self) -> None:
        self._cloud = yaml.safe_load(CLOUDS.read_text())["clouds"]["saltern"]
        self._http = requests.Session()
        self._http.trust_env = False
        self._http.verify = self._cloud.get("cacert", True)
        self._urls: dict[str, str] = {}
        self.sign_in()

    def sign_in(self) -> None:
        """Get a token, and where the APIs are."""
        auth = self._cloud["auth"]
        user = {
            "name": auth["username"],
            "password": auth["password"],
            "domain": {"name": auth["user_domain_name"]},
        }
        project = {"name": auth["project_name"], "domain": {"name": auth["project_domain_name"]}}
        body = {
            "auth": {
                "identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": project},
            }
        }
        url = auth["auth_url"].rstrip("/")
        said = self._http.post(f"{url}/auth/tokens", json=body, timeout=_TIMEOUT)
        said.raise_for_status()
        self._http.headers["X-Auth-Token"] = said.headers["X-Subject-Token"]
        self._urls = {
            service["type"]: endpoint["url"].rstrip("/")
            for service in said.json()["token"]["catalog"]
            for endpoint in service["endpoints"]
            if endpoint["interface"] == self._cloud["interface"]
        }
        self._urls["identity"] = url

    def __call__(self, method: str, service: str, path: str, body: Any = None, **more: Any) -> Any:
        """Ask an API; return its JSON, or nothing.

        :raises requests.RequestException: It did not answer, or with 400 and above.
        """
        said = self._http.request(
            method, f"{self._urls[service]}{path}", json=body, timeout=_TIMEOUT, **more
        )
        if said.status_code >= 400:
            raise requests.HTTPError(f"{said.status_code} of {method} {path}: {said.text[:200]}")
        return said.json() if said.content and "json" in said.headers["Content-Type"] else None

    def until(self, service: str, path: str, key: str, wanted: str | None) -> None:
        """Wait until something has a status; None is that it is gone.

        :raises RuntimeError: It is in error, or takes too long.
        """
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                one = self("GET", service, path)[key]
                status = str(one.get("status", one.get("stack_status"))).lower()
            except requests.HTTPError as error:
                if wanted or not str(error).startswith("404"):
                    raise
                return
            if status == wanted or (not wanted and status == "delete_complete"):
                return
            if "error" in status or "failed" in status or time.monotonic() > end:
                raise RuntimeError(f"{path} is {status} and not {wanted or 'gone'}")
            time.sleep(1)


# Service to what it is asked; {server} is an instance.
QUESTIONS: dict[str, list[tuple[str, str]]] = {
    "glance": [("image", "/v2/images")],
    "nova": [("compute", "/servers"), ("compute", "/servers/{server}")],
    "neutron": [("network", "/v2.0/networks")],
    "placement": [("placement", "/resource_providers")],
    "cinder": [("block-storage", "/volumes")],
    "heat": [("orchestration", "/stacks")],
}


def _project(ask: Session, name: str) -> None:
    made = ask("POST", "identity", "/projects", {"project": {"name": name}})
    ask("DELETE", "identity", f"/projects/{made['project']['id']}")


def _image(ask: Session, name: str) -> None:
    wanted = {"name": name, "disk_format": "raw", "container_format": "bare"}
    path = f"/v2/images/{ask('POST', 'image', '/v2/images', wanted)['id']}"
    binary = {"Content-Type": "application/octet-stream"}
    ask("PUT", "image", f"{path}/file", data=name.encode() * 1000, headers=binary)
    ask("DELETE", "image", path)


def _server_group(ask: Session, name: str) -> None:
    wanted = {"server_group": {"name": name, "policies": ["affinity"]}}
    made = ask("POST", "compute", "/os-server-groups", wanted)
    ask("DELETE", "compute", f"/os-server-groups/{made['server_group']['id']}")


def _network(ask: Session, name: str) -> None:
    made = ask("POST", "network", "/v2.0/networks", {"network": {"name": name}})
    ask("DELETE", "network", f"/v2.0/networks/{made['network']['id']}")


def _resource_class(ask: Session, name: str) -> None:
    path = f"/resource_classes/CUSTOM_{name.upper().replace('-', '_')}"
    version = {"OpenStack-API-Version": "placement 1.7"}
    ask("PUT", "placement", path, headers=version)
    ask("DELETE", "placement", path, headers=version)


def _volume(ask: Session, name: str) -> None:
    made = ask("POST", "block-storage", "/volumes", {"volume": {"name": name, "size": 1}})
    path = f"/volumes/{made['volume']['id']}"
    ask.until("block-storage", path, "volume", "available")
    ask("DELETE", "block-storage", path)
    ask.until("block-storage", path, "volume", None)


def _stack(ask: Session, name: str) -> None:
    made = ask("POST", "orchestration", "/stacks", {"stack_name": name, "template": TEMPLATE})
    path = f"/stacks/{name}/{made['stack']['id']}"
    ask.until("orchestration", path, "stack", "create_complete")
    ask("DELETE", "orchestration", path)
    ask.until("orchestration", path, "stack", None)


# Service to what makes a small thing of it and takes it away.
THINGS: dict[str, Callable[[Session, str], None]] = {
    "keystone": _project,
    "glance": _image,
    "nova": _server_group,
    "neutron": _network,
    "placement": _resource_class,
    "cinder": _volume,
    "heat": _stack,
}


class Client(threading.Thread):
    """Does the same again and again until it is told to stop.

    :ivar requests: How often it has.
    :ivar errors: What went wrong, and how often.
    :ivar longest: Seconds of what took longest.
    """

    def __init__(self, service: str, do: Callable[[], None], pause: float = _PAUSE) -> None:
        super().__init__(daemon=True)
        self.service = service
        self.requests = 0
        self.errors: Counter[str] = Counter()
        self.longest = 0.0
        self._do, self._pause = do, pause
        self._over = threading.Event()

    def run(self) -> None:
        """Do it until :meth:`stop`."""
        while not self._over.is_set():
            began = time.monotonic()
            self.requests += 1
            try:
                self._do()
            except Exception as error:
                self.errors[f"{time.strftime('%X')} {type(error).__name__}: {error}"[:400]] += 1
            self.longest = max(self.longest, time.monotonic() - began)
            self._over.wait(self._pause)

    def stop(self) -> None:
        """End after what is under way."""
        self._over.set()


class Reached(Client):
    """Connects to an instance ten times a second.

    :ivar gap: Seconds of the longest time without a connection.
    """

    def __init__(self, address: str) -> None:
        super().__init__("instance", self._connect)
        self._address = address
        self._last = time.monotonic()
        self.gap = 0.0

    def _connect(self) -> None:
        with socket.create_connection((self._address, 80), 1):
            now = time.monotonic()
            self.gap, self._last = max(self.gap, now - self._last), now


class Load:
    """All clients together, as long as the block lasts.

    :param server: An instance that is asked for.
    :param address: Its floating IP.
    """

    def __init__(self, server: str, address: str) -> None:
        self.instance = Reached(address)
        self.clients: list[Client] = [
            Client("keystone", Session().sign_in),
            Client("horizon", _dashboard),
        ]
        for service, questions in QUESTIONS.items():
            for kind, path in questions:
                self.clients.append(Client(service, _question(kind, path.format(server=server))))
        for service, thing in THINGS.items():
            self.clients.append(Client(service, _maker(thing), _BETWEEN_THINGS))

    @contextmanager
    def __call__(self) -> Iterator[Load]:
        """Ask for as long as the block lasts, and until what is under way is done."""
        everybody = [*self.clients, self.instance]
        for one in everybody:
            one.start()
        try:
            yield self
        finally:
            for one in everybody:
                one.stop()
            for one in everybody:
                one.join()

    def services(self) -> dict[str, dict[str, Any]]:
        """Return for each service how many requests there were, how many failed, and the longest in seconds."""
        found: dict[str, dict[str, Any]] = {}
        for one in self.clients:
            sums = found.setdefault(one.service, {"requests": 0, "failed": 0, "longest_s": 0.0})
            sums["requests"] += one.requests
            sums["failed"] += one.errors.total()
            sums["longest_s"] = round(max(sums["longest_s"], one.longest), 1)
        return found

    def errors(self) -> list[str]:
        """Return what failed, one line each."""
        return [f"{one.service}: {error}" for one in self.clients for error in one.errors]


def _question(kind: str, path: str) -> Callable[[], None]:
    ask = Session()
    return lambda: ask("GET", kind, path)


def _maker(thing: Callable[[Session, str], None]) -> Callable[[], None]:
    ask = Session()
    return lambda: thing(ask, f"upgrade-{secrets.token_hex(4)}")


def _dashboard() -> None:
    cloud = yaml.safe_load(CLOUDS.read_text())["clouds"]["saltern"]
    host = cloud["auth"]["auth_url"].split("/")[2].rpartition(":")[0]
    said = requests.get(f"http://{host}:8008/auth/login/", timeout=_TIMEOUT)
    said.raise_for_status()
