"""What a host must be able to do before it is deployed to: decisions over facts it has gathered."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from saltern.host.checks import Check, check
from saltern.images.names import image_name, images_of
from saltern.service import scope
from saltern.tls import authority
from saltern.tls import store as certs

# Docker 20.10: `--cgroupns`, and the API version that containers are made with.
_DOCKER = (20, 10)
_ANY = ("0.0.0.0", "::", "*")


@dataclass(frozen=True)
class Listener:
    """A listening TCP socket of the host and whose it is.

    :ivar ours: It belongs to a container of Saltern.
    """

    address: str
    port: int
    owner: str
    ours: bool


def wanted_ports(cloud: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """Return what the host's services will listen on: service, address, port.

    :param cloud: Pillar key ``cloud`` of the host.
    """
    own, internal = cloud["host"]["address"], cloud["internal_address"]
    balancer = scope.provider(cloud, "load_balancer")
    wanted = set()
    for name, facts in cloud["services"].items():
        for port in facts["ports"].values():
            if name in cloud["formulas"]:
                address = "127.0.0.1" if port.get("local") else own
                numbers = [port[key] for key in ("port", "spare") if key in port]
                wanted.update((name, address, number) for number in numbers)
            if balancer in cloud["formulas"] and port.get("frontend", "none") != "none":
                wanted.add((balancer, internal, port["port"]))
                if port.get("external"):
                    wanted.add((balancer, cloud["external_address"], port["port"]))
    return sorted(wanted)


def ports(cloud: Mapping[str, Any], listeners: Iterable[Listener]) -> Check:
    """Check that every wanted port is free or held by one of our containers."""
    listeners = list(listeners)
    wanted = wanted_ports(cloud)
    taken = [
        f"{address}:{port} ({service}) is held by {one.owner}"
        for service, address, port in wanted
        for one in listeners
        if one.port == port and one.address in (address, *_ANY) and not one.ours
    ]
    found = "; ".join(taken) or f"{len(wanted)} ports are free or ours"
    return check("ports", not taken, found, "Stop that program or let it listen elsewhere")


def docker(version: str, cgroup: str, error: str = "") -> Check:
    """Check that Docker answers and is new enough.

    :param version: Such as ``20.10.24``.
    :param cgroup: Version and driver, for people.
    :param error: Why Docker does not answer.
    """
    if error:
        return check("docker", False, error, "Install and start Docker: make setup does it")
    numbers = tuple(int(one) for one in version.split("+")[0].split(".")[:2] if one.isdigit())
    wanted = ".".join(map(str, _DOCKER))
    return check(
        "docker", numbers >= _DOCKER, f"{version}, {cgroup}", f"{wanted} or newer is needed"
    )


def disk(path: str, free_bytes: float, limit_gb: float) -> Check:
    """Check the free space where Docker keeps its data."""
    free = free_bytes / 1e9
    remedy = f"Free some, or lower saltern:limits:disk_gb ({limit_gb:g})"
    return check("disk", free >= limit_gb, f"{free:.1f} GB free in {path}", remedy)


def memory(total_mb: float, limit_mb: float) -> Check:
    """Check the host's memory."""
    remedy = f"Add some, or lower saltern:limits:memory_mb ({limit_mb:g})"
    return check("memory", total_mb >= limit_mb, f"{total_mb:.0f} MB", remedy)


def address(cloud: Mapping[str, Any], present: Iterable[str]) -> Check:
    """Check that the host has its address, and the cloud's if it is the only one to have them."""
    wanted = {f"saltern:hosts:{cloud['host']['id']}:address": cloud["host"]["address"]}
    balancer = scope.provider(cloud, "load_balancer")
    if balancer in cloud["formulas"] and not cloud["services"][balancer]["several"]:
        wanted |= {f"saltern:{key}": cloud[key] for key in ("internal_address", "external_address")}
    there = set(present)
    # The kernel accepts all of 127.0.0.0/8, named or not.
    missing = [
        f"{value} ({key})"
        for key, value in wanted.items()
        if value not in there and not value.startswith("127.")
    ]
    found = f"not on any interface: {', '.join(missing)}" if missing else "present"
    return check("address", not missing, found, "Correct the pillar or give the host that address")


def vip(cloud: Mapping[str, Any], networks: Iterable[str]) -> Check:
    """Check that the addresses that move between hosts belong to a network of this one.

    :param networks: Of the host's interfaces, as ``10.0.0.11/24``.
    """
    here = [ipaddress.ip_interface(one).network for one in networks]
    shared = [
        f"saltern:{key} ({cloud[key]})"
        for key in ("internal_address", "external_address")
        if scope.provider(cloud, "load_balancer") in cloud["formulas"]
        and not cloud[key].startswith("127.")
        and not any(ipaddress.ip_address(cloud[key]) in network for network in here)
    ]
    found = f"in no network of this host: {', '.join(shared)}" if shared else "in its networks"
    return check("vip", not shared, found, "Choose free addresses of a network of the hosts")


