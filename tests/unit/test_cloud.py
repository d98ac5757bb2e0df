"""The cloud model: placement, waves, secrets, and errors that name key and remedy."""

from __future__ import annotations

import copy

import pytest

from saltern import masking
from saltern.cloud import loading, secrets
from saltern.cloud.view import host_view
from saltern.errors import SalternError

CATALOG = {
    "mariadb": {"summary": "db", "roles": ["control"], "secrets": {"root_password": {}}},
    "haproxy": {"summary": "lb", "roles": ["control"], "after": ["mariadb"]},
    "keystone": {
        "summary": "id",
        "roles": ["control"],
        "requires": ["mariadb", "haproxy"],
        "database": {"name": "keystone"},
        "options": {
            "expiration": {"type": "integer", "minimum": 60, "default": 3600, "description": "s"}
        },
        "secrets": {"admin_password": {}, "ring": {"kind": "fernet_ring"}},
        "config": {"keystone.conf": {"format": "ini"}},
        "containers": {"keystone-api": {"image": "keystone"}},
    },
    "nova-compute": {"summary": "vm", "roles": ["compute"], "uses_secrets": ["keystone.admin_*"]},
}
# What a service can make depend on options and hosts.
SWITCH = {
    **CATALOG,
    "neutron": {
        "summary": "net",
        "roles": ["control"],
        "options": {
            "backend": {"enum": ["ovn", "ovs"], "default": "ovn", "description": "which"},
            "range": {
                "type": "string",
                "format": "ipv4-network",
                "default": "10.9.0.0/24",
                "description": "",
            },
        },
    },
    "ovn": {"summary": "ovn", "roles": ["control"], "enabled": {"neutron.backend": "ovn"}},
    "agents": {
        "summary": "agents",
        "roles": ["control", "compute"],
        "options": {
            "interface": {
                "type": "string",
                "format": "interface",
                "default": "",
                "description": "NIC",
            },
            "bridges": {
                "type": "object",
                "additionalProperties": {"type": "string", "format": "interface"},
                "default": {},
                "description": "network to NIC",
            },
            "cidr": {
                "type": "string",
                "format": "ipv4-network",
                "default": "",
                "description": "own network",
            },
        },
        "secrets": {"key": {"kind": "external"}},
        "config": {
            "ovs.ini": {"format": "ini", "when": "services.neutron.options.backend == 'ovs'"}
        },
        "tasks": {"set-up": {"phase": "deploy", "image": "i", "command": [], "when": "false"}},
        "containers": {
            "metadata": {"image": "i", "when": "'compute' in host.roles"},
            "router": {"image": "i", "when": "'control' in host.roles", "user": "root"},
        },
        "prechecks": [
            {"path": "/dev/x", "remedy": "r", "when": "options.interface"},
            {"path": "/dev/y", "remedy": "r"},
        ],
    },
}
PILLAR = {
    "saltern": {
        "internal_address": "10.0.0.9",
        "hosts": {
            "c1": {"address": "10.0.0.11", "roles": ["control"]},
            "c2": {"address": "10.0.0.12", "roles": ["control"]},
            "n1": {"address": "10.0.0.21", "roles": ["compute"]},
        },
    }
}


def pillar(**changes):
    changed = copy.deepcopy(PILLAR)
    for path, value in changes.items():
        *parents, last = path.split("__")
        at = changed
        for parent in parents:
            at = at.setdefault(parent, {})
        at[last] = value
    return changed


def test_roles_decide_what_runs_where():
    loaded = loading.load(PILLAR, CATALOG)
    assert loaded.problems == []
    assert loaded.placement["keystone"] == ["c1", "c2"]
    assert loaded.services_of("n1") == ["nova-compute"]


def test_waves_follow_what_is_required():
    waves = loading.load(PILLAR, CATALOG).waves()
    assert waves == [["mariadb", "nova-compute"], ["haproxy"], ["keystone"]]


def test_a_service_can_be_pinned_to_hosts():
    loaded = loading.load(pillar(saltern__services={"keystone": {"hosts": ["c2"]}}), CATALOG)
    assert loaded.placement["keystone"] == ["c2"]


