"""What an image is built from, and what changes its hash."""

from pathlib import Path

import pytest

from saltern.errors import SalternError
from saltern.images import context, graph
from saltern.images.catalog import Catalog
from saltern.images.options import Options
from saltern.images.render import render
from saltern.images.sources import _version, project_key

FILES = {
    "distros.yml": "debian: {family: debian, release: trixie, image: null}\n",
    "users.yml": "one: {uid: 1001}\n",
    "releases.yml": '"1.0": {codename: first, upgrade_from: []}\n',
    "macros.j2": "{% macro install(names=none) %}\nRUN install {{ names }}\n{% endmacro %}\n",
    "locks/1.0.txt": "# Projects\nkeystone==2\nglance==3\n# Libraries\nOslo.Config==1\n",
    "base/Dockerfile.j2": "FROM scratch\nCOPY a /a\n",
    "base/a": "a",
    "keystone/Dockerfile.j2": "FROM {{ image('base') }}\nCOPY .saltern/python/ /b/\nUSER one\n",
    "keystone/image.yml": "project: keystone\nuser: one\n",
    "glance/Dockerfile.j2": "FROM {{ image('base') }}\nCOPY .saltern/python/ /b/\nUSER one\n",
    "glance/image.yml": "project: glance\nuser: one\n",
}


class Tree:
    """A small image tree whose files tests change."""

    def __init__(self, top: Path) -> None:
        self.top = top
        for name, text in FILES.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        path = self.top / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def options(self, **changes) -> Options:
        overrides = str(self.top / "overrides")
        return Options(
            release="1.0", overrides=overrides, patches=f"{overrides}/patches", **changes
        )

    def contexts(self, **changes):
        options = self.options(**changes)
        catalog = Catalog(self.top / "images", options)
        images = render(catalog, options)
        return images, {n: context.context(i, catalog, options) for n, i in images.items()}

    def digests(self, **changes) -> dict[str, str]:
        images, contexts = self.contexts(**changes)
        found: dict[str, str] = {}
        for name in graph.order({name: image.parents for name, image in images.items()}):
            found[name] = context.digest(images[name], contexts[name], found)
        return found

    def changed(self, before: dict[str, str], **changes) -> set[str]:
        after = self.digests(**changes)
        return {name for name in after if after[name] != before.get(name)}


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


def test_nothing_changed_is_nothing_to_build(tree):
    assert tree.changed(tree.digests()) == set()


def test_a_file_of_the_base_rebuilds_all(tree):
    before = tree.digests()
    tree.write("base/a", "b")
    assert tree.changed(before) == {"base", "keystone", "glance"}


def test_an_executable_bit_counts_and_a_umask_does_not(tree):
    before = tree.digests()
    (tree.top / "images/base/a").chmod(0o600)
    assert tree.changed(before) == set()
    (tree.top / "images/base/a").chmod(0o755)
    assert "base" in tree.changed(before)


def test_a_new_version_of_a_project_rebuilds_its_image_only(tree):
    before = tree.digests()
    tree.write("locks/1.0.txt", FILES["locks/1.0.txt"].replace("glance==3", "glance==4"))
    assert tree.changed(before) == {"glance"}


def test_a_new_version_of_a_library_rebuilds_all_that_install_python(tree):
    before = tree.digests()
    tree.write("locks/1.0.txt", FILES["locks/1.0.txt"].replace("Config==1", "Config==2"))
    assert tree.changed(before) == {"keystone", "glance"}


def test_the_lock_is_normalised_and_without_other_services(tree):
    _, contexts = tree.contexts()
    lock = contexts["keystone"].files[".saltern/python/constraints.txt"]
    assert lock == b"keystone==2\noslo-config==1\n"


def test_a_new_image_leaves_the_others_current(tree):
    before = tree.digests()
    tree.write("heat/Dockerfile.j2", FILES["glance/Dockerfile.j2"])
    tree.write("heat/image.yml", "project: heat\nuser: one\n")
    tree.write("locks/1.0.txt", FILES["locks/1.0.txt"].replace("glance==3", "glance==3\nheat==4"))
    assert tree.changed(before) == {"heat"}


def test_a_wrong_lock_line_is_named(tree):
    tree.write("locks/1.0.txt", "keystone>=2\n")
    with pytest.raises(SalternError, match=r"1\.0\.txt, line 1: 'keystone>=2'"):
        tree.contexts()


