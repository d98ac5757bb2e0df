"""Both backends of Neutron: what runs where, which files it reads, and what the pillar may not ask of it."""

from __future__ import annotations

import copy
import re

import pytest
from clouds import ROOT, TOPOLOGIES, load, source, view

from saltern.cloud import formulas, loading
from saltern.service import generation, merge, scope, templates

OPENVSWITCH = [name for name in TOPOLOGIES if name.endswith("-openvswitch")]
ROUTERS = {"neutron-l3-agent", "neutron-dhcp-agent", "neutron-metadata-agent"}


def files(topology: str, service: str, host: str) -> dict:
    """Return the configuration of a service on a host, file to its sections."""
    names = scope.Context(view(topology, host), service)
    formula = view(topology, host)["formulas"][service]
    rendered = generation.render(service, formula, source(service), names).files
    return {
        name: merge.parse_ini(file.text) if formula["config"][name]["format"] == "oslo" else file
        for name, file in rendered.items()
    }


def one(sections: dict, section: str, option: str) -> str:
    """Return the only value of an option."""
    (value,) = sections[section][option]
    return value


@pytest.mark.parametrize("topology", OPENVSWITCH)
def test_switches_are_on_all_hosts_and_routers_on_network_hosts(topology):
    for host, facts in load(topology).hosts.items():
        if not {"compute", "network"} & set(facts["roles"]):
            continue
        agents = set(view(topology, host)["formulas"]["neutron-agents"]["containers"])
        routers = ROUTERS if "network" in facts["roles"] else set()
        assert agents == {"neutron-openvswitch-agent"} | routers
        assert not {"ovn", "ovn-controller"} & set(view(topology, host)["formulas"])


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_agents_read_files_that_are_written(topology):
    for host in load(topology).placement["neutron-agents"]:
        written = {f"/etc/neutron/{name}" for name in files(topology, "neutron-agents", host)}
        read: set[str] = set()
        for container in view(topology, host)["formulas"]["neutron-agents"]["containers"].values():
            words = [*container["command"], *container.get("teardown", [])]
            read |= set(re.findall(r"--config-file=(\S+)", " ".join(words)))
        assert read == written


@pytest.mark.parametrize("topology", OPENVSWITCH)
def test_with_several_network_hosts_each_network_and_router_is_on_two(topology):
    network_hosts = [host for host in load(topology).hosts.values() if "network" in host["roles"]]
    several = len(network_hosts) > 1
    for host in load(topology).placement["neutron"]:
        conf = files(topology, "neutron", host)["neutron.conf"]
        assert one(conf, "DEFAULT", "l3_ha") == str(several)
        assert one(conf, "DEFAULT", "dhcp_agents_per_network") == ("2" if several else "1")


@pytest.mark.parametrize("topology", OPENVSWITCH)
def test_server_and_agents_speak_of_the_same_networks(topology):
    server = load(topology).placement["neutron"][0]
    ml2 = files(topology, "neutron", server)["plugins/ml2/ml2_conf.ini"]
    for host in load(topology).placement["neutron-agents"]:
        agent = files(topology, "neutron-agents", host)["plugins/ml2/openvswitch_agent.ini"]
        for option in ("ml2", "project_network_types"), ("securitygroup", "firewall_driver"):
            other = {"project_network_types": ("agent", "tunnel_types")}.get(option[1], option)
            assert one(ml2, *option) == one(agent, *other)
        assert one(agent, "ovs", "local_ip") == load(topology).hosts[host]["address"]
        mapped = one(agent, "ovs", "bridge_mappings")
        networks = "physnet1:br-ex" if "network" in load(topology).hosts[host]["roles"] else ""
        assert mapped == networks


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_ports_of_machines_are_closed_until_neutrons_agent_opens_them(topology):
    for host in load(topology).placement["nova-compute"]:
        plug = files(topology, "nova-compute", host)["nova.conf"]["os_vif_ovs"]
        assert plug.get("isolate_vif", ["false"]) == [str(topology in OPENVSWITCH).lower()]


@pytest.mark.parametrize(
    ("pillar", "key", "words"),
    [
        ({"backend": "openvswitch", "project_network_types": ["geneve"]}, "types", "Write vxlan"),
        ({"project_network_types": ["vlan", "vxlan"]}, "types", "Write geneve"),
        ({"vlan_ranges": ["physnet1:1:9", "physnet2:1:9"]}, "ranges", "physnet2:1:9: no host has"),
        ({"vlan_ranges": ["physnet1:9:1"]}, "ranges", "from 1 to 4094"),
        ({"vlan_ranges": ["physnet1:9:4095"]}, "ranges", "from 1 to 4094"),
        ({"tunnel_ids": "9:1"}, "tunnel_ids", "the lower one first"),
        ({"backend": "openvswitch", "distributed_floating_ip": True}, "_ip", "Leave it out"),
    ],
)
def test_what_a_backend_cannot_do_is_refused_with_key_and_remedy(pillar, key, words):
    catalog = formulas.load([ROOT / "formulas"])
    found = loading.load(TOPOLOGIES["multinode"] | {"neutron": pillar}, catalog).problems
    assert [problem.key.endswith(key) for problem in found] == [True]
    assert found[0].key.startswith("neutron:") and words in str(found[0])


@pytest.mark.parametrize("where", ["cloud", "host"])
def test_vlans_can_be_on_any_network_that_a_host_has(where):
    pillar = {"neutron": {"vlan_ranges": ["physnet2:1:9"]}}
    given = {"openvswitch": {"provider_networks": {"physnet2": "eth2"}}}
    saltern = TOPOLOGIES["multinode"]["saltern"]
    compute = saltern["hosts"]["compute1"] | {"options": given}
    hosts = {"saltern": {**saltern, "hosts": {**saltern["hosts"], "compute1": compute}}}
    pillar |= given if where == "cloud" else hosts
    catalog = formulas.load([ROOT / "formulas"])
    assert loading.load(TOPOLOGIES["multinode"] | pillar, catalog).problems == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"provider_networks": {"physnet1": "eth2"}}, "is the network behind br-ex"),
        ({"external_interface": "eth1", "provider_networks": {"b": "eth1"}}, "eth1 would be"),
        ({"provider_networks": {"b": "eth2", "c": "eth2", "d": "", "e": ""}}, "eth2 would be"),
    ],
)
def test_a_network_and_an_interface_are_in_one_bridge(options, words):
    catalog = formulas.load([ROOT / "formulas"])
    found = loading.load(TOPOLOGIES["multinode"] | {"openvswitch": options}, catalog).problems
    assert [problem.key for problem in found] == ["openvswitch:provider_networks"]
    assert words in str(found[0])


@pytest.mark.parametrize(
    ("options", "ok"),
    [
        ({}, True),
        ({"external_interface": "eth1"}, True),
        ({"external_interface": "eth0"}, False),
        ({"provider_networks": {"physnet2": "eth0"}}, False),
    ],
)
def test_the_interface_of_the_hosts_own_address_cannot_be_bridged(options, ok):
    here = copy.deepcopy(view("multinode", "compute1"))
    here["services"]["openvswitch"]["options"] |= options
    machine = scope.Machine(
        networks=(("eth0", f"{here['host']['address']}/24"), ("eth1", "10.9.0.1/24"))
    )
    names = scope.Context(here, "openvswitch", machine)
    wanted = [
        one["holds"] for one in here["formulas"]["openvswitch"]["prechecks"] if "holds" in one
    ]
    assert [templates.holds(one, names) for one in wanted] == [ok]
