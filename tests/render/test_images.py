"""Every image, for every base distribution and install type, without building it."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from saltern.images import graph
from saltern.images.catalog import Catalog
from saltern.images.context import PYTHON, context, digest
from saltern.images.options import Options, schema
from saltern.images.render import render

ROOT = Path(__file__).parents[2] / "images"
BASES = schema()["properties"]["base"]["enum"]
TYPES = schema()["properties"]["install_type"]["enum"]
CASES = list(itertools.product(BASES, TYPES))
RELEASES = sorted(path.stem for path in ROOT.glob("locks/*.txt"))


def tree(tmp_path: Path, **options):
    chosen = Options(overrides=str(tmp_path), build_ca_bundle=str(ROOT / "users.yml"), **options)
    catalog = Catalog(ROOT, chosen)
    return catalog, chosen, render(catalog, chosen)


@pytest.mark.parametrize(("base", "install_type"), CASES)
def test_the_tree_renders_and_is_one_tree(tmp_path, base, install_type):
    catalog, _, images = tree(tmp_path, base=base, install_type=install_type)
    wanted = {name for name, folder in catalog.folders.items() if not folder.bootstrap}
    assert wanted <= set(images)
    order = graph.order({name: image.parents for name, image in images.items()})
    assert set(order) == set(images)
    ours = {image.full_name for image in images.values()}
    for image in images.values():
        stage_names = {stage.name for stage in image.stages}
        for stage in image.stages:
            known = stage.source in ours or stage.source in stage_names
            assert known or image.name == "base", f"{image.name}: FROM {stage.source}"


@pytest.mark.parametrize(("base", "install_type"), CASES)
def test_what_is_deployed_runs_as_a_user_with_a_fixed_number(tmp_path, base, install_type):
    catalog, _, images = tree(tmp_path, base=base, install_type=install_type)
    for name, image in images.items():
        if image.folder.data.get("internal"):
            continue
        assert image.user, f"{name} does not end with USER"
        if image.user in ("root", "0"):
            reason = image.folder.data.get("root")
            assert reason, f"{name} runs as root: say why in image.yml, root: <reason>"
            continue
        account = image.variables["account"]
        assert account and account["name"] == image.user, f"{name}: image.yml names another user"
        assert account["uid"] >= 1000
        known = catalog.users.get(image.user, account)
        assert known["uid"] == account["uid"], f"{name}: images/users.yml has another number"


@pytest.mark.parametrize(("base", "install_type"), CASES)
def test_packages_come_with_the_distributions_own_tool(tmp_path, base, install_type):
    _, _, images = tree(tmp_path, base=base, install_type=install_type)
    family = images["base"].variables["family"]
    other = {"debian": "dnf ", "rhel": "apt-get "}[family]
    for name, image in images.items():
        assert other not in image.text, name


# Of packages that the distributions of the family have in no repository of their own.
ELSEWHERE = ("openvswitch", "ovn", "rabbitmq-server", "novnc")


@pytest.mark.parametrize(
    ("base", "install_type"), list(itertools.product(["centos", "rocky"], TYPES))
)
def test_repositories_are_added_for_packages_that_are_elsewhere(tmp_path, base, install_type):
    _, _, images = tree(tmp_path, base=base, install_type=install_type)
    for name, image in images.items():
        for line in image.text.splitlines():
            words = set(line.split())
            if words & set(ELSEWHERE) and "install" not in words:
                assert image.variables["repositories"], f"{name}: {line.strip()}"
        for package in image.variables["repositories"]:
            assert f"RUN dnf -y install {package} && dnf" in image.text, name


def test_distributions_of_debian_need_no_other_repositories(tmp_path):
    for base in ("debian", "ubuntu"):
        _, _, images = tree(tmp_path, base=base)
        assert not any(image.variables["repositories"] for image in images.values())


def test_builders_stay_out_of_what_is_deployed(tmp_path):
    _, _, images = tree(tmp_path)
    builder = images["openstack-builder"].full_name
    for name, image in images.items():
        if not image.folder.data.get("internal"):
            assert image.stages[-1].source != builder, name


def test_names_carry_registry_namespace_and_tag(tmp_path):
    _, _, images = tree(tmp_path, registry="r.example.org", namespace="n", tag="t")
    sources = {stage.source for image in images.values() for stage in image.stages}
    assert "r.example.org/n/base:t" in sources
    assert all(one.startswith("r.example.org/n/") for one in sources)


def test_a_base_image_replaces_the_root_file_system(tmp_path):
    _, _, images = tree(tmp_path, base_image="debian:trixie-slim")
    assert "rootfs" not in images
    assert images["base"].stages[0].source == "debian:trixie-slim"
    assert "tini" in images["base"].text


def test_company_settings_reach_the_images(tmp_path):
    _, _, images = tree(
        tmp_path, ca_certificates=["/ca.pem"], apt_mirror="http://mirror.example.org/debian"
    )
    assert "update-ca-certificates" in images["base"].text
    assert "http://mirror.example.org/debian" in images["rootfs"].text


def test_no_runtime_stage_gets_the_build_hosts_bundle(tmp_path):
    _, _, images = tree(tmp_path)
    holders = {name for name, image in images.items() if "build-ca-bundle" in image.text}
    # rootfs takes it away again.
    assert holders == {"openstack-builder", "rootfs"}


@pytest.mark.parametrize("release", RELEASES)
def test_every_release_has_versions_and_a_name(tmp_path, release):
    catalog, _, images = tree(tmp_path, release=release)
    assert catalog.codenames[release]
    assert images["keystone"].full_name.endswith(f":{release}")


@pytest.mark.parametrize("release", RELEASES)
def test_every_lock_has_the_versions_of_what_each_image_names(tmp_path, release):
    catalog, options, images = tree(tmp_path, release=release)
    for name, image in images.items():
        files = context(image, catalog, options).files
        if image.variables["project"] or image.variables["python"]:
            assert f"{PYTHON}/constraints.txt" in files, name


@pytest.mark.parametrize(
    ("base", "install_type"), list(itertools.product(["debian", "centos"], TYPES))
)
def test_infrastructure_is_the_same_for_every_release(tmp_path, base, install_type):
    found: dict[str, list[set[str]]] = {}
    for release in RELEASES:
        catalog, options, images = tree(
            tmp_path, release=release, base=base, install_type=install_type
        )
        hashes: dict[str, str] = {}
        for name in graph.order({name: image.parents for name, image in images.items()}):
            made = context(images[name], catalog, options)
            hashes[name] = digest(images[name], made, hashes)
            names, contents = found.setdefault(name, [set(), set()])
            names.add(images[name].full_name)
            contents.add(hashes[name])
    same = {name for name, (names, _) in found.items() if len(names) == 1}
    assert same >= {"base", "haproxy", "keepalived", "libvirt", "mariadb", "memcached", "rabbitmq"}
    for name, (names, contents) in found.items():
        assert len(names) == len(contents) == (1 if name in same else len(RELEASES)), name
    if install_type == "source":
        assert not same & {
            "openstack-builder",
            "openstack-base",
            "keystone",
            "nova-compute",
            "demo",
        }


def test_user_numbers_are_unique():
    catalog = Catalog(ROOT, Options())
    numbers = [one["uid"] for one in catalog.users.values()]
    assert len(numbers) == len(set(numbers))


def test_every_folder_says_what_it_is_for():
    for name, folder in Catalog(ROOT, Options()).folders.items():
        assert folder.data.get("summary"), f"images/{name}/image.yml: summary"
