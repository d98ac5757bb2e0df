"""A name in a service.yml that means nothing is refused with the nearest that does."""

from __future__ import annotations

import pytest

from saltern.cloud import references

CATALOG = {
    "rabbitmq": {"summary": "broker", "roles": ["control"], "secrets": {"password": {}}},
    "nova": {
        "summary": "compute",
        "roles": ["control"],
        "requires": ["rabbitmq"],
        "after": ["rabbitmq"],
        "names": ["rabbitmq", "*", {"service": "nova"}, {"role": "compute", "when": "true"}],
        "enabled": {"nova.on": True},
        "options": {"on": {"type": "boolean", "default": True, "description": ""}},
        "uses_secrets": ["rabbitmq.password", "*.*ssword"],
        "secrets": {"keystone_password": {}},
        "keyrings": {"ring": {"secret": "keystone_password", "target": "/x"}},
        "ports": {"nova": {"port": 1}, "other": {"port": 2}},
        "volumes": {"nova-pyc": "cache", "{{ options.on }}": "data"},
        "containers": {
            "nova-api": {"volumes": ["nova-pyc:/x", "{{ options.on }}:/y", "/z:/z"]},
        },
        "tasks": {"read": {"phase": "reload", "container": "nova-api", "command": ["true"]}},
        "clusters": {"nova-api": {"data": "/x", "form": "/y"}},
        "identity": {
            "users": {"nova": {"password": "keystone_password"}},
            "services": {"x": {"port": "other"}},
        },
    },
    "keepalived": {"summary": "address", "colocated_with": "nova"},
}
ROLES = {"control", "compute"}


def test_names_that_mean_something_are_right():
    assert references.problems_of(CATALOG, ROLES) == []


@pytest.mark.parametrize(
    ("key", "value", "nearest"),
    [
        ("roles", ["controll"], "control"),
        ("requires", ["rabitmq"], "rabbitmq"),
        ("after", ["rabitmq"], "rabbitmq"),
        ("names", ["rabitmq"], "rabbitmq"),
        ("names", [{"service": "rabitmq"}], "rabbitmq"),
        ("names", [{"role": "controll"}], "control"),
        ("colocated_with", "rabbitmqq", "rabbitmq"),
        ("enabled", {"nova.onn": True}, "nova.on"),
        ("uses_secrets", ["rabbitmq.pasword"], "rabbitmq.password"),
        ("keyrings", {"ring": {"secret": "keystone_pasword"}}, "keystone_password"),
        ("tasks", {"x": {"container": "nova-apy"}}, "nova-api"),
        ("volumes", {"nova-pycc": "cache", "{{ options.on }}": "data"}, "nova-pycc"),
        ("clusters", {"nova-apy": {}}, "nova-api"),
        ("identity", {"services": {"x": {"port": "othr"}}}, "other"),
        ("identity", {"users": {"x": {"password": "keystone_pasword"}}}, "keystone_password"),
    ],
)
def test_a_mistyped_name_is_refused_with_the_nearest(key, value, nearest):
    catalog = CATALOG | {"nova": CATALOG["nova"] | {key: value}}
    (problem,) = references.problems_of(catalog, ROLES)
    assert problem.key == f"formulas/nova/service.yml:{key}"
    assert f"Did you mean {nearest!r}?" in problem.remedy
