"""Rules of services about their options: what is refused, in which words, and on which hosts it is asked."""

from __future__ import annotations

import pytest

from saltern import problems
from saltern.cloud import formulas, loading
from saltern.errors import SalternError

NIC = {"type": "string", "default": "", "description": "its interface"}
NAMES = {"type": "array", "default": [], "description": "names of networks"}
RULES = [
    {
        "key": "net:wanted",
        "each": "options.wanted",
        "holds": "item in option_values('switch', 'networks') | sum(start=[])",
        "what": "{{ item }} is on no host",
        "remedy": "Write one of {{ option_values('switch', 'networks') | sum(start=[]) | join(', ') }}",
    },
    {
        "key": "net:wanted",
        "when": "options.alone",
        "holds": "options.wanted | length < 2",
        "what": "are {{ options.wanted | length }}",
        "remedy": "Leave one",
    },
]
SWITCH_RULE = {
    "key": "switch:nic",
    "when": "'compute' in host.roles",
    "holds": "options.nic",
    "what": "is empty",
    "remedy": "Name it",
}
CATALOG = {
    "net": {
        "summary": "networks",
        "roles": ["control"],
        "options": {
            "wanted": NAMES,
            "alone": {"type": "boolean", "default": False, "description": "only one"},
        },
        "rules": RULES,
    },
    "switch": {
        "summary": "switch",
        "roles": ["compute"],
        "options": {"networks": {**NAMES, "default": ["a"]}, "nic": NIC},
        "rules": [SWITCH_RULE],
    },
}


def found(n1: dict | None = None, n2: dict | None = None, rules: list | None = None, **pillar):
    """Return the problems of a cloud whose compute hosts have these options of their own."""
    hosts = {
        "c1": {"address": "10.0.0.11", "roles": ["control"]},
        "n1": {"address": "10.0.0.21", "roles": ["compute"], "options": n1 or {}},
        "n2": {"address": "10.0.0.22", "roles": ["compute"], "options": n2 or {}},
    }
    described = {"saltern": {"internal_address": "10.0.0.9", "hosts": hosts}, **pillar}
    catalog = CATALOG if rules is None else CATALOG | {"net": {**CATALOG["net"], "rules": rules}}
    return [str(one) for one in loading.load(described, catalog).problems]


def test_a_rule_about_each_item_names_those_that_break_it():
    assert found(net={"wanted": ["a", "b", "c"]}, switch={"nic": "eth1"}) == [
        "net:wanted: b is on no host. Write one of a, a.",
        "net:wanted: c is on no host. Write one of a, a.",
    ]


def test_a_rule_without_its_condition_is_not_asked():
    nic = {"nic": "eth1"}
    assert found(net={"wanted": ["a", "a"]}, switch=nic) == []
    assert found(net={"wanted": ["a", "a"], "alone": True}, switch=nic) == [
        "net:wanted: are 2. Leave one."
    ]


def test_options_of_single_hosts_count():
    nic = {"switch": {"nic": "eth1", "networks": ["b"]}}
    assert found(n1=nic, n2=nic, net={"wanted": ["b"]}) == []
    assert found(n1=nic, net={"wanted": ["b"]}) == ["switch:nic: is empty. Name it."]


def test_what_is_wrong_on_many_hosts_is_said_once():
    assert found(n1={"switch": {"networks": ["x"]}}) == ["switch:nic: is empty. Name it."]


def test_a_pillar_with_wrong_values_is_not_held_against_rules():
    assert found(net={"wanted": "a"}) == [
        "net:wanted: found 'a' (string). Write a value of type array (names of networks)."
    ]


@pytest.mark.parametrize("part", ["each", "holds", "what"])
def test_a_mistaken_rule_names_the_service(part):
    rule = {**RULES[0], part: "{{ optoins.x }}" if part == "what" else "optoins.x"}
    with pytest.raises(SalternError, match="formulas/net/service.yml: rules: .*optoins"):
        found(rules=[rule], net={"wanted": ["b"]})


def test_a_rule_needs_words():
    data = {"summary": "s", "roles": [], "rules": [{"key": "net:wanted", "holds": "true"}]}
    missing = {one.key for one in problems.check(data, formulas.schema())}
    assert missing == {"rules:0:what", "rules:0:remedy"}
