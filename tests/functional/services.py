"""One service of the product as a test deploys it: rendered from its formula, run by its states."""

from __future__ import annotations

import copy
import functools
import os
import signal
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import clouds
import docker
import yaml

from saltern import files
from saltern.cloud import demand, formulas, loading, model
from saltern.cloud.view import host_view
from saltern.images.names import images_of
from saltern.images.options import Options
from saltern.images.workshop import Workshop, failure
from saltern.service import certificates, generation, scope, states, tasks, templates
from saltern.tls import authority
from saltern.tls import store as certificate_store
from tests.waiting import until

# Loopback addresses that neither the product nor another test uses.
HOST, INTERNAL, EXTERNAL = "127.0.9.1", "127.0.9.2", "127.0.9.3"
# The images of this namespace are used; the product's own unless another one is being worked on.
NAMESPACE = os.environ.get("SALTERN_TEST_NAMESPACE", "saltern")


class Deployment:
    """A service on a host of a small cloud.

    :ivar service: Its name.
    :ivar container: Full name of its container.
    :ivar api: Docker's SDK, to look at what happens.
    :ivar host: The host it is deployed on.
    :ivar hosts: The cloud's hosts.
    """

    def __init__(
        self,
        service: str,
        loaded: SimpleNamespace,
        call: Callable[..., Any],
        *others: str,
        formulas_of_test: Path | None = None,
    ) -> None:
        """Build the service's images.

        :param others: Services that are there, too, and of which nothing is deployed.
        :param formulas_of_test: A folder with formulas of the test's own.
        """
        self.service = service
        self.host = "one"
        self.hosts = {"one": {"address": HOST, "roles": ["control"]}}
        self.container = loaded.opts["saltern"]["prefix"] + service
        self.api = docker.APIClient(version="auto")
        self.certificates: dict[str, str] = {}
        self.trust: ssl.SSLContext | None = None
        self._loaded = loaded
        self._call = call
        self._roots = [*filter(None, [formulas_of_test]), clouds.ROOT / "formulas"]
        known = formulas.load(self._roots)
        self._catalog = {name: copy.deepcopy(known[name]) for name in (service, *others)}
        for formula in self._catalog.values():
            formula["enabled"] = True
        shop = Workshop(clouds.ROOT / "images", Options(namespace=NAMESPACE, **self._places()))
        results = shop.build(images_of(self._catalog[service]), lambda event: None)
        assert not failure(results), failure(results)

    def port(self, name: str, number: int, **more: Any) -> None:
        """Move a port of the service, or give it another one."""
        ports = self._catalog[self.service].setdefault("ports", {})
        ports.setdefault(name, {"frontend": "none"}).update(port=number, **more)

    def deploy(
        self,
        options: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
        others: dict[str, Any] | None = None,
        **secrets: str,
    ) -> dict[str, Any]:
        """Write the configuration and apply the states of the service; return the last result.

        Arguments are those of :meth:`containers`.
        """
        result: dict[str, Any] = {}
        for spec in self.containers(options, settings, others, **secrets):
            self._loaded.context.clear()
            result = self._loaded.states["container.running"](**spec)
        if result["result"]:
            self._tell()
        return result

    def containers(
        self,
        options: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
        others: dict[str, Any] | None = None,
        **secrets: str,
    ) -> list[dict[str, Any]]:
        """Write the configuration; return the arguments of ``container.running`` of each container.

        :param options: The service's pillar.
        :param settings: More of the pillar ``saltern``.
        :param others: The pillar of other services.
        :param secrets: Values of the secrets it declares.
        """
        pillar = {
            "saltern": {
                "images": {"namespace": NAMESPACE},
                "internal_address": INTERNAL,
                "external_address": EXTERNAL,
                "hosts": self.hosts,
                **(settings or {}),
            },
            self.service: options or {},
            **(others or {}),
        }
        made = loading.load(pillar, self._catalog)
        assert not made.problems, made.problems
        users = yaml.safe_load((clouds.ROOT / "images/users.yml").read_text())
        stored = {self.service: secrets, "certificates": self._certificates(made)}
        view = host_view(made, self.host, stored, users, clouds.TAGS)
        context = scope.Context(view, self.service, scope.Machine(cpus=2, memory_mb=4096))
        context["prefix"] = self._loaded.opts["saltern"]["prefix"]
        formula = view["formulas"][self.service]
        context["certificates"] = str(Path(self._loaded.opts["saltern"]["var"], "certificates"))
        if "certificates" in formula:
            deliver(view, self.service, Path(context["certificates"]))
        written = generation.render(self.service, formula, self._template, context)
        folder = Path(self._loaded.opts["saltern"]["etc"], "services", self.service)
        path = generation.write(folder, written)
        self._tell = functools.partial(tell, formula, context, self._call)
        found = []
        for body in states.states(self.service, view, context).values():
            for function, arguments in body.items():
                if function != "container.running":
                    continue
                spec = {key: value for one in arguments for key, value in one.items()}
                spec.pop("require", None)
                spec["generation"] = {"digest": written.digest, "path": str(path)}
                found.append(spec)
        return found

    def _template(self, name: str) -> str | None:
        """Return the text of a template of the service or of all."""
        places = [root / f"{self.service}/files" for root in self._roots]
        places += [root / "_common" for root in self._roots]
        found = (place / name for place in places if (place / name).is_file())
        return next((path.read_text() for path in found), None)

    def _certificates(self, made: model.Cloud) -> dict[str, str]:
        """Return the certificates that the cloud needs, made once; :attr:`trust` then trusts them."""
        if certify(made, self.certificates):
            self.trust = ssl.create_default_context(cadata=self.certificates["ca"])
        return self.certificates

    def run(self, *command: str, stdin: str | None = None) -> str:
        """Run a command in the container and return its output; it must succeed."""
        done = self._call("container.exec", self.service, list(command), stdin=stdin)
        assert done["retcode"] == 0, done
        return done["stdout"]

    def kill(self, process: str) -> None:
        """Kill the server as a crash would; Docker's restart policy takes it from there."""
        top = self.api.top(self.container, ps_args="-eo pid,comm")
        numbers = [int(row[0]) for row in top["Processes"] if row[1] == process]
        assert numbers, top
        for number in numbers:
            os.kill(number, signal.SIGKILL)

    def _places(self) -> dict[str, str]:
        root = Path(self._loaded.opts["root_dir"])
        return {"log_dir": str(root / "build-log"), "state_dir": str(root / "build")}


