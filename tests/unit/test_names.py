"""A host knows the hosts that its services name, and is told what to declare where one asks for others."""

from __future__ import annotations

from typing import Any

import pytest

from saltern import problems
from saltern.cloud import formulas, loading
from saltern.cloud.view import host_view
from saltern.errors import SalternError
from saltern.service import scope, templates

CATALOG = {
    "broker": {
        "summary": "reached directly",
        "roles": ["control"],
        "ports": {"amqp": {"port": 5672, "frontend": "none"}},
        "containers": {"broker": {"image": "broker"}},
        "clusters": {"broker": {"data": "/x", "form": "/y"}},
    },
    "api": {
        "summary": "reached through the load balancer",
        "roles": ["control"],
        "requires": ["broker"],
        "ports": {"api": {"port": 80, "frontend": "http"}},
    },
    "agent": {
        "summary": "has no port",
        "roles": ["compute", "network"],
        "requires": ["api"],
        "names": [
            {"role": "network"},
            {"service": "agent", "when": "'network' in host.roles"},
        ],
    },
}


def view(host: str, computes: int = 2, **changes: Any) -> dict[str, Any]:
    """Return what a host knows of a cloud with two control hosts, one network host and some compute hosts."""
    ids = [f"compute{number}" for number in range(1, computes + 1)]
    roles = {"c1": "control", "c2": "control", "n1": "network", **dict.fromkeys(ids, "compute")}
    hosts = {
        name: {"address": f"10.0.{number // 250}.{number % 250 + 1}", "roles": [role]}
        for number, (name, role) in enumerate(roles.items())
    }
    catalog = {name: one | changes.get(name, {}) for name, one in CATALOG.items()}
    made = loading.load({"saltern": {"internal_address": "10.9.0.1", "hosts": hosts}}, catalog)
    assert made.problems == []
    return host_view(made, host, {}, {})


def ask(expression: str, host: str, service: str, **changes: Any) -> Any:
    """Return what an expression of a service's template is on a host."""
    return templates.evaluate(expression, scope.Context(view(host, **changes), service))


def test_a_host_knows_itself_and_whom_its_services_name():
    assert list(view("c1")["hosts"]) == ["c1", "c2"]
    assert list(view("compute1")["hosts"]) == ["n1", "compute1"]
    assert list(view("n1")["hosts"]) == ["n1", "compute1", "compute2"]
    assert list(view("compute1", agent={"names": ["*"]})["hosts"]) == [
        *("c1", "c2", "n1", "compute1", "compute2"),
    ]


def test_members_of_a_cluster_and_what_is_required_and_reached_directly_are_named():
    assert ask("addresses('broker')", "c1", "broker") == ["10.0.0.1", "10.0.0.2"]
    assert ask("addresses('broker')", "c1", "api") == ["10.0.0.1", "10.0.0.2"]


def test_hosts_are_named_by_role_and_under_a_condition():
    assert ask("role_addresses('network')", "compute1", "agent") == ["10.0.0.3"]
    assert ask("services.agent.hosts", "n1", "agent") == ["n1", "compute1", "compute2"]


@pytest.mark.parametrize(
    ("expression", "service", "whose", "word"),
    [
        ("addresses('broker')", "agent", "the hosts of service broker", "broker"),
        ("services.api.hosts", "agent", "the hosts of service api", "api"),
        ("services.get('api').get('hosts')", "agent", "the hosts of service api", "api"),
        ("services['agent'].hosts[0]", "agent", "the hosts of service agent", "agent"),
        ("role_addresses('control')", "agent", "the hosts of role control", "{role: control}"),
        ("hosts | length", "agent", "all hosts", '"*"'),
        ("hosts.values() | list", "agent", "all hosts", '"*"'),
        ("hosts.c1.address", "agent", "all hosts", '"*"'),
    ],
)
def test_who_asks_for_others_is_told_file_and_word(expression, service, whose, word):
    told = f"{service} does not name {whose}: add {word} to names in formulas/{service}/service.yml"
    with pytest.raises(SalternError) as error:
        ask(expression, "compute1", service)
    assert str(error.value).endswith(told)


def test_what_another_service_of_the_host_names_is_refused_too():
    """Else a template would work on some hosts and not on others."""
    changes = {"agent": {"roles": ["control"], "names": []}}
    with pytest.raises(SalternError, match="add broker to names"):
        ask("addresses('broker')", "c1", "agent", **changes)


def test_whether_a_service_has_several_hosts_and_who_is_the_first_is_known_without_their_names():
    assert ask("services.broker.several", "compute1", "agent") is True
    assert [view(host)["formulas"]["broker"]["first"] for host in ("c1", "c2")] == [True, False]


def test_another_host_does_not_change_what_a_host_knows_that_does_not_name_it():
    assert view("compute1", computes=2) == view("compute1", computes=300)


@pytest.mark.parametrize("names", [[{}], [{"role": "a", "service": "b"}], [{"host": "c1"}]])
def test_names_of_another_form_are_refused(names):
    formula = {"summary": "x", "roles": ["control"], "names": names}
    assert problems.check(formula, formulas.schema())
