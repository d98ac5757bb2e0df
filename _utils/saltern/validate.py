"""What is wrong with a pillar: every problem at once, before anything is changed."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

from saltern import problems, templates
from saltern.errors import SalternError
from saltern.formulas import Catalog
from saltern.images import options as image_options
from saltern.problems import Problem
from saltern.templates import Context

if TYPE_CHECKING:
    from saltern.cloud import Cloud

ROLES = ("control", "network", "compute", "storage", "monitoring")
# What a service's pillar may hold beside the options that its service.yml declares.
_COMMON = {
    "config": {
        "type": "object",
        "additionalProperties": True,
        "description": "file: what to merge into it",
    },
    "containers": {
        "type": "object",
        "additionalProperties": {"type": "object"},
        "description": "container: fields of its spec to override",
    },
}


def problems_of(
    cloud: Cloud,
    pillar: Mapping[str, Any],
    catalog: Catalog,
    releases: Iterable[str] | None,
) -> list[Problem]:
    """Return what is wrong with a cloud whose key ``saltern`` has passed its schema.

    :param cloud: The cloud without its problems.
    :param pillar: The pillar that it was made of.
    :param catalog: Every known service, enabled or not.
    :param releases: Releases for which images can be made; None accepts any.
    """
    wrong = [
        *image_options.problems(cloud.settings["images"]),
        *_check_release(cloud.settings, releases),
        *_check_addresses(cloud.settings),
        *_check_roles(cloud.settings, catalog),
        *_check_placement(cloud, catalog),
        *_check_services(pillar, catalog),
        *_check_host_options(cloud.hosts, catalog),
    ]
    return wrong or [*_check_networks(cloud), *_check_rules(cloud)]


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
    named["saltern:internal_address"] = settings["internal_address"]
    if settings["external_address"] != settings["internal_address"]:
        named["saltern:external_address"] = settings["external_address"]
    seen: dict[str, str] = {}
    for key, address in named.items():
        try:
            ipaddress.ip_address(address)
        except ValueError:
            wrong.append(
                Problem(key, f"{address!r} is not an IP address", "Write one, as 10.0.0.11")
            )
            continue
        if key.startswith("saltern:hosts:"):
            if address in seen:
                wrong.append(
                    Problem(key, f"{address} is also {seen[address]}", "Give each its own")
                )
            seen[address] = key
        elif seen.get(address, "").startswith("saltern:hosts:"):
            remedy = "HAProxy and the services behind it need an address each: choose a free one"
            wrong.append(Problem(key, f"{address} is also {seen[address]}", remedy))
    return wrong


def _check_roles(settings: Mapping[str, Any], catalog: Catalog) -> list[Problem]:
    known = {*ROLES, *settings["roles"]}
    known |= {role for formula in catalog.values() for role in formula["roles"]}
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
                what = f"formulas/{name}/service.yml requires the unknown service {needed!r}"
                wrong.append(Problem(f"saltern:services:{name}", what, "Correct it"))
            elif needed not in cloud.catalog:
                key = f"saltern:services:{needed}:enabled"
                wrong.append(Problem(key, f"is false, but {name} requires it", "Enable it"))
            elif not cloud.placement[needed]:
                roles = ", ".join(cloud.catalog[needed]["roles"])
                what = f"no host runs {needed}, which {name} requires"
                remedy = f"Give a host one of its roles: {roles}"
                wrong.append(Problem("saltern:hosts", what, remedy))
    return wrong


def _check_services(pillar: Mapping[str, Any], catalog: Catalog) -> list[Problem]:
    wrong = []
    for name, value in pillar.items():
        if name in catalog:
            wrong += _check_service(name, value, catalog[name])
        elif name not in ("saltern", "cloud") and problems.nearest(name, catalog, 0.8):
            wrong.append(problems.unknown(name, name, catalog, "service"))
    return wrong


def _check_service(name: str, value: Any, formula: Mapping[str, Any]) -> list[Problem]:
    schema_ = {
        "type": "object",
        "additionalProperties": False,
        "properties": {**formula.get("options", {}), **_COMMON},
    }
    wrong = problems.check(value or {}, schema_, name)
    if wrong:
        return wrong
    for part in ("config", "containers"):
        kind = {"config": "file", "containers": "container"}[part]
        known = formula.get(part, {})
        for one in (value or {}).get(part, {}):
            if one not in known:
                wrong.append(problems.unknown(f"{name}:{part}:{one}", one, known, kind))
    return wrong


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


def _check_rules(cloud: Cloud) -> list[Problem]:
    """Check the rules of services once for all hosts whose roles and own options are the same."""

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