def certify(made: model.Cloud, store: dict[str, str]) -> bool:
    """Add the certificates that a cloud needs and a store lacks; return whether there were any."""
    needed, now = demand.wanted(made), certificate_store.now()
    reasons = certificate_store.plan(needed, store, "", now, 0)
    if reasons:
        store |= authority.make(reasons, needed, {}, "", now)
    return bool(reasons)


def deliver(view: dict[str, Any], service: str, folder: Path) -> None:
    """Write a service's certificates where its containers see them, below a host's folder of all."""
    own = folder / service
    own.mkdir(parents=True, exist_ok=True)
    for name, (text, mode) in certificates.delivery(view, service).items():
        files.write(own / name, text, mode, view["formulas"][service]["uid"])


def tell(formula: dict[str, Any], context: scope.Context, call: Callable[..., Any]) -> None:
    """Do what the state ``accounts.present`` does where its marker is an older one.

    :param call: Calls an execution function of the host.
    """
    for task in tasks.of_phase(formula, "accounts").values():
        command = templates.resolve(task["command"], context)
        done = call("container.exec", task["container"], command)
        assert done["retcode"] in task.get("accepts", [0]), done


class Asking:
    """A client that asks up to ten times a second, in a thread, as long as the block lasts.

    Without a pause it would take the processors from what it watches.

    :param ask: Asks once; an exception is kept in :attr:`errors`.
    """

    def __init__(self, ask: Callable[[], Any]) -> None:
        self._ask = ask
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.answers = 0
        self.errors: list[str] = []

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def again(self) -> None:
        """Wait until it has been answered once more."""
        before = self.answers
        until(lambda: self.answers > before + 1, "the client is answered")

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self._ask()
                self.answers += 1
            except Exception as error:
                self.errors.append(repr(error))
            time.sleep(0.1)
