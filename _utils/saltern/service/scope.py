"""What templates see: the names that a service's templates and expressions can use."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote

from saltern import paths
from saltern.errors import SalternError
from saltern.service import balanced
from saltern.service.templates import Secret


@dataclass(frozen=True)
class Machine:
    """What only the host itself knows of it; templates see it as part of ``host``.

    :ivar cpus: Processors.
    :ivar memory_mb: Memory in MB.
    :ivar kvm: Its processors run virtual machines, and the kernel offers it.
    :ivar openvswitch_module: Its kernel has Open vSwitch's datapath.
    :ivar networks: Its network interfaces and their IPv4 addresses, as ``("eth0", "10.0.0.11/24")``.
    """

    cpus: int = 1
    memory_mb: int = 2048
    kvm: bool = False
    openvswitch_module: bool = False
    networks: tuple[tuple[str, str], ...] = ()


class Context(dict[str, Any]):
    """The names that a service's templates can use, made from the pillar key ``cloud``.

    :param cloud: Pillar key ``cloud`` of the host.
    :param service: The service whose templates are rendered.
    :param machine: Facts of the host; on the master, which does not know them, the smallest.
    """

    def __init__(
        self, cloud: Mapping[str, Any], service: str, machine: Machine = Machine()
    ) -> None:
        self._cloud = cloud
        self._service = service
        self._machine = machine
        # The whole cloud is named where rules are checked: on the master, which knows it.
        formula = cloud.get("formulas", {}).get(service, {})
        self._named: Mapping[str, list[str]] = formula.get("names", {"service": ["*"]})
        super().__init__(
            service=service,
            prefix="",
            cloud={key: one for key, one in cloud.items() if key not in ("hosts", "services")},
            host={**cloud["host"], **asdict(machine)},
            hosts=_Hosts(cloud.get("hosts", {}), self._named_or_refused),
            services=_Services(cloud["services"], self._named_or_refused),
            options=cloud["services"][service]["options"],
            addresses=self.addresses,
            role_addresses=self.role_addresses,
            enabled=lambda name: name in cloud["services"],
            endpoint=self.endpoint,
            own_url=self.own_url,
            backend=balanced.backend,
            backend_servers=balanced.servers,
            certificate=lambda name: f"{paths.TLS}/{name}.pem",
            secret=self.secret,
            former_secret=self.former_secret,
            account=self.account,
            is_retired=self.is_retired,
            database_url=self.database_url,
            transport_url=self.transport_url,
            memcached_servers=self.memcached_servers,
            workers=self.workers,
            interface=self.interface,
            interfaces_with=self.interfaces_with,
            auth_url=self.auth_url,
            port=self.port,
            servers=self.servers,
        )

    def addresses(self, service: str) -> list[str]:
        """Return the addresses of the hosts that run a service, in inventory order.

        :raises SalternError: This service does not name them.
        """
        facts = self["services"].get(service)
        return [self._cloud["hosts"][host]["address"] for host in facts["hosts"]] if facts else []

    def role_addresses(self, role: str) -> list[str]:
        """Return the addresses of the hosts with a role, in inventory order.

        :raises SalternError: This service does not name them.
        """
        self._named_or_refused("role", role)
        return [one["address"] for one in self._cloud["hosts"].values() if role in one["roles"]]

    def endpoint(self, service: str, interface: str = "internal", port: str | None = None) -> str:
        """Return the URL of a service through HAProxy, without a path.

        :param interface: ``internal``, ``public`` or ``admin`` (the internal address).
        :param port: Name of the port; default: the one named like the service, or its first.
        """
        facts = self._facts(service)
        name = port or (service if service in facts["ports"] else next(iter(facts["ports"])))
        side = "external" if interface == "public" else "internal"
        http = facts["ports"][name].get("frontend") == "http"
        scheme = "https" if http and self._cloud["tls"][side] else "http"
        return f"{scheme}://{self._cloud[f'{side}_name']}:{facts['ports'][name]['port']}"

    def own_url(self, port: str, number: str = "") -> str:
        """Return the URL of a port of this service on this very host, without a path.

        :param number: Instead of the port's.
        """
        one = self._facts(self._service)["ports"][port]
        scheme = "https" if self._cloud["tls"]["backend"] and one.get("tls") else "http"
        return f"{scheme}://{self._cloud['host']['address']}:{number or one['port']}"

    def secret(self, name: str) -> Any:
        """Return a secret, named ``service.name``.

        :raises SalternError: The service does not declare it, so this host does not have it.
        """
        known, key = self._secrets_with(name)
        if known[key] in (None, ""):
            raise SalternError(
                f"secret {name!r} has no value: run salt-run saltern.genpwd, or write it into "
                "secrets.yml if it comes from elsewhere (kind external)"
            )
        return _named(known[key], name)

    def former_secret(self, name: str) -> Any:
        """Return the value that a secret had before and that stays valid while it is rotated; else None.

        :raises SalternError: As for :meth:`secret`.
        """
        known, key = self._secrets_with(name)
        return _named(known.get(f"{key}.former"), name)

    def is_retired(self, name: str) -> bool:
        """Return whether the former value of a secret has just ended: its account is to go."""
        known, key = self._secrets_with(name)
        return f"{key}.retired" in known

    def _secrets_with(self, name: str) -> tuple[Mapping[str, Any], str]:
        """Return the secrets of the service that a name begins with, and the rest of the name."""
        owner, _, key = name.partition(".")
        known = self._cloud.get("secrets", {}).get(owner, {})
        if key not in known:
            raise SalternError(
                f"secret {name!r} is not declared in {self._where}: add it to uses_secrets"
            )
        return known, key

    def account(self, name: str, secret: str, former: bool = False) -> str:
        """Return the name of the account that a secret belongs to, of the two that take turns when it is rotated.

        :param name: Name of the first one.
        :param secret: Name of the secret.
        :param former: Instead, the other one: that of the former value, if there is one.
        """
        known, key = self._secrets_with(secret)
        second = bool(known.get(f"{key}.slot")) != former
        return f"{name}2" if second else name

    def database_url(self, service: str | None = None, name: str | None = None) -> str:
        """Return the SQLAlchemy URL of a service's database, through HAProxy."""
        service = service or self._service
        database = self._facts(service)["database"]
        user = database.get("user", database["name"])
        password = quote(self.secret(f"{service}.database_password"), safe="")
        server = provider(self._cloud, "database")
        port = self.port(server)
        encrypted = self._facts(server)["options"].get("tls")
        tls = f"&ssl_ca={paths.TLS}/ca.pem" if encrypted else ""
        address = self._cloud["internal_address"]
        return (
            f"mysql+pymysql://{user}:{password}@{address}:{port}/"
            f"{name or database['name']}?charset=utf8mb4{tls}"
        )

    def transport_url(self) -> str:
        """Return oslo.messaging's URL of all hosts of the broker."""
        broker = provider(self._cloud, "broker")
        password = quote(self.secret(f"{broker}.password"), safe="")
        account = f"{self.account('openstack', f'{broker}.password')}:{password}@"
        return f"rabbit://{','.join(self.servers(broker, scheme=account))}/"

    def memcached_servers(self) -> str:
        """Return ``address:port`` of all hosts of the cache, comma-separated."""
        cache = provider(self._cloud, "cache")
        return ",".join(self.servers(cache))

    def workers(self, most: int = 5) -> int:
        """Return how many processes an API gets on this host, at most ``most``.

        Half its processors, as a control host runs a dozen of APIs, and one per 4 GB of memory.
        """
        return max(1, min(most, self._machine.cpus // 2, self._machine.memory_mb // 4000))

    def interface(self, address: str) -> str:
        """Return the network interface of this host whose network holds an address.

        :raises SalternError: None does.
        """
        networks = (
            (ipaddress.ip_interface(own).network, name) for name, own in self._machine.networks
        )
        # An address without a network (/32) may be a moving one in a wrong place: such come last.
        for network, name in sorted(networks, key=lambda one: one[0].num_addresses == 1):
            if ipaddress.ip_address(address) in network:
                return name
        raise SalternError(f"{address} is in no network of this host: name its interface")

    def interfaces_with(self, address: str) -> list[str]:
        """Return the network interfaces of this host that have an address."""
        return [name for name, own in self._machine.networks if own.split("/")[0] == address]

    def auth_url(self) -> str:
        """Return the URL at which clients inside the cloud sign in."""
        service = provider(self._cloud, "identity")
        entry = self._facts(service)["identity"].get("services", {}).get(service, {})
        return self.endpoint(service) + entry.get("path", "")

    def port(self, service: str, name: str | None = None) -> int:
        """Return the number of a port of a service.

        :param name: Its name; default: the service's first.
        """
        ports = self._facts(service)["ports"]
        return ports[name or next(iter(ports))]["port"]

    def servers(self, service: str, port: str | None = None, scheme: str = "") -> list[str]:
        """Return ``address:port`` of every host of a service.

        :param port: As for :meth:`port`.
        :param scheme: What stands before each, as ``tcp:``.
        """
        number = self.port(service, port)
        return [f"{scheme}{address}:{number}" for address in self.addresses(service)]

    def _named_or_refused(self, kind: str, name: str) -> None:
        """Refuse hosts that this service does not name: this host knows them by chance, if at all."""
        named = self._named
        if "*" in named["service"] or name in named[kind]:
            return
        whose = {"*": "all hosts"}.get(name) or f"the hosts of {kind} {name}"
        word = f"{{role: {name}}}" if kind == "role" else '"*"' if name == "*" else name
        raise SalternError(
            f"{self._service} does not name {whose}: add {word} to names in {self._where}"
        )

    @property
    def _where(self) -> str:
        return f"formulas/{self._service}/service.yml"

    def _facts(self, service: str) -> Mapping[str, Any]:
        facts = self._cloud["services"].get(service)
        if facts is None:
            raise SalternError(
                f"{service} does not run in this cloud; {self._where} should require it"
            )
        return facts


def _named(value: Any, name: str) -> Any:
    """Return a secret's value; a text knows its name, for messages."""
    if isinstance(value, str):
        value = Secret(value)
        value.name = name
    return value


class _Services(Mapping[str, Any]):
    """The services as this one may know them."""

    def __init__(
        self, services: Mapping[str, Mapping[str, Any]], allowed: Callable[[str, str], None]
    ) -> None:
        self._services, self._allowed = services, allowed

    def __getitem__(self, service: str) -> _Facts:
        return _Facts(service, self._services[service], self._allowed)

    def __iter__(self) -> Iterator[str]:
        return iter(self._services)

    def __len__(self) -> int:
        return len(self._services)


class _Facts(dict[str, Any]):
    """What a host knows of a service; its hosts are for those that name them.

    :param allowed: Raises an error for what may not be known, see ``Context._named_or_refused``.
    """

    def __init__(
        self, service: str, facts: Mapping[str, Any], allowed: Callable[[str, str], None]
    ) -> None:
        super().__init__({key: one for key, one in facts.items() if key != "hosts"})
        self._service, self._hosts, self._allowed = service, facts.get("hosts"), allowed

    def __missing__(self, key: str) -> Any:
        if key != "hosts":
            raise KeyError(key)
        self._allowed("service", self._service)
        return self._hosts

    def get(self, key: str, default: Any = None) -> Any:
        """Return a fact, also the hosts."""
        return self[key] if key == "hosts" else super().get(key, default)


class _Hosts(Mapping[str, Any]):
    """The hosts that this host knows; all of them are for those that name all."""

    def __init__(
        self, hosts: Mapping[str, Mapping[str, Any]], allowed: Callable[[str, str], None]
    ) -> None:
        self._hosts, self._allowed = hosts, allowed

    def __getitem__(self, host: str) -> Mapping[str, Any]:
        if host not in self._hosts:
            self._allowed("service", "*")
        return self._hosts[host]

    def __iter__(self) -> Iterator[str]:
        self._allowed("service", "*")
        return iter(self._hosts)

    def __len__(self) -> int:
        self._allowed("service", "*")
        return len(self._hosts)


def provider(cloud: Mapping[str, Any], what: str) -> str:
    """Return the service of this cloud that provides something, see ``provides`` in ``service.yml``.

    :param cloud: Pillar key ``cloud``, or another map with its ``services``.
    :param what: Such as ``database``.
    :returns: Nothing if none does.
    """
    services = cloud["services"].items()
    return next((name for name, facts in services if what in facts.get("provides", ())), "")