def interfaces(wanted: Mapping[str, str], present: Iterable[str]) -> Check:
    """Check that the network interfaces named by options exist.

    :param wanted: Pillar key to name.
    """
    there = set(present)
    missing = [f"{name} ({key})" for key, name in wanted.items() if name not in there]
    found = f"do not exist: {', '.join(missing)}" if missing else "exist"
    remedy = f"Correct the pillar. This host has: {', '.join(sorted(there))}"
    return check("interfaces", not missing, found, remedy)


def declared(
    formulas: Mapping[str, Mapping[str, Any]],
    exists: Callable[[str], bool],
    holds: Callable[[str, str], bool],
    runs: Callable[[str], bool],
) -> list[Check]:
    """Check what services need of their host, a row for each thing that is missing.

    :param exists: Whether a path exists.
    :param holds: Whether an expression holds: takes the service and the expression.
    :param runs: Whether the host itself runs a program of this name.
    """
    rows = []
    for name, formula in formulas.items():
        for one in formula["prechecks"]:
            path, expression = one.get("path"), one.get("holds")
            if path and not exists(path):
                rows.append(check(name, False, f"{path} does not exist", one["remedy"]))
            if expression and not holds(name, expression):
                found = one.get("what") or f"requirement not met: {expression}"
                rows.append(check(name, False, found, one["remedy"]))
            if running := [program for program in one.get("none_runs", []) if runs(program)]:
                found = f"the host itself runs {', '.join(running)}"
                rows.append(check(name, False, found, one["remedy"]))
    return rows


def certificates(cloud: Mapping[str, Any], now: datetime) -> list[Check]:
    """Check the certificates that the host is given: names, dates, keys; no row without TLS.

    :param now: The host's time, with its zone.
    """
    needed = {name: authority.Names(tuple(names)) for name, names in cloud["certificates"].items()}
    held = {name: text for name, text in cloud["secrets"].get("certificates", {}).items() if text}
    wrong = certs.problems({one: needed[one] for one in needed if one != "ca"}, held, now)
    found = "; ".join(f"{one.key}: {one.what}" for one in wrong) or f"{len(held)} are valid"
    remedy = "; ".join(dict.fromkeys(one.remedy for one in wrong))
    return [check("certificates", not wrong, found, remedy)] if needed else []


def names(cloud: Mapping[str, Any], resolved: Mapping[str, str | None]) -> Check:
    """Check that names resolve: this host's own and the ids of those that it knows.

    :param resolved: Name to the address found, None if there is none.
    """
    wrong = [f"{name} does not resolve" for name, found in resolved.items() if not found]
    remedy = f"Add to /etc/hosts of {cloud['host']['id']} or to the DNS"
    return check("names", not wrong, "; ".join(wrong) or "resolve", remedy)


def nameservers(text: str) -> list[str]:
    """Return the DNS servers of a ``resolv.conf``."""
    words = (line.split() for line in text.splitlines())
    return [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]


def dns(host: Iterable[str], containers: Mapping[str, str]) -> Check:
    """Check that containers have the host's DNS servers: Docker copies them when a container starts.

    :param host: Texts of the host's ``resolv.conf``; Docker leaves out a resolver of the host's own.
    :param containers: Name to the text of the container's.
    """
    wanted = [nameservers(text) for text in host]
    old = [name for name, text in sorted(containers.items()) if nameservers(text) not in wanted]
    found = f"still have other DNS servers than the host: {', '.join(old)}" if old else "the host's"
    remedy = "Restart them one after the other, such as: salt HOST container.restart NAME"
    return check("dns", not old, found, remedy)


def images(cloud: Mapping[str, Any], present: Iterable[str]) -> Check:
    """Check that every image is here or can be pulled."""
    here = set(present)
    missing = sorted(name for name in image_names(cloud) if name not in here)
    registry = cloud["images"].get("registry")
    if missing and registry:
        return check("images", True, f"{len(missing)} to be pulled from {registry}")
    found = f"not here: {', '.join(missing)}" if missing else "all here"
    remedy = "Build them: salt-run image.build; or name a registry: saltern:images:registry"
    return check("images", not missing, found, remedy)


def image_names(cloud: Mapping[str, Any], services: Iterable[str] | None = None) -> set[str]:
    """Return the full names of the images that the host's services use.

    :param services: Names of services; None is all of the host's.
    """
    chosen = cloud["formulas"] if services is None else services
    used = set()
    for name in chosen:
        formula = cloud["formulas"][name]
        used |= set(images_of(formula))
    return {image_name(cloud, image) for image in used}


def clock(sent: float, host: float, received: float, limit: float) -> Check:
    """Check a host's clock against the master's.

    The host's time lies between question and answer if the clocks agree; what it lies outside of
    that is the least that they differ.

    :param sent: When the master asked, in seconds since the epoch by its clock; ``received`` alike.
    :param host: The host's clock in between.
    :param limit: Seconds that are accepted.
    """
    offset = min(0.0, host - sent) + max(0.0, host - received)
    remedy = "Synchronise both by NTP (chrony), or raise saltern:limits:clock_offset_s"
    return check("clock", abs(offset) <= limit, f"{offset:+.1f} s against the master", remedy)
