"""Every formula renders for every host of both topologies; no test here knows a service."""

from __future__ import annotations

import json

import pytest
import yaml
from clouds import ROOT, TOPOLOGIES, grown, load, placements, source, view

from saltern import masking
from saltern.cloud import formulas
from saltern.cloud.view import host_view
from saltern.containers.spec import Spec
from saltern.images.names import images_of
from saltern.service import generation, merge, scope
from saltern.service import states as expand

USERS = yaml.safe_load((ROOT / "images/users.yml").read_text())
PARSERS = {
    **dict.fromkeys(("oslo", "uwsgi", "ini"), merge.parse_ini),
    "properties": merge.parse_ini,
    "yaml": yaml.safe_load,
    "json": json.loads,
    "raw": str,
}


def context(topology: str, service: str, host: str) -> scope.Context:
    cloud = view(topology, host)
    networks = (("eth0", f"{cloud['host']['address']}/24"),)
    machine = scope.Machine(cpus=4, memory_mb=8192, networks=networks)
    names = scope.Context(cloud, service, machine)
    names |= {one: f"/var/lib/saltern/{one}" for one in ("keyrings", "certificates")}
    return names


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_the_example_pillars_have_no_problem(topology):
    assert [str(problem) for problem in load(topology).problems] == []


@pytest.mark.parametrize(("topology", "service", "host"), placements())
def test_configuration_renders_and_parses(topology, service, host):
    formula = view(topology, host)["formulas"][service]
    names = context(topology, service, host)
    wanted = generation.render(service, formula, source(service), names)
    for name, file in wanted.files.items():
        PARSERS[formula["config"][name].get("format", "raw")](file.text)
        assert file.mode & 0o007 == 0, f"{name} must not be open to others"


@pytest.mark.parametrize(("topology", "service", "host"), placements())
def test_states_are_sentences_with_valid_containers_and_no_secret(topology, service, host):
    cloud = view(topology, host)
    states = expand.states(service, cloud, context(topology, service, host))
    assert states
    text = json.dumps(states)
    assert not [value for value in masking.values(cloud["secrets"]) if value in text]
    for sentence, body in states.items():
        assert " " in sentence
        for function, arguments in body.items():
            if function == "container.running":
                fields = {key: value for one in arguments for key, value in one.items()}
                for key in ("service", "config_dir", "require", "deadline"):
                    fields.pop(key, None)
                Spec.from_dict(fields)


@pytest.mark.parametrize(
    ("service", "host"), [one for topology, *one in placements() if topology == "tls"]
)
def test_what_uwsgi_serves_is_encrypted_where_backends_are(service, host):
    formula, names = view("tls", host)["formulas"][service], context("tls", service, host)
    wanted = generation.render(service, formula, source(service), names)
    served = [file.text for name, file in wanted.files.items() if name.startswith("uwsgi")]
    # A port says so by `tls: true`.
    assert [text for text in served if "https-socket" not in text] == []


@pytest.mark.parametrize(("topology", "service", "host"), placements())
def test_once_tasks_and_databases_belong_to_the_first_host(topology, service, host):
    states = expand.states(service, view(topology, host), context(topology, service, host))
    functions = {function for body in states.values() for function in body}
    first = load(topology).placement[service][0] == host
    assert first or not functions & {"container.ran", "database.present"}


@pytest.mark.parametrize("topology", ["roles-apart", "roles-apart-openvswitch"])
def test_a_compute_host_does_not_know_the_others(topology):
    few, many = (host_view(grown(topology, count), "compute1", {}, USERS) for count in (2, 200))
    assert few == many
    assert [name for name in many["hosts"] if name.startswith("compute")] == ["compute1"]


@pytest.mark.parametrize(
    "formula", sorted(path.parent.name for path in ROOT.glob("formulas/*/service.yml"))
)
def test_a_formula_has_its_images_and_an_sls(formula):
    init = (ROOT / "formulas" / formula / "init.sls").read_text()
    assert init == "#!service\n"
    for image in images_of(formulas.load([ROOT / "formulas"])[formula]):
        assert (ROOT / "images" / image / "Dockerfile.j2").is_file()