def test_a_package_without_a_version_is_named_before_anything_is_built(tree):
    tree.write("glance/image.yml", "project: glance\nuser: one\npython: [Boto_3]\n")
    with pytest.raises(
        SalternError, match=r"images/glance names boto-3, which .*/1\.0\.txt has no"
    ):
        tree.contexts()
    assert tree.contexts(extra_python={"glance": ["boto-3==1"]})


def test_an_image_may_bring_lines_of_its_own(tree):
    before = tree.digests()
    tree.write("glance/image.yml", "project: glance\nuser: one\npython: [boto-3]\n")
    tree.write("glance/locks/1.0.txt", "boto-3==4\n")
    assert tree.changed(before) == {"glance"}
    _, contexts = tree.contexts()
    files = contexts["glance"].files
    assert b"boto-3==4\n" in files[".saltern/python/constraints.txt"]
    assert "locks/1.0.txt" not in files


def test_a_version_of_the_options_replaces_the_locked_one(tree):
    _, contexts = tree.contexts(sources={"Keystone": {"type": "pypi", "reference": "2.5"}})
    assert b"keystone==2.5\n" in contexts["keystone"].files[".saltern/python/constraints.txt"]
    assert not contexts["keystone"].sources


def test_a_local_source_is_hashed_by_content_and_leaves_the_lock(tree):
    project = tree.top / "src"
    project.mkdir()
    (project / "setup.py").write_text("1")
    sources = {"keystone": {"type": "local", "location": str(project)}}
    before = tree.digests(sources=sources)
    assert tree.changed(tree.digests(), sources=sources) == {"keystone"}
    (project / "setup.py").write_text("2")
    assert tree.changed(before, sources=sources) == {"keystone"}
    (project / ".git").mkdir()
    (project / ".git/index").write_text("x")
    (project / "a.pyc").write_text("x")
    _, contexts = tree.contexts(sources=sources)
    assert b"keystone" not in contexts["keystone"].files[".saltern/python/constraints.txt"]


def test_a_patch_rebuilds_its_projects_image(tree):
    before = tree.digests()
    patch = tree.top / "overrides/patches/keystone/fix.patch"
    patch.parent.mkdir(parents=True)
    patch.write_text("--- a\n")
    assert tree.changed(before) == {"keystone"}


def test_an_operators_file_wins_by_path(tree):
    before = tree.digests()
    override = tree.top / "overrides/images/base/a"
    override.parent.mkdir(parents=True)
    override.write_text("mine")
    _, contexts = tree.contexts()
    assert contexts["base"].files["a"] == override
    assert tree.changed(before) == {"base", "keystone", "glance"}


def test_extra_packages_are_installed_as_root_before_the_user(tree):
    images, _ = tree.contexts(extra_packages={"keystone": ["vim"]})
    lines = [one for one in images["keystone"].text.splitlines() if not one.startswith("#")]
    assert lines[-3:] == ["USER root", "RUN install ['vim']", "USER one"]


def test_extra_packages_of_an_unknown_image_are_refused(tree):
    with pytest.raises(SalternError, match="Did you mean 'keystone'"):
        tree.contexts(extra_packages={"keyston": ["vim"]})


def test_a_bundle_of_this_host_changes_no_hash(tree, tmp_path):
    tree.write("base/Dockerfile.j2", "FROM scratch\nCOPY .saltern/build-ca-bundle.crt /c\n")
    bundle = tmp_path / "ca.crt"
    bundle.write_text("1")
    before = tree.digests(build_ca_bundle=str(bundle))
    bundle.write_text("2")
    assert tree.changed(before, build_ca_bundle=str(bundle)) == set()


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("FROM {{ imag('base') }}\n", "Did you mean 'image'"),
        ("FROM {{ image('bse') }}\n", "Did you mean 'base'"),
        ("FROM {{ image('glance') }}\n", "starts from itself"),
        ("FROM {% if %}\n", "line 1"),
    ],
)
def test_mistakes_in_a_template_are_named(tree, template, says):
    tree.write("glance/Dockerfile.j2", template)
    with pytest.raises(SalternError, match=says):
        tree.contexts()


def test_project_names_compare_as_the_index_does():
    assert project_key("Oslo.Config") == project_key("oslo_config") == "oslo-config"


@pytest.mark.parametrize(
    ("described", "version"),
    [
        ("30.0.0", "30.0.0"),
        ("30.0.0-4-gabc1234", "30.0.0.post4"),
        ("v1.2", "1.2"),
        ("abc", "0.0.0"),
    ],
)
def test_a_description_of_git_becomes_a_version(described, version):
    assert _version(described) == version
