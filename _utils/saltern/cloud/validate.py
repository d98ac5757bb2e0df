"""What is wrong with a pillar: every problem at once, before anything is changed."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import Any

from saltern import problems
from saltern.cloud import overrides, references
from saltern.cloud.formulas import Catalog
from saltern.cloud.model import Cloud
from saltern.errors import SalternError
from saltern.images import options as image_options
from saltern.problems import Problem
from saltern.service import templates
from saltern.service.scope import Context

ROLES = ("control", "network", "compute", "storage", "monitoring")
# What a service's pillar may hold beside the options that its service.yml declares.
OF_SERVICES = {
    "config": {
        "type": "object",
        "additionalProperties": True,
        "description": "file: what to merge into it",
    },
    "containers": {
        "type": "object",
        "additionalProperties": {"type": "object", "description": "fields of its spec to override"},
        "description": "container: fields of its spec to override",
    },
    "serial": {
        "type": "integer",
        "minimum": 0,
        "description": "Hosts changed together after the first one; 0 is all",
    },
    "max_failures": {
        "type": "integer",
        "minimum": 0,
        "description": "Hosts that may fail before a run stops; 0 stops at the first",
    },
}


def shapes(pillar: Mapping[str, Any], catalog: Catalog, schema: dict[str, Any]) -> list[Problem]:
    """Return what of a pillar is not of the form that everything else relies on.

    :param pillar: Any data.
    :param catalog: Every known service, enabled or not.
    :param schema: JSON Schema of the key ``saltern``.
    """
    raw = pillar.get("saltern")
    if isinstance(raw, Mapping):
        wrong = problems.check(dict(raw), schema, "saltern") or _control_characters(raw, "saltern")
    else:
        like = problems.nearest("saltern", pillar, 0.8)
        remedy = f"Is it {like!r}? " if like and like != "saltern" else ""
        what = "is missing" if raw is None else f"found {raw!r}"
        wrong = [
            Problem("saltern", what, f"{remedy}Describe the cloud below it, see docs/pillar.md")
        ]
    for name, value in pillar.items():
        if name in catalog:
            wrong += _check_service(name, {} if value is None else value, catalog[name])
        elif name not in ("saltern", "cloud") and problems.nearest(
            name, ["saltern", *catalog], 0.8
        ):
            wrong.append(problems.unknown(name, name, ["saltern", *catalog], "service"))
    return wrong


def problems_of(cloud: Cloud, catalog: Catalog, releases: Iterable[str] | None) -> list[Problem]:
    """Return what is wrong with a cloud whose pillar has the right :func:`shapes`.

    :param cloud: The cloud without its problems.
    :param catalog: Every known service, enabled or not.
    :param releases: Releases for which images can be made; None accepts any.
    """
    roles = {*ROLES, *cloud.settings["roles"]}
    wrong = [
        *references.problems_of(catalog, roles),
        *image_options.problems(cloud.settings["images"]),
        *_check_release(cloud.settings, releases),
        *_check_addresses(cloud.settings),
        *_check_tls(cloud.settings),
        *_check_roles(cloud.settings, roles),
        *_check_placement(cloud, catalog),
        *_check_clusters(cloud),
        *_check_host_options(cloud.hosts, catalog),
    ]
    return wrong or [*_check_ports(cloud), *_check_networks(cloud), *_check_rules(cloud)]


def warnings_of(cloud: Cloud) -> list[Problem]:
    """Return what is allowed but seldom meant, of a cloud without problems."""
    return [*_even_clusters(cloud), *_placed_nowhere(cloud), *_check_rules(cloud, warnings=True)]


def _check_release(settings: Mapping[str, Any], releases: Iterable[str] | None) -> list[Problem]:
    known = None if releases is None else list(releases)
    if known is None or settings["release"] in known:
        return []
    return [problems.unknown("saltern:release", settings["release"], known, "release")]


def _check_addresses(settings: Mapping[str, Any]) -> list[Problem]:
    wrong = []
    named = {
        f"saltern:hosts:{name}:address": host["address"] for name, host in settings["hosts"].items()
    }
    # Hosts that are processes of one machine may all be on its loopback.
    apart = len(named) > 1 and not all(map(_is_loopback, named.values()))
    named["saltern:internal_address"] = settings["internal_address"]
    if settings["external_address"] != settings["internal_address"]:
        named["saltern:external_address"] = settings["external_address"]
    seen: dict[str, str] = {}
    for key, address in named.items():
        if apart and _is_loopback(address):
            what = f"{address} is every host's own (loopback), and there are several hosts"
            wrong.append(Problem(key, what, "Write an address of the network that connects them"))
        elif key.startswith("saltern:hosts:"):
            if address in seen:
                wrong.append(
                    Problem(key, f"{address} is also {seen[address]}", "Give each its own")
                )
            seen[address] = key
        elif seen.get(address, "").startswith("saltern:hosts:"):
            remedy = "HAProxy and the services behind it need an address each: choose a free one"
            wrong.append(Problem(key, f"{address} is also {seen[address]}", remedy))
    return wrong


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


def _check_tls(settings: Mapping[str, Any]) -> list[Problem]:
    tls, address = settings["tls"], settings["external_address"]
    if tls["external"] == tls["internal"] or address != settings["internal_address"]:
        return []
    one, other = sorted(("external", "internal"), key=lambda side: not tls[side])
    what = f"is true and saltern:tls:{other} is not, but both have the address {address}"
    remedy = f"Give saltern:external_address its own, or set saltern:tls:{other}, too"
    return [Problem(f"saltern:tls:{one}", what, remedy)]


def _check_roles(settings: Mapping[str, Any], known: set[str]) -> list[Problem]:
    used = [
        (f"saltern:hosts:{name}:roles", host["roles"]) for name, host in settings["hosts"].items()
    ]
    used += [
        (f"saltern:services:{name}:roles", one["roles"])
        for name, one in settings["services"].items()
        if "roles" in one
    ]
    return [
        problems.unknown(key, role, known, "role")
        for key, roles in used
        for role in roles
        if role not in known
    ]


def _check_placement(cloud: Cloud, catalog: Catalog) -> list[Problem]:
    wrong = []
    for name, one in cloud.settings["services"].items():
        key = f"saltern:services:{name}"
        if name not in catalog:
            wrong.append(problems.unknown(key, name, catalog, "service"))
        for host in one.get("hosts", []):
            if host not in cloud.hosts:
                wrong.append(problems.unknown(f"{key}:hosts", host, cloud.hosts, "host"))
    for name, hosts in cloud.placement.items():
        for needed in cloud.catalog[name].get("requires", []) if hosts else []:
            if needed not in catalog:
                continue  # of which references.py tells
            if needed not in cloud.catalog:
                key = f"saltern:services:{needed}:enabled"
                wrong.append(Problem(key, f"is false, but {name} requires it", "Enable it"))
            elif not cloud.placement[needed]:
                roles = ", ".join(cloud.catalog[needed].get("roles", []))
                what = f"no host runs {needed}, which {name} requires"
                remedy = f"Give a host one of its roles: {roles}"
                wrong.append(Problem("saltern:hosts", what, remedy))
    return wrong


def _check_ports(cloud: Cloud) -> list[Problem]:
    """Check that no two services of a host have the same port; an API has a spare one beside its own."""
    held = [
        (port[key], bool(port.get("local")), name, label, key)
        for name in cloud.placement
        for label, port in cloud.catalog[name].get("ports", {}).items()
        for key in ("port", "spare")
        if key in port
    ]
    wrong = []
    for one, other in combinations(sorted(held), 2):
        shared = set(cloud.placement[one[2]]) & set(cloud.placement[other[2]])
        if one[:2] == other[:2] and shared:
            number, _, name, label, key = other
            what = f"{number} is also the {one[4]} of {one[3]} of {one[2]}, on {min(shared)}"
            remedy = "Write another one; that of an API stands below `apis`, its spare one is 10000 above it unless written"
            wrong.append(Problem(f"formulas/{name}/service.yml:ports:{label}:{key}", what, remedy))
    return wrong


def _check_clusters(cloud: Cloud) -> list[Problem]:
    """Check that no limit of a run takes more than one member of a cluster away."""
    wrong = []
    for name, hosts in cloud.placement.items():
        given = (
            cloud.overrides[name] if "clusters" in cloud.catalog[name] and len(hosts) > 1 else {}
        )
        remedy = "Leave it out: members of a cluster change one after the other"
        if given.get("serial", 1) != 1:
            together = f"{given['serial']} members" if given["serial"] else "all other members"
            what = (
                f"is {given['serial']}: {together} away at a time would split the cluster of {name}"
            )
            wrong.append(Problem(f"{name}:serial", what, remedy))
        if given.get("max_failures"):
            what = (
                f"is {given['max_failures']}: to go on where a member has failed would split the "
                f"cluster of {name}"
            )
            wrong.append(Problem(f"{name}:max_failures", what, remedy))
    return wrong


def _check_service(name: str, value: Any, formula: Mapping[str, Any]) -> list[Problem]:
    schema_ = {
        "type": "object",
        "additionalProperties": False,
        "properties": {**formula.get("options", {}), **OF_SERVICES},
        "description": "options of the service, config, containers, serial and max_failures",
    }
    wrong = problems.check(value, schema_, name)
    if wrong:
        return wrong
    options = {key: one for key, one in value.items() if key not in OF_SERVICES}
    wrong = _control_characters(options, name)
    for part, check in (("config", overrides.of_file), ("containers", overrides.of_container)):
        kind = {"config": "file", "containers": "container"}[part]
        known = formula.get(part, {})
        for one, given in value.get(part, {}).items():
            key = f"{name}:{part}:{one}"
            if one in known:
                wrong += check(key, known[one], given, formula)
            else:
                wrong.append(problems.unknown(key, one, known, kind))
    return wrong


def _control_characters(value: Any, key: str) -> list[Problem]:
    """Check that no text holds a character, such as the end of a line, that would break a file."""
    if isinstance(value, Mapping):
        return [
            one
            for name, below in value.items()
            for one in _control_characters(below, f"{key}:{name}")
        ]
    if isinstance(value, list):
        return [one for below in value for one in _control_characters(below, key)]
    if isinstance(value, str) and not value.isprintable():
        return [Problem(key, f"{value!r} has a control character", "Write one line of plain text")]
    return []


def _check_host_options(hosts: Mapping[str, Any], catalog: Catalog) -> list[Problem]:
    wrong = []
    for host, data in hosts.items():
        key = f"saltern:hosts:{host}:options"
        for service, given in data.get("options", {}).items():
            if service not in catalog:
                wrong.append(problems.unknown(f"{key}:{service}", service, catalog, "service"))
                continue
            declared = catalog[service].get("options", {})
            schema = {"type": "object", "additionalProperties": False, "properties": declared}
            wrong += problems.check(given, schema, f"{key}:{service}")
            wrong += _control_characters(given, f"{key}:{service}")
    return wrong


def _check_networks(cloud: Cloud) -> list[Problem]:
    """Check that the networks of options do not overlap, nor hold an address of the cloud."""
    networks = [
        (f"{service}:{option}", ipaddress.IPv4Interface(value).network)
        for service in cloud.services
        for option, value in cloud.formatted(service, "ipv4-network")
    ]
    remedy = "Choose networks that are nowhere else in use"
    wrong = [
        Problem(key, f"{network} overlaps {other} ({other_key})", remedy)
        for (other_key, other), (key, network) in combinations(networks, 2)
        if network.overlaps(other)
    ]
    addresses = {
        f"saltern:hosts:{name}:address": one["address"] for name, one in cloud.hosts.items()
    }
    addresses |= {
        f"saltern:{key}": cloud.settings[key] for key in ("internal_address", "external_address")
    }
    wrong += [
        Problem(key, f"{network} holds {address} ({other})", remedy)
        for key, network in networks
        for other, address in addresses.items()
        if ipaddress.ip_address(address) in network
    ]
    return wrong


def _even_clusters(cloud: Cloud) -> list[Problem]:
    """Tell of clusters whose last host adds nothing but a way to fail."""
    sizes: dict[int, list[str]] = {}
    for service in cloud.services:
        size = len(cloud.placement[service])
        if cloud.catalog[service].get("clusters") and size % 2 == 0:
            sizes.setdefault(size, []).append(service)
    return [
        Problem(
            "saltern:hosts",
            f"{', '.join(names)}: a cluster of {size} hosts stands the loss of {size // 2 - 1}, "
            f"as one of {size - 1} does: more than half must be up",
            f"Use {size + 1} hosts, or {size - 1}",
        )
        for size, names in sizes.items()
    ]


def _placed_nowhere(cloud: Cloud) -> list[Problem]:
    """Tell of services that are on and have no host."""
    placed = cloud.settings["services"]
    wrong = []
    for service, formula in cloud.catalog.items():
        roles = placed.get(service, {}).get("roles", formula.get("roles", []))
        if roles and not cloud.placement[service]:
            what = f"{service} is on, but no host has a role that runs it ({', '.join(roles)})"
            remedy = f"Give it a host, or say that it is off: saltern:services:{service}:enabled"
            wrong.append(Problem("saltern:hosts", what, remedy))
    return wrong


def _check_rules(cloud: Cloud, warnings: bool = False) -> list[Problem]:
    """Check the rules of services once for all hosts whose roles and own options are the same.

    :param warnings: Check those rules that only warn, rather than those that refuse.
    """

    def option_values(service: str, option: str) -> list[Any]:
        return [cloud.options(service, host)[option] for host in cloud.placement.get(service, [])]

    def kinds(hosts: Iterable[str]) -> Iterable[str]:
        differences = ("roles", "options")
        return {
            repr([cloud.hosts[one].get(key) for key in differences]): one for one in hosts
        }.values()

    wrong: dict[Problem, None] = {}
    for service in cloud.services:
        for rule in cloud.catalog[service].get("rules", []):
            if rule.get("warning", False) != warnings:
                continue
            for host in kinds(cloud.placement[service]):
                names = Context(cloud.outline(host), service)
                names["option_values"] = option_values
                try:
                    wrong |= dict.fromkeys(_broken(rule, names))
                except SalternError as error:
                    raise SalternError(f"formulas/{service}/service.yml: rules: {error}") from error
    return list(wrong)


def _broken(rule: Mapping[str, str], names: Context) -> Iterator[Problem]:
    """Yield a problem for each item of which a rule does not hold; a rule without `each` has one."""
    if not templates.holds(rule.get("when", "true"), names):
        return
    for item in templates.evaluate(rule["each"], names) if "each" in rule else [None]:
        if not templates.holds(rule["holds"], {**names, "item": item}):
            said = {"what": rule["what"], "remedy": rule["remedy"]}
            yield Problem(rule["key"], **templates.resolve(said, {**names, "item": item}))
