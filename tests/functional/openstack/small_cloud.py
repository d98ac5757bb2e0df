"""A small cloud of real containers for the tests of services: a masterless minion deploys it.

It has addresses, names and volumes of its own, so that it can stand beside a deployed cloud.
"""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import clouds
import docker
import yaml

from saltern.cloud import demand, formulas, loading, secrets
from saltern.cloud.view import host_view
from saltern.tls import authority, store

CHECKOUT = Path(__file__).resolve().parents[3]
PREFIX = "salterntest-small-"
INTERNAL, HOST, EXTERNAL = "127.9.0.1", "127.9.0.2", "127.9.0.3"
SERVICES = ["mariadb", "memcached", "haproxy", "toolbox", "keystone", "glance"]


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    headers: Any
    body: Any


def parse(text: bytes) -> Any:
    """Return JSON as data and anything else as text."""
    try:
        return json.loads(text or b"null")
    except ValueError:
        return text.decode()


@dataclass
class SmallCloud:
    """The cloud: its pillar and secrets, and what a test does with them."""

    root: Path
    api: docker.APIClient
    pillar: dict[str, Any] = field(default_factory=dict)
    secrets: dict[str, Any] = field(default_factory=dict)
    trust: ssl.SSLContext | None = None

    def apply(self, *services: str, test: bool = False) -> dict[str, dict[str, Any]]:
        """Apply formulas and return the states' results, by sentence."""
        self._write_pillar()
        out = self.salt_call("state.sls", ",".join(services), f"test={test}")
        assert isinstance(out, dict), out
        return {key.split("_|-")[1]: state for key, state in out.items()}

    def deploy(self, *services: str) -> dict[str, dict[str, Any]]:
        """Apply formulas, which must succeed; return the states that changed something."""
        states = self.apply(*services)
        failed = {name: one["comment"] for name, one in states.items() if one["result"] is not True}
        assert not failed, failed
        return {name: one for name, one in states.items() if one["changes"]}

    def salt_call(self, *arguments: str) -> Any:
        """Run a function of the masterless minion and return what it returns."""
        program = shutil.which("salt-call") or str(Path(sys.executable).with_name("salt-call"))
        command = [program, "--local", f"--config-dir={self.root}/config", "--out=json", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        assert done.stdout, done.stderr
        return json.loads(done.stdout)["local"]

    def run(self, *command: str, container: str = "toolbox", stdin: str = "") -> str:
        """Run a command in a container and return its output; it must succeed."""
        done = subprocess.run(
            ["docker", "exec", "-i", PREFIX + container, *command],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def container_id(self, name: str) -> str:
        """Return the id of a container, by which a test sees that it was not replaced."""
        return self.api.inspect_container(PREFIX + name)["Id"]

    def url(self, port: int, address: str = INTERNAL) -> str:
        """Return the URL of a port, by TLS if this cloud is trusted by an authority."""
        return f"{'https' if self.trust else 'http'}://{address}:{port}"

    def request(self, method: str, url: str, token: str | None = None, body: Any = None) -> Answer:
        """Send a request to an API; a path is one of Keystone's."""
        url = url if url.startswith("http") else f"{self.url(5000)}/v3{url}"
        headers = {"Content-Type": "application/json"} | ({"X-Auth-Token": token} if token else {})
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60, context=self.trust) as answer:
                return Answer(answer.status, answer.headers, parse(answer.read()))
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, error.read().decode())

    def sign_in(self, user: str, password: str, scope: Any = "unscoped") -> Answer:
        """Ask for a token; it stands in the header X-Subject-Token."""
        person = {"name": user, "domain": {"id": "default"}, "password": password}
        identity = {"methods": ["password"], "password": {"user": person}}
        body = {"auth": {"identity": identity, "scope": scope}}
        return self.request("POST", "/auth/tokens", body=body)

    def admin_token(self, scope: Any = None) -> str:
        """Return a token of the administrator, for the project admin unless told."""
        project = {"project": {"name": "admin", "domain": {"id": "default"}}}
        password = self.secrets["keystone"]["admin_password"]
        answer = self.sign_in("admin", password, scope or project)
        assert answer.status == 201, answer
        return answer.headers["X-Subject-Token"]

    @contextmanager
    def in_use(self, clients: int = 4) -> Iterator[list[str]]:
        """Sign in and list images, each client up to ten times a second, until the end; yield what fails."""
        over, failed, served = threading.Event(), [], []

        def use() -> None:
            while not over.is_set():
                try:
                    token = self.admin_token()
                    answer = self.request("GET", f"{self.url(9292)}/v2/images", token)
                    assert answer.status == 200, answer
                    served.append(token)
                except (OSError, AssertionError, http.client.HTTPException) as error:
                    failed.append(repr(error))
                # Without a pause it would take the processors from what it watches.
                time.sleep(0.1)

        threads = [threading.Thread(target=use) for _ in range(clients)]
        for one in threads:
            one.start()
        try:
            yield failed
        finally:
            over.set()
            for one in threads:
                one.join()
        assert served

    def wait_for_glance(self) -> None:
        """Wait until HAProxy has found Glance healthy."""
        deadline = time.monotonic() + 60
        while self.request("GET", f"{self.url(9292)}/healthcheck").status != 200:
            assert time.monotonic() < deadline, "HAProxy does not find Glance"
            time.sleep(0.5)

    def certify(self, *names: str) -> None:
        """Make certificates anew, all that the pillar asks for unless named; the authority's once."""
        needed = demand.wanted(loading.load(self.pillar, formulas.load([CHECKOUT / "formulas"])))
        made = self.secrets.get("certificates", {})
        key, now = made.get("ca.key", ""), store.now()
        reasons = dict.fromkeys(names or needed, "is wanted anew") | (
            {} if key else {"ca": "is missing"}
        )
        made |= authority.make(reasons, needed, made, key, now)
        self.secrets["certificates"] = made
        if names:
            self._write_pillar()
        self.trust = ssl.create_default_context(cadata=made["ca"])

    def destroy(self) -> None:
        """Remove everything that has this cloud's prefix."""
        for one in self.api.containers(all=True, filters={"name": f"^/{PREFIX}"}):
            self.api.remove_container(one["Id"], force=True, v=True)
        for volume in self.api.volumes(filters={"name": f"^{PREFIX}"})["Volumes"] or []:
            self.api.remove_volume(volume["Name"])

    def _write_pillar(self) -> None:
        catalog = formulas.load([CHECKOUT / "formulas"])
        self.secrets, _ = secrets.fill(catalog, self.secrets)
        described = loading.load(self.pillar, catalog)
        assert not described.problems, [str(one) for one in described.problems]
        users = yaml.safe_load((CHECKOUT / "images/users.yml").read_text())
        view = {
            **self.pillar,
            "cloud": host_view(described, "small", self.secrets, users, clouds.TAGS),
        }
        (self.root / "pillar/view.sls").write_text("#!json\n" + json.dumps(view))