def test_a_circle_of_requirements_is_named():
    catalog = copy.deepcopy(CATALOG)
    catalog["mariadb"]["requires"] = ["keystone"]
    with pytest.raises(SalternError, match="circle: haproxy, keystone, mariadb"):
        loading.load(PILLAR, catalog).waves()


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        ({"saltern__hosts__c1__adress": "x"}, "saltern:hosts:c1:adress", "Did you mean 'address'?"),
        ({"saltern__hosts__c1": {"roles": []}}, "saltern:hosts:c1:address", "is missing"),
        ({"saltern__hosts__c1__address": "10.0.0.999"}, "saltern:hosts:c1:address", "not an IP"),
        ({"saltern__hosts__c1__address": "10.0.0.12"}, "saltern:hosts:c2:address", "is also"),
        ({"saltern__hosts__c1__roles": ["contrl"]}, "saltern:hosts:c1:roles", "'control'"),
        ({"saltern__internal_address": "10.0.0.11"}, "saltern:internal_address", "is also"),
        ({"saltern__release": "2031.1"}, "saltern:release", "2026.2"),
        ({"saltern__release": 2026.2}, "saltern:release", "quoted"),
        ({"saltern__images": {"bse": "debian"}}, "saltern:images:bse", "Did you mean 'base'?"),
        ({"saltern__images": {"base": "arch"}}, "saltern:images:base", "Allowed: "),
        ({"saltern__region": 5}, "saltern:region", "type string"),
        ({"saltern__services": {"keyston": {}}}, "saltern:services:keyston", "'keystone'"),
        (
            {"saltern__services": {"keystone": {"hosts": ["c9"]}}},
            "saltern:services:keystone:hosts",
            "c1",
        ),
        (
            {"saltern__services": {"mariadb": {"enabled": False}}},
            "saltern:services:mariadb:enabled",
            "requires it",
        ),
        ({"keystone__expiraton": 5}, "keystone:expiraton", "Did you mean 'expiration'?"),
        ({"keystone__expiration": "1h"}, "keystone:expiration", "type integer"),
        ({"keystone__expiration": 5}, "keystone:expiration", "minimum"),
        (
            {"keystone__config": {"keystone.cnf": {}}},
            "keystone:config:keystone.cnf",
            "'keystone.conf'",
        ),
        ({"keystone__containers": {"api": {}}}, "keystone:containers:api", "keystone-api"),
        ({"keystnoe": {}}, "keystnoe", "Did you mean 'keystone'?"),
    ],
)
def test_a_wrong_key_is_named_with_its_remedy(changes, key, words):
    found = loading.load(pillar(**changes), CATALOG, ["2026.1", "2026.2"]).problems
    assert [problem.key for problem in found] == [key]
    assert words in str(found[0])


def test_services_of_one_host_have_different_ports():
    """An API has a second one, for the server beside the one that it replaces."""
    catalog = copy.deepcopy(CATALOG)
    catalog["keystone"]["ports"] = {"keystone": {"port": 5000, "spare": 15000}}
    catalog["mariadb"]["ports"] = {"mariadb": {"port": 15000}}
    (found,) = loading.load(PILLAR, catalog).problems
    assert found.key == "formulas/mariadb/service.yml:ports:mariadb:port"
    assert "15000 is also the spare of keystone of keystone, on c1" in str(found)
    apart = {"keystone": {"hosts": ["c1"]}, "mariadb": {"hosts": ["c2"]}}
    assert loading.load(pillar(saltern__services=apart), catalog).problems == []


def test_a_service_can_depend_on_an_option_of_another():
    assert "ovn" in loading.load(PILLAR, SWITCH).catalog
    assert "ovn" not in loading.load(pillar(neutron__backend="ovs"), SWITCH).catalog
    forced = pillar(neutron__backend="ovs", saltern__services={"ovn": {"enabled": True}})
    assert "ovn" in loading.load(forced, SWITCH).catalog


def test_a_colocated_service_shares_its_hosts_and_its_place_in_the_order():
    several = "services.haproxy.hosts | length > 1"
    catalog = {
        **CATALOG,
        "keepalived": {"summary": "", "colocated_with": "haproxy", "enabled": several},
    }
    made = loading.load(PILLAR, catalog)
    assert made.placement["keepalived"] == ["c1", "c2"]
    assert [wave for wave in made.waves() if "keepalived" in wave] == [["keepalived"]]
    assert made.before("keepalived") == {"haproxy"}
    assert "keepalived" in made.before("keystone")
    alone = pillar(saltern__services={"haproxy": {"hosts": ["c1"]}})
    assert "keepalived" not in loading.load(alone, catalog).catalog
    off = pillar(saltern__services={"keepalived": {"enabled": False}})
    assert "keepalived" not in loading.load(off, catalog).catalog


def test_parts_of_a_service_can_depend_on_host_and_options():
    loaded = loading.load(PILLAR, SWITCH)
    compute = host_view(loaded, "n1", {}, {})["formulas"]["agents"]
    assert list(compute["containers"]) == ["metadata"]
    assert compute["config"] == {} and compute["tasks"] == {}
    assert [one["path"] for one in compute["prechecks"]] == ["/dev/y"]
    control = host_view(loaded, "c1", {}, {})["formulas"]["agents"]
    assert control["containers"] == {"router": {"image": "i", "user": "root"}}
    other = host_view(loading.load(pillar(neutron__backend="ovs"), SWITCH), "n1", {}, {})
    assert list(other["formulas"]["agents"]["config"]) == ["ovs.ini"]


def test_a_mistaken_condition_names_the_service():
    catalog = copy.deepcopy(SWITCH)
    catalog["agents"]["containers"]["metadata"]["when"] = "optoins.x"
    with pytest.raises(SalternError, match="formulas/agents/service.yml: when: 'optoins.x'"):
        host_view(loading.load(PILLAR, catalog), "n1", {}, {})


