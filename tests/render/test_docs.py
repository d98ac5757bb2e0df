"""The documentation names what there is: services, options, commands; every page a link, no link dead."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from clouds import ROOT

from saltern.cloud import formulas
from saltern.cloud.validate import OF_SERVICES
from saltern.images.catalog import _SCHEMA
from saltern.images.options import schema as image_schema
from saltern.service import tasks

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("**/*.md"))]
FORMULAS = formulas.load([ROOT / "formulas"])
VERBS = {path.stem for path in ROOT.glob("salt/orch/*.sls")}
# What stands below `saltern:` in the pillar; `prefix` is a minion's own setting.
CLOUD = yaml.safe_load((ROOT / "_utils/saltern/cloud/cloud.schema.yml").read_text())["properties"]


def page(service: str) -> str:
    path = DOCS / f"services/{service}.md"
    assert path.exists(), f"{service} has no page"
    return path.read_text()


def rows(text: str) -> dict[str, list[str]]:
    """Return the rows of tables whose first cell is a `name`: name to the other cells."""
    cells = [re.split(r"(?<!\\) \| ", line.strip("| ")) for line in text.splitlines()]
    return {one[0].strip("`"): one[1:] for one in cells if re.fullmatch(r"`[^`]+`", one[0])}


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one).strip().lower().replace(" ", "-") for one in headings}


@pytest.mark.parametrize("service", FORMULAS)
def test_a_page_has_every_option_with_its_default_in_the_words_of_the_formula(service):
    found = rows(page(service))
    for name, option in FORMULAS[service].get("options", {}).items():
        assert name in found, f"no row for {name}"
        default, what = found[name]
        assert str(yaml.safe_load(default.strip("`"))) == str(option["default"]), name
        assert option["description"] in what, f"{name}: {option['description']}"


@pytest.mark.parametrize("service", FORMULAS)
def test_a_page_names_the_containers_files_ports_and_secrets(service):
    text, formula = page(service), FORMULAS[service]
    done = tasks.of_phase(formula, "deploy")
    names = [
        f"`{name}`" for name in [*formula["containers"], *(f"{service}-{name}" for name in done)]
    ]
    names += [f"`{name}`" for name in formula.get("config", {})]
    names += [str(port["port"]) for port in formula.get("ports", {}).values()]
    names += formula.get("secrets", {})
    assert [name for name in names if name not in text] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_names_only_what_the_pillar_knows(path):
    def known(service: str, key: str) -> bool:
        if service == "saltern":
            return key in CLOUD or key == "prefix"
        return key in OF_SERVICES or key in FORMULAS[service].get("options", {})

    # `neutron:backend`, `saltern:hosts:net1:options`, also with a value behind.
    named = re.findall(r"`([a-z-]+):([a-z_]+)[:`]", path.read_text())
    named = [one for one in named if one[0] == "saltern" or one[0] in FORMULAS]
    assert [f"{service}:{key}" for service, key in named if not known(service, key)] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_names_only_orchestrations_that_there_are(path):
    for line in path.read_text().splitlines():
        for verb in re.findall(r"\borch\.([a-z_]+)\b", line):
            assert (verb in VERBS) != ("not yet" in line), f"orch.{verb}: {line}"


def test_every_command_of_kolla_ansible_that_has_a_counterpart_is_mapped_to_it():
    text = (DOCS / "from-kolla-ansible.md").read_text()
    ours: set[str] = {"demo", "demo_destroy"}
    assert [verb for verb in sorted(VERBS - ours) if f"orch.{verb}" not in text] == []


def test_what_is_said_not_to_be_there_yet_is_not_there():
    there = {*CLOUD, *(path.stem for path in DOCS.glob("*.md")), "name", "fqdn"}
    for path in PAGES:
        text = path.read_text()
        cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line[:1] == "|"]
        claimed = " ".join(one[0] for one in cells if one[-1].startswith("not yet"))
        claims = set(re.findall(r"[a-z]+", claimed))
        claims |= {word.lower() for word in re.findall(r"[Tt]here is no (\w+) yet", text)}
        assert claims & there == set(), path.name


def test_every_container_has_its_row_among_those_of_kolla():
    text = (DOCS / "from-kolla-ansible.md").read_text().replace("_", "-")
    containers = {name for one in FORMULAS.values() for name in one.get("containers", {})}
    assert [name for name in sorted(containers) if f"`{name}`" not in text] == []


def test_clients_that_the_toolbox_is_said_to_lack_are_not_in_it():
    image = yaml.safe_load((ROOT / "images/toolbox/image.yml").read_text())
    for path in PAGES:
        lacking = re.findall(r"([\w-]+client)\b[^.\n]*toolbox lacks", path.read_text())
        assert not set(lacking) & set(image["python"]), path.name


def test_the_page_of_images_has_every_kind_of_health_check():
    script = (ROOT / "images/base/healthcheck").read_text()
    kinds = re.findall(r'^    "(\w+) \d"', script, re.MULTILINE)
    assert len(kinds) == 4
    text = (DOCS / "images.md").read_text()
    assert [kind for kind in kinds if f"`healthcheck {kind} " not in text] == []


def test_the_page_of_images_has_every_key_and_every_option():
    text = (DOCS / "images.md").read_text()
    named = set(re.findall(r"`(\w+)`", text))
    assert set(image_schema()["properties"]) - named == set()
    assert set(_SCHEMA["properties"]) - named == set()


def test_the_page_of_tempest_says_which_areas_there_are_and_what_is_left_out():
    tests: dict[str, Any] = yaml.safe_load((ROOT / "tests/tempest/tests.yml").read_text())
    text = (DOCS / "tempest.md").read_text()
    named = [f"`{area}`" for area in tests["areas"]]
    named += [one["because"].rstrip(".") for one in tests["excluded"]]
    assert [one for one in named if one not in text] == []


def test_every_page_is_linked_from_the_index():
    pages = {str(path.relative_to(DOCS)) for path in DOCS.glob("**/*.md")}
    linked = set(re.findall(r"\]\(([^)#]+\.md)", (DOCS / "index.md").read_text()))
    assert linked == pages - {"index.md"}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_link_is_dead(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = path.parent / name if name else path
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


KOLLA = (DOCS / "from-kolla-ansible.md").read_text()


def named(text: str) -> list[str]:
    """Return what stands in backticks."""
    return re.findall(r"`([^`]+)`", text)


def table(title: str) -> dict[str, str]:
    """Return the rows of a section's tables on Kolla-Ansible's page: first cell to the last."""
    section = re.split(rf"^## {title}$", KOLLA, flags=re.MULTILINE)[1].partition("\n## ")[0]
    cells = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:2] == "| "]
    return {one[0]: one[-1] for one in cells[1:]}


# What stands below `config` and `containers` has no schema of its own.
_OF_SERVICES: dict[str, Any] = {name: {} for name in OF_SERVICES}


def missing(path: str) -> bool:
    """Return whether a path of the pillar, such as ``saltern:images:registry``, leads nowhere."""
    service, *keys = path.split(":")
    if service == "saltern":
        node: Any = {"properties": {**CLOUD, "images": image_schema()}}
    elif service == "SERVICE":
        node = {"properties": _OF_SERVICES}
    else:
        node = {"properties": {**FORMULAS[service].get("options", {}), **_OF_SERVICES}}
    for key in keys:
        if "properties" in node and key in node["properties"]:
            node = node["properties"][key]
        elif isinstance(node.get("additionalProperties"), dict) or not node.get("properties"):
            # a map by names, such as hosts; what stands below a name has a schema again
            node = node.get("additionalProperties") or {}
        else:
            return True
    return False


def test_every_path_of_the_pillar_in_the_tables_leads_somewhere():
    services = {"saltern", "SERVICE", *FORMULAS}
    paths = [
        path
        for title in ("Where things are", "Commands", "globals.yml", "Inventory groups")
        for cell in table(title).values()
        for path in named(cell)
        if re.fullmatch(r"[A-Za-z-]+(:[A-Za-z_.]+)+", path) and path.partition(":")[0] in services
    ]
    assert len(paths) > 40
    assert [path for path in paths if missing(path)] == []


def test_secrets_in_the_tables_are_declared():
    for cell in table("globals.yml").values():
        for service, key in re.findall(r"secret `([a-z-]+): ([a-z_]+)`", cell):
            assert key in FORMULAS[service]["secrets"]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_names_only_targets_of_make_that_there_are(path):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = "\n".join([*named(path.read_text()), *re.findall(r"```.*?```", path.read_text(), re.S)])
    wanted = re.findall(r"(?:^|[\n;&(] *)make ([a-z][a-z-]*)", text)
    assert set(wanted) - targets == set()


def test_containers_that_replace_those_of_kolla_are_there():
    there = {name for one in FORMULAS.values() for name in one.get("containers", {})}
    for theirs, ours in table("Containers").items():
        alike = [] if ours.startswith("the same") or "none" in ours else named(ours)
        names = [name.replace("_", "-") for name in named(theirs)] if "with `-`" in ours else alike
        assert [name for name in names if name not in there] == [], theirs


def test_what_the_tables_have_not_is_not_there():
    there = {
        *FORMULAS,
        *VERBS,
        *(name for one in FORMULAS.values() for name in one.get("containers", {})),
    }
    there = {name.replace("_", "-") for name in there}
    for title in ("Commands", "globals.yml", "Containers"):
        for theirs, ours in table(title).items():
            if re.match(r"(not yet|none)\b", ours):
                names = [re.sub("^enable_", "", name).replace("_", "-") for name in named(theirs)]
                assert [name for name in names if name in there] == [], theirs
