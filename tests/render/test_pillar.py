"""What the product's own schemas refuse, with key and remedy, before any host is asked."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from clouds import ROOT, TOPOLOGIES, load

from saltern import problems
from saltern.cloud import formulas, loading, model
from saltern.cloud.view import host_view
from saltern.service import scope, templates

CATALOG = formulas.load([ROOT / "formulas"])
USERS = yaml.safe_load((ROOT / "images/users.yml").read_text())
LONG = "h" * 300
HOST = {"address": "10.0.0.99", "roles": ["compute"]}


def found(changes: dict[str, Any], topology: str = "multinode") -> model.Cloud:
    """Return the cloud of a topology whose pillar is changed: path (by colons) to value."""
    pillar = copy.deepcopy(TOPOLOGIES[topology])
    for path, value in changes.items():
        *parents, last = path.split("|")
        at = pillar
        for parent in parents:
            at = at.setdefault(parent, {})
        at[last] = value
    return loading.load(pillar, CATALOG, loading.releases(ROOT / "images"))


@pytest.mark.parametrize(
    ("path", "value", "key", "words"),
    [
        ("nova", ["a"], "nova", "type object"),
        ("nova", "x", "nova", "type object"),
        ("nova", 0, "nova", "type object"),
        ("saltern", ["a"], "saltern", "Describe the cloud"),
        ("nova|config", ["a"], "nova:config", "type object"),
        ("nova|config|nova.conf", ["a"], "nova:config:nova.conf", "not a map"),
        ("nova|config|nova.conf|DEFAULT", "x", "nova:config:nova.conf:DEFAULT", "not a map"),
        ("nova|config|nova.conf|DEFAULT|a", {"b": 1}, "nova:config:nova.conf:DEFAULT:a", "a text"),
        ("nova|config|nova.conf|DEFAULT|a", [[1]], "nova:config:nova.conf:DEFAULT:a", "a text"),
        ("nova|config|nova.conf|DEFAULT|a", "b\n[c]", "nova:config:nova.conf:DEFAULT:a", "control"),
        ("nova|config|nova.conf|DEFAULT", {"a\nb": 1}, "'a\\nb'", "cannot be a name"),
        ("nova|config|nova.conf|DEFAULT", {"#a": 1}, "'#a'", "cannot be a name"),
        ("nova|config|nova.conf|DEFAULT", {True: 1}, "DEFAULT:True", "in quotes"),
        ("nova|config|nova.conf", {"a]\n[b": {}}, "'a]\\n[b'", "cannot be a name"),
        ("nova|config|nova.conf|DEFAULT|a", ["b,c", "d"], "nova.conf:DEFAULT:a", "comma"),
        ("keystone|config|keystone.conf|tokn", {"a": 1}, "keystone.conf:tokn", "'token'"),
        ("rabbitmq|config|rabbitmq.conf|a", "b\nc", "rabbitmq:config:rabbitmq.conf:a", "control"),
        ("haproxy|config|haproxy.cfg", {"a": 1}, "haproxy:config:haproxy.cfg", "whole text"),
        ("nova|config|policy.yaml", ["a"], "nova:config:policy.yaml", "not a map"),
        ("nova|containers|nova-api", ["a"], "nova:containers:nova-api", "type object"),
        ("nova|containers|nova-api", {"memroy": "2g"}, "nova:containers:nova-api", "memory"),
        ("nova|containers|nova-api", {"memory": "two"}, "nova:containers:nova-api", "memory"),
        ("neutron|mtu", 1500.0, "neutron:mtu", "type integer"),
        ("neutron|workers", 100000, "neutron:workers", "maximum of 512"),
        ("neutron|dns_servers", ["not an ip"], "neutron:dns_servers:0", "not an IPv4 address"),
        ("neutron|dns_domain", "a.\n", "neutron:dns_domain", "control character"),
        ("mariadb|buffer_pool_mb", 10**9, "mariadb:buffer_pool_mb", "maximum"),
        ("openvswitch|tunnel_address", "10.0.0", "openvswitch:tunnel_address", "not an IPv4"),
        (
            "openvswitch|external_interface",
            "eth0; rm",
            "openvswitch:external_interface",
            "network in",
        ),
        ("glance|file_store", "a b", "glance:file_store", "named volume"),
        ("saltern|hosts|control1|address", "0.0.0.0", "saltern:hosts:control1:address", "can have"),
        (
            "saltern|hosts|control1|address",
            "224.0.0.1",
            "saltern:hosts:control1:address",
            "can have",
        ),
        (
            "saltern|hosts|control1|address",
            "127.0.0.1",
            "saltern:hosts:control1:address",
            "loopback",
        ),
        (
            "saltern|hosts|control1|address",
            "",
            "saltern:hosts:control1:address",
            "Address on which",
        ),
        ("saltern|internal_address", "127.0.0.2", "saltern:internal_address", "loopback"),
        ("saltern|external_address", "2001:db8::10", "saltern:external_address", "IPv6"),
        ("saltern|internal_address", "fe80::1", "saltern:internal_address", "IPv6"),
        ("saltern|hosts|control1|address", "::1", "saltern:hosts:control1:address", "IPv6"),
        ("openvswitch|external_cidr", "2001:db8::1/64", "openvswitch:external_cidr", "IPv6"),
        ("openvswitch|tunnel_address", "2001:db8::1", "openvswitch:tunnel_address", "IPv6"),
        ("saltern|region", "a b", "saltern:region", "form"),
        ("saltern|limits|disk_gb", -1, "saltern:limits:disk_gb", "minimum"),
        ("saltern|hosts|a/b", HOST, "saltern:hosts:a/b", "minion's id"),
        ("saltern|hosts|", HOST, "saltern:hosts:", "minion's id"),
        ("saltern|hosts|*", HOST, "saltern:hosts:*", "minion's id"),
        ("saltern|hosts|5", HOST, "saltern:hosts:5", "minion's id"),
        ("saltern|hosts|..", HOST, "saltern:hosts:..", "minion's id"),
        ("saltern|hosts|" + LONG, HOST, "saltern:hosts:" + LONG, "minion's id"),
        ("saltern|hosts|control1|roles", ["contrl"], "saltern:hosts:control1:roles", "'control'"),
        ("memcached|max_item_mb", 200, "memcached:max_item_mb", "memcached:memory_mb"),
        ("nova-compute|disks", "rbd", "nova-compute:disks", "Write qcow2 or raw"),
        ("cinder|backends", ["rbd"], "libvirt:ceph", "Set it to true"),
    ],
)
def test_what_is_wrong_is_told_with_its_key(path, value, key, words):
    told = found({path: value}).problems
    assert len(told) == 1
    assert told[0].key.endswith(key) and words in str(told[0])


def test_a_number_is_no_id_of_a_host():
    pillar = copy.deepcopy(TOPOLOGIES["multinode"])
    pillar["saltern"]["hosts"][5] = HOST
    told = loading.load(pillar, CATALOG).problems
    assert {one.key for one in told} == {"saltern:hosts:5"}


def test_a_backup_that_nothing_stores_is_refused():
    storage = {"saltern|hosts|s1": {"address": "10.0.0.99", "roles": ["storage"]}}
    told = found(storage | {"cinder-volume|backup": "swift"}).problems
    assert [one.key for one in told] == ["cinder-volume:backup"]


def test_the_clouds_own_key_misspelt_is_recognised():
    pillar = {"salttern": TOPOLOGIES["multinode"]["saltern"]}
    told = loading.load(pillar, CATALOG).problems
    assert [one.key for one in told] == ["saltern", "salttern"]
    assert all("'salttern'" in str(one) or "'saltern'" in str(one) for one in told)


def test_several_hosts_need_an_address_of_the_cloud_that_moves():
    pillar = copy.deepcopy(TOPOLOGIES["multinode"])
    del pillar["saltern"]["internal_address"]
    told = loading.load(pillar, CATALOG).problems
    assert [one.key for one in told] == ["saltern:internal_address"]


def test_hosts_that_are_processes_of_one_machine_share_its_loopback():
    hosts = {
        f"c{number}": {"address": f"127.0.0.{number}", "roles": ["control", "compute"]}
        for number in range(11, 14)
    }
    pillar = {"saltern": {"internal_address": "127.0.0.2", "hosts": hosts}}
    assert loading.load(pillar, CATALOG).problems == []


def test_an_options_own_null_and_an_empty_service_are_nothing_wrong():
    assert found({"nova": None, "mariadb|buffer_pool_mb": None}).problems == []
    assert found({"nova|config|nova.conf": None, "nova|config|policy.yaml": {}}).problems == []
    assert found({"nova|containers|nova-api": {"memory": "2g", "cpus": 2}}).problems == []


@pytest.mark.parametrize("topology", ["all-in-one", "roles-apart", "tls-openvswitch"])
def test_a_cloud_that_is_whole_has_no_warning_but_of_storage(topology):
    told = [one for one in load(topology).warnings if "cinder-volume" not in str(one)]
    assert told == []


def test_a_role_that_nobody_has_is_told_but_allowed():
    made = found({f"saltern|hosts|control{one}|roles": ["control"] for one in (1, 2, 3)})
    assert made.problems == []
    words = "\n".join(map(str, made.warnings))
    assert "cinder-volume is on, but no host has a role that runs it (storage)" in words
    assert "no host has the role network, so that no router" in words


def test_a_limit_that_another_makes_unreachable_is_told():
    made = found({"haproxy|maxconn": 1000})
    assert made.problems == []
    assert [one for one in made.warnings if one.key == "haproxy:frontend_maxconn"]


@pytest.mark.parametrize(
    ("changes", "service", "container", "least"),
    [
        ({"haproxy|maxconn": 50000}, "haproxy", "haproxy", 100000),
        ({"mariadb|max_connections": 30000}, "mariadb", "mariadb", 38010),
        ({"memcached|max_connections": 60000}, "memcached", "memcached", 60000),
    ],
)
def test_the_limit_of_open_files_follows_that_of_connections(changes, service, container, least):
    view = host_view(found(changes), "control1", {}, USERS)
    spec = view["formulas"][service]["containers"][container]
    limit = templates.resolve(spec["ulimits"]["nofile"], scope.Context(view, service))
    assert int(limit) >= least


def test_a_role_that_a_service_cannot_do_without_is_refused():
    changes = {f"saltern|hosts|control{one}|roles": ["control"] for one in (1, 2, 3)}
    told = found(changes | {"neutron|backend": "openvswitch"}).problems
    assert [one.key for one in told] == ["saltern:hosts"]
    assert "no host has the role network" in str(told[0])


@pytest.mark.parametrize(("size", "words"), [(2, "the loss of 0"), (4, "the loss of 1")])
def test_an_even_number_of_control_hosts_is_told_but_allowed(size, words):
    roles = ["control", "network", "compute", "storage"]
    hosts = {
        f"c{number}": {"address": f"10.0.0.{number}", "roles": roles}
        for number in range(11, 11 + size)
    }
    made = found({"saltern|hosts": hosts})
    assert made.problems == []
    told = [str(one) for one in made.warnings if "cluster" in str(one)]
    assert len(told) == 1
    assert "mariadb" in told[0] and "ovn" in told[0] and "rabbitmq" in told[0] and words in told[0]


def test_braces_of_the_operator_are_no_template():
    # Docker has templates of its own; Jinja's are service.yml's alone.
    written = {"tag": '{{.Name}} "{% x %}" \\ é'}
    made = found({"memcached|containers|memcached": {"log_options": written}})
    assert made.problems == []
    container = host_view(made, "control1", {}, USERS)["formulas"]["memcached"]
    resolved = templates.resolve(container["containers"]["memcached"]["log_options"], {})
    assert resolved == written


def nodes(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every schema of values in a schema, with its path."""
    yield path, schema
    for key in ("items", "additionalProperties", "propertyNames"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{path}.{key}")
    for name, below in schema.get("properties", {}).items():
        yield from nodes(below, f"{path}.{name}")


SETTINGS = [
    *nodes(loading.schema(), "saltern"),
    *nodes(loading.schema()["$defs"]["role"], "role"),
    *(
        one
        for service, formula in CATALOG.items()
        for name, option in formula.get("options", {}).items()
        for one in nodes(option, f"{service}.{name}")
    ),
]


@pytest.mark.parametrize(("path", "schema"), SETTINGS, ids=[path for path, _ in SETTINGS])
def test_a_setting_is_bound_to_a_form_or_says_why_not(path, schema):
    """Texts have a pattern, format or enum; numbers a maximum; maps and lists say of what."""
    kinds = schema.get("type", [])
    kinds = {kinds} if isinstance(kinds, str) else set(kinds)
    bound = {"pattern", "format", "enum", "$comment"} & schema.keys()
    assert "string" not in kinds or bound
    assert not kinds & {"integer", "number"} or {"maximum", "enum", "pattern"} & schema.keys()
    assert "array" not in kinds or "items" in schema
    known = {"properties", "additionalProperties", "$comment"}
    assert "object" not in kinds or known & schema.keys() or path == "saltern.images"
    if "default" in schema:
        assert problems.check(schema["default"], schema, path) == []


WORDS = {
    *formulas.schema()["$defs"]["value"]["properties"],
    *("$schema", "$defs", "$ref", "allOf", "anyOf", "oneOf", "const", "minProperties"),
}


def words(schema: Any) -> Iterator[str]:
    """Yield every word of JSON Schema that a schema uses; names of properties are none."""
    if isinstance(schema, list):
        yield from (word for one in schema for word in words(one))
    elif isinstance(schema, dict):
        yield from schema
        for key, below in schema.items():
            named = key in ("properties", "$defs")
            if key != "default":
                yield from words(list(below.values()) if named else below)


@pytest.mark.parametrize("schema", [loading.schema(), formulas.schema()], ids=["cloud", "service"])
def test_a_description_is_whole(schema):
    """A comma in an unquoted description begins another key."""
    assert set(words(schema)) - WORDS == set()


@pytest.mark.parametrize(
    ("service", "option"),
    [
        ("mariadb", "buffer_pool_mb"),
        ("memcached", "memory_mb"),
        ("rabbitmq", "memory_mb"),
        ("nova-compute", "reserved_memory_mb"),
    ],
)
def test_memory_that_a_host_does_not_have_is_found_by_its_prechecks(service, option):
    host = "compute1" if service == "nova-compute" else "control1"
    view = host_view(found({f"{service}|{option}": 65536}), host, {}, USERS)
    held = {
        memory: all(
            templates.holds(
                one["holds"],
                scope.Context(view, service, scope.Machine(memory_mb=memory)),
            )
            for one in view["formulas"][service]["prechecks"]
            if "holds" in one
        )
        for memory in (32768, 131072)
    }
    assert held == {32768: False, 131072: True}