def test_a_host_can_have_options_of_its_own():
    changes = pillar(
        agents__bridges={"physnet1": "eth7"},
        saltern__hosts__n1__options={"agents": {"interface": "eth1"}},
    )
    loaded = loading.load(changes, SWITCH)
    assert loaded.problems == []
    view = host_view(loaded, "n1", {}, {})
    assert view["services"]["agents"]["options"]["interface"] == "eth1"
    assert view["interfaces"] == {
        "agents:interface": "eth1",
        "agents:bridges:physnet1": "eth7",
    }
    assert len(view["formulas"]["agents"]["prechecks"]) == 2
    assert host_view(loaded, "c1", {}, {})["services"]["agents"]["options"]["interface"] == ""


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        (
            {"saltern__hosts__n1__options": {"agents": {"interfce": "eth1"}}},
            "saltern:hosts:n1:options:agents:interfce",
            "'interface'",
        ),
        (
            {"saltern__hosts__n1__options": {"agnts": {}}},
            "saltern:hosts:n1:options:agnts",
            "'agents'",
        ),
        ({"agents__cidr": "10.9.0.300/24"}, "agents:cidr", "is not an IPv4 network"),
        ({"agents__cidr": "10.9.0.1/16"}, "neutron:range", "overlaps 10.9.0.0/16 (agents:cidr)"),
        ({"agents__cidr": "10.0.0.1/24"}, "agents:cidr", "10.0.0.11 (saltern:hosts:c1:address)"),
        ({"neutron__backend": "ovnn"}, "neutron:backend", "Did you mean 'ovn'?"),
    ],
)
def test_a_wrong_network_or_host_option_is_named(changes, key, words):
    found = loading.load(pillar(**changes), SWITCH).problems
    assert key in [problem.key for problem in found]
    assert any(words in str(problem) for problem in found)


def test_a_given_secret_is_never_made():
    filled, added = secrets.fill(SWITCH, {})
    assert "agents.key" not in added and "key" not in filled["agents"]
    assert "agents.key" not in secrets.missing(loading.load(PILLAR, SWITCH), {})


def test_keys_of_others_in_the_pillar_are_left_alone():
    assert loading.load(pillar(users={"root": {}}), CATALOG).problems == []


def test_a_host_gets_only_the_secrets_of_its_services():
    loaded = loading.load(PILLAR, CATALOG)
    stored, _ = secrets.fill(CATALOG, {})
    users = {"root": 0}
    assert host_view(loaded, "n1", stored, users)["secrets"] == {
        "keystone": {"admin_password": stored["keystone"]["admin_password"]}
    }
    # Only the host that creates databases may speak to MariaDB as root; both run MariaDB itself.
    assert set(host_view(loaded, "c2", stored, users)["secrets"]) == {"keystone", "mariadb"}


def test_missing_secrets_are_made_and_none_is_overwritten():
    stored = {"keystone": {"admin_password": "mine"}}
    filled, added = secrets.fill(CATALOG, stored)
    assert filled["keystone"]["admin_password"] == "mine"
    assert added == ["keystone.ring", "mariadb.root_password"]
    assert secrets.fill(CATALOG, filled) == (filled, [])
    assert stored == {"keystone": {"admin_password": "mine"}}


def test_secrets_are_readable_by_their_owner_only(tmp_path):
    path = tmp_path / "secrets.yml"
    secrets.write(path, {"a": {"b": "c"}})
    assert path.stat().st_mode & 0o777 == 0o600
    assert secrets.read(path) == {"a": {"b": "c"}}
    path.chmod(0o640)
    with pytest.raises(SalternError, match="chmod 600"):
        secrets.read(path)


def test_rotation_promotes_the_staged_key_and_drops_the_oldest():
    ring = secrets.make({"kind": "fernet_ring"})
    once = secrets.rotate(ring, 3)
    assert once[2] == ring[0] and once[1] == ring[1] and once[0] not in ring.values()
    twice = secrets.rotate(once, 3)
    assert sorted(twice) == [0, 2, 3]
    assert twice[2] == ring[0] and twice[3] == once[0]


def test_masking_hides_every_secret_value():
    text = masking.mask(
        "a=supersecret b=0123456789 c=x", {"s": {"p": "supersecret", "r": {1: "0123456789"}}}
    )
    assert text == "a=*** b=*** c=x"


def test_a_kept_cloud_is_used_again_only_for_what_is_equal():
    kept = loading.Kept()
    first = kept.load(pillar(), CATALOG, ["2026.2"])
    assert kept.load(pillar(), copy.deepcopy(CATALOG), ["2026.2"]) is first
    assert kept.load(pillar(), SWITCH, ["2026.2"]) is not first
    assert kept.load(pillar(keystone__expiration=60), CATALOG).options("keystone") == {
        "expiration": 60
    }
    assert kept.load(pillar(), CATALOG, ["2030.1"]).problems
