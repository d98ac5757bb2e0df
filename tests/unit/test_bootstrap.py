"""What bare hosts get and how they are reached: decisions without SSH."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from clouds import ROOT

from saltern.bootstrap import hosts as bootstrap
from saltern.cloud import formulas, loading, model
from saltern.errors import SalternError

OPTS = {
    "interface": "10.0.0.5",
    "publish_port": 4505,
    "ret_port": 4506,
    "file_roots": {"base": [str(ROOT / "salt"), str(ROOT / "formulas")]},
}
HOSTS = {
    "control1": {"address": "10.0.0.11", "roles": ["control", "network"], "ssh": {}},
    "compute1": {
        "address": "10.0.0.21",
        "roles": ["compute"],
        "ssh": {"user": "debian", "host": "compute1.example.org", "priv": "/key"},
    },
    "alone": {"address": "10.0.0.31", "roles": []},
}


def made(**settings: Any) -> model.Cloud:
    pillar = {"saltern": {"internal_address": "10.0.0.9", "hosts": HOSTS, **settings}}
    found = loading.load(pillar, formulas.load([ROOT / "formulas"]))
    assert found.problems == []
    return found


def pillar(opts: dict[str, Any] = OPTS, **settings: Any) -> dict[str, Any]:
    return bootstrap.pillar(made(**settings), opts, "aa:bb")


def test_hosts_without_ssh_are_left_alone():
    assert bootstrap.hosts(made(), ["control1", "alone"]) == ["control1"]
    assert set(bootstrap.roster(made(), "/script")) == {"control1", "compute1"}


def test_a_run_without_any_such_host_says_what_to_add():
    with pytest.raises(SalternError, match="saltern:hosts:alone:ssh"):
        bootstrap.hosts(made(), ["alone"])


def test_the_roster_says_who_logs_in_where_and_never_learns_a_host_key():
    roster = bootstrap.roster(made(), "/script")

    root, other = roster["control1"], roster["compute1"]
    assert (root["host"], root["user"], root["port"], root["sudo"]) == (
        "10.0.0.11",
        "root",
        22,
        False,
    )
    assert (other["host"], other["user"], other["sudo"]) == ("compute1.example.org", "debian", True)
    refuses = {"StrictHostKeyChecking=yes", "UpdateHostKeys=no"}
    assert all(refuses <= {*one["ssh_options"]} for one in roster.values())


def test_all_hosts_are_named_and_kernels_set_by_role():
    hosts = pillar(bootstrap={"sysctl": {"vm.swappiness": 1}})["hosts"]

    assert {name: one["address"] for name, one in hosts.items()} == {
        name: one["address"] for name, one in HOSTS.items()
    }
    assert set(hosts["control1"]["sysctl"]) == {
        "net.ipv4.ip_nonlocal_bind",
        "net.ipv4.ip_forward",
        "net.ipv4.tcp_retries2",
        "vm.swappiness",
    }
    assert hosts["alone"]["sysctl"] == {
        "net.ipv4.ip_forward": 0,
        "net.ipv4.tcp_retries2": 8,
        "vm.swappiness": 1,
    }


def test_a_host_forwards_packets_only_where_it_is_the_gateway_of_br_ex():
    def forwards(**options: Any) -> dict[str, int]:
        hosts = bootstrap.pillar(made(**options), OPTS, "aa:bb")["hosts"]
        return {name: one["sysctl"]["net.ipv4.ip_forward"] for name, one in hosts.items()}

    assert forwards() == {"control1": 1, "compute1": 0, "alone": 0}
    outside = {**HOSTS["control1"], "options": {"openvswitch": {"external_interface": "eth1"}}}
    assert forwards(hosts={**HOSTS, "control1": outside})["control1"] == 0
    assert forwards(bootstrap={"sysctl": {"net.ipv4.ip_forward": 1}})["compute1"] == 1
    # Docker would switch it on by itself.
    assert pillar()["docker"]["ip-forward"] is False


def test_the_operators_keys_win_in_dockers_configuration():
    wanted = {
        "insecure_registries": ["10.0.0.5:5000"],
        "docker": {"ip6tables": None, "debug": True},
    }

    docker = pillar(bootstrap=wanted)["docker"]

    assert docker["live-restore"] is True
    assert docker["log-opts"]["max-size"]
    assert docker["insecure-registries"] == ["10.0.0.5:5000"]
    assert docker["debug"] is True
    assert "ip6tables" not in docker


@pytest.mark.parametrize("interface", ["127.0.0.1", "0.0.0.0"])
def test_a_master_that_hosts_cannot_find_is_an_error_with_its_remedy(interface: str):
    with pytest.raises(SalternError, match="make setup ADDRESS"):
        pillar(OPTS | {"interface": interface})

    named = pillar(OPTS | {"interface": interface}, bootstrap={"master": "10.0.0.6"})
    assert named["minion"]["master"] == "10.0.0.6"


def test_nothing_of_the_rest_of_the_pillar_goes_to_the_hosts():
    given = pillar()

    assert set(given) == {"hosts", "docker", "minion"}
    assert given["minion"]["master_finger"] == "aa:bb"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            {"stderr": "ssh: connect to host 10.0.0.11 port 22: Connection refused", "stdout": ""},
            "connect to host 10.0.0.11 port 22: Connection refused",
        ),
        (
            {
                "stderr": "ssh: connect to host 10.0.0.11 port 22: No route to host\r\nscp: Connection closed"
            },
            "connect to host 10.0.0.11 port 22: No route to host",
        ),
        (
            {"stderr": "@@@\nHost key verification failed.\n", "stdout": "", "retcode": 255},
            "its SSH host key is not in known_hosts, or is another one there",
        ),
        ({"return": ["Rendering SLS failed"], "retcode": 1}, '["Rendering SLS failed"]'),
        ("Target 'x' did not return any data", "Target 'x' did not return any data"),
    ],
)
def test_the_reason_of_a_failure_is_what_ssh_said_or_salt_said_last(answer: Any, reason: str):
    assert bootstrap.reason(answer) == reason


def test_a_failed_state_is_named_with_its_reason():
    states = {
        "a": {"__id__": "Install Docker", "result": False, "comment": "no such package"},
        "b": {"__id__": "Run Docker", "result": False, "comment": "", "__state_ran__": False},
    }

    found = bootstrap.failures("control1", states)

    assert [(one.host, one.state, one.reason) for one in found] == [
        ("control1", "Install Docker", "no such package")
    ]


def test_the_script_that_installs_python_can_be_the_operators(tmp_path: Path):
    own = tmp_path / "bootstrap/files/python"
    own.parent.mkdir(parents=True)
    own.touch()

    assert bootstrap.preflight([str(tmp_path), str(ROOT / "salt")]) == str(own)
    assert Path(bootstrap.preflight([str(ROOT / "salt")])).is_file()
