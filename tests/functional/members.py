"""Services on three hosts as a test deploys them: each host is a network namespace on a Docker network."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import clouds
import docker
import salt.loader
import yaml

from saltern.cloud import formulas, loading, model, secrets
from saltern.cloud.view import host_view
from saltern.run.formation import Actions, actions
from saltern.run.schedule import clustered
from saltern.service import generation, scope, states

from .services import NAMESPACE, certify, deliver, tell

HOSTS = ("one", "two", "three")


class Members:
    """Some services of a cloud of three control hosts.

    :ivar api: Docker's SDK, to look at what happens.
    :ivar certificates: The cloud's, by name.
    """

    def __init__(self, opts: Mapping[str, Any], image: str, services: tuple[str, ...]) -> None:
        self.api = docker.APIClient(version="auto")
        self.certificates: dict[str, str] = {}
        self._opts = opts
        self._prefix = opts["saltern"]["prefix"]
        self._image = image
        self._network = f"{self._prefix}network"
        self._catalog = {
            # Whatever switches it on otherwise may not be among them.
            name: {**one, "enabled": True}
            for name, one in formulas.load([clouds.ROOT / "formulas"]).items()
            if name in services
        }
        self._secrets, _ = secrets.fill(self._catalog, {})
        self._subnet = self._make_network()

    def address(self, host: str) -> str:
        """Return a host's address."""
        return f"{self._subnet}.{11 + HOSTS.index(host)}"

    @property
    def vip(self) -> str:
        """Return the internal address."""
        return f"{self._subnet}.9"

    def secret(self, name: str) -> str:
        """Return a secret, named ``service.name``."""
        service, _, key = name.partition(".")
        return self._secrets[service][key]

    def renew(self, service: str, name: str) -> None:
        """Begin to rotate a secret."""
        declaration = self._catalog[service]["secrets"][name]
        self._secrets = secrets.renew(self._secrets, service, name, declaration)

    def end(self, service: str, name: str) -> None:
        """End the old value of a secret."""
        self._secrets = secrets.retire(self._secrets, service, name)

    def cloud(self, hosts: tuple[str, ...] = HOSTS, **pillar: Any) -> model.Cloud:
        """Return the cloud of a pillar on some of the hosts."""
        made = loading.load(
            {
                "saltern": {
                    "images": {"namespace": NAMESPACE},
                    "internal_address": self.vip,
                    "services": {name: {"enabled": True} for name in self._catalog},
                    "hosts": {
                        name: {"address": self.address(name), "roles": ["control"]}
                        for name in hosts
                    },
                },
                **pillar,
            },
            self._catalog,
        )
        assert not made.problems, made.problems
        return made

    def deploy(self, service: str, made: model.Cloud) -> Actions | None:
        """Do what orch.deploy does for one service; return what was decided of its clusters."""
        hosts = tuple(made.placement[service])
        if "clusters" not in made.catalog[service] or len(hosts) == 1:
            for host in hosts:
                self.apply(host, made, service)
            return None
        facts = {host: self.call(host, made, "cluster.members", [service]) for host in hosts}
        todo = actions({service: clustered(made)[service]}, facts, hosts)
        for host, lost in todo.forget.items():
            self.call(host, made, "cluster.forget", lost)
        for host, arguments in todo.prepare.items():
            self.call(host, made, "cluster.prepare", **arguments)
        for host in todo.orders.get(service, hosts):
            self.apply(host, made, service)
        return todo

    def apply(self, host: str, made: model.Cloud, service: str) -> None:
        """Write the configuration of a service on one host and make its containers run."""
        view, context = self._view(host, made, service)
        formula = view["formulas"][service]
        own: dict[str, str] | None = None
        if formula.get("config"):
            written = generation.render(service, formula, clouds.source(service), context)
            folder = Path(self._opts["saltern"]["etc"]) / host / "services" / service
            own = {"digest": written.digest, "path": str(generation.write(folder, written))}
        for body in states.states(service, view, context).values():
            for function, arguments in body.items():
                if function == "accounts.present":
                    tell(formula, context, functools.partial(self.call, host, None))
                if function != "container.running":
                    continue
                spec = {key: value for one in arguments for key, value in one.items()}
                spec.pop("require", None)
                if own:
                    spec["generation"] = own
                spec["network_mode"] = "container:net"
                self.call(host, None, "container.running", **spec)

    def call(
        self, host: str, made: model.Cloud | None, function: str, *args: Any, **kwargs: Any
    ) -> Any:
        """Call an execution function of the product on a host, with its pillar."""
        modules, memory = self._loader(host, {"cloud": self._view(host, made)[0]} if made else {})
        memory["saltern.pillar"] = True
        return modules[function](*args, **kwargs)

    def run(self, host: str, container: str, *command: str) -> str:
        """Run a command in a container and return its output; it must succeed."""
        done = self.call(host, None, "container.exec", container, list(command))
        assert done["retcode"] == 0, done
        return done["stdout"]

    def name(self, host: str, container: str) -> str:
        """Return the full name of a container."""
        return f"{self._prefix}{host}-{container}"

    def healthy(self, host: str, container: str) -> bool:
        """Return whether a container's health check is content."""
        state = self.api.inspect_container(self.name(host, container))["State"]
        return state["Running"] and state["Health"]["Status"] == "healthy"

    def lose(self, host: str, container: str) -> None:
        """Take a container and its volumes away, as a host that got a new disk."""
        self.call(host, None, "container.absent", container, volumes=True)

    def top(self, host: str, container: str) -> list[tuple[int, str]]:
        """Return the processes of a container: number on this machine, name."""
        rows = self.api.top(self.name(host, container), ps_args="-eo pid,comm")["Processes"]
        return [(int(row[0]), row[1]) for row in rows]

    def remove(self) -> None:
        """Remove the hosts with all that runs on them, and their network."""
        for one in self.api.containers(all=True, filters={"name": f"^/{self._prefix}"}):
            self.api.remove_container(one["Id"], force=True, v=True)
        self.api.remove_network(self._network)

    def _make_network(self) -> str:
        """Make the network and a namespace on it for each host; return its first three numbers."""
        for number in range(100, 200):
            subnet = f"10.213.{number}"
            pool = docker.types.IPAMPool(subnet=f"{subnet}.0/24")
            config = docker.types.IPAMConfig(pool_configs=[pool])
            try:
                self.api.create_network(self._network, ipam=config)
                break
            except docker.errors.APIError as error:
                if "overlaps" not in str(error):
                    raise
        forever = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"]
        for host in HOSTS:
            at = self.api.create_endpoint_config(ipv4_address=f"{subnet}.{11 + HOSTS.index(host)}")
            made = self.api.create_container(
                self._image,
                forever,
                name=self.name(host, "net"),
                networking_config=self.api.create_networking_config({self._network: at}),
                host_config=self.api.create_host_config(network_mode=self._network),
            )
            self.api.start(made)
        return subnet

    def _view(
        self, host: str, made: model.Cloud, service: str | None = None
    ) -> tuple[dict[str, Any], scope.Context | None]:
        users = yaml.safe_load((clouds.ROOT / "images/users.yml").read_text())
        certify(made, self.certificates)
        stored = {**self._secrets, "certificates": self.certificates}
        view = host_view(made, host, stored, users, clouds.TAGS)
        if not service:
            return view, None
        networks = (("eth0", f"{self.address(host)}/24"),)
        machine = scope.Machine(cpus=2, memory_mb=4096, networks=networks)
        context = scope.Context(view, service, machine)
        context["certificates"] = str(Path(self._opts["saltern"]["var"], host, "certificates"))
        if "certificates" in view["formulas"][service]:
            deliver(view, service, Path(context["certificates"]))
        return view, context

    def _loader(self, host: str, pillar: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Return the execution modules of a host's minion and their context."""
        own = self._opts["saltern"]
        opts = {
            **self._opts,
            "id": host,
            "pillar": dict(pillar),
            "file_roots": {"base": [str(clouds.ROOT / "formulas")]},
            "saltern": {**own, "prefix": f"{self._prefix}{host}-", "etc": f"{own['etc']}/{host}"},
        }
        memory: dict[str, Any] = {}
        utils = salt.loader.utils(opts, context=memory)
        return salt.loader.minion_mods(opts, utils=utils, context=memory), memory
