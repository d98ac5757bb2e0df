"""What images are called: by the release those whose build depends on it, by the distribution all others."""

from __future__ import annotations

from pathlib import Path

import pytest

from saltern.errors import SalternError
from saltern.images import context, graph
from saltern.images.catalog import Catalog
from saltern.images.names import image_name
from saltern.images.options import Options
from saltern.images.render import render
from saltern.images.tags import tags

FILES = {
    "distros.yml": (
        "debian: {family: debian, release: trixie, image: null}\n"
        'rocky: {family: rhel, release: "10", image: "rocky:{release}"}\n'
        'centos: {family: rhel, release: "10", image: "centos:{release}"}\n'
    ),
    "users.yml": "{}\n",
    "releases.yml": (
        '"1.0": {codename: first, upgrade_from: []}\n"2.0": {codename: second, upgrade_from: ["1.0"]}\n'
    ),
    "macros.j2": "{% macro dated() %}\nRUN fetch {{ release }}\n{% endmacro %}\n",
    "locks/1.0.txt": "oslo==1\n",
    "locks/2.0.txt": "oslo==2\n",
    "base/Dockerfile.j2": "FROM scratch\n",
    "base/image.yml": "internal: true\n",
}
BASE = "FROM {{ image('base') }}\n"


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
        return Options(**{"release": "1.0", "overrides": overrides, "patches": overrides} | changes)

    def names(self, **changes) -> dict[str, str]:
        options = self.options(**changes)
        images = render(Catalog(self.top / "images", options), options)
        return {name: image.full_name for name, image in images.items()}

    def digests(self, **changes) -> dict[str, str]:
        options = self.options(**changes)
        catalog = Catalog(self.top / "images", options)
        images = render(catalog, options)
        found: dict[str, str] = {}
        for name in graph.order({name: image.parents for name, image in images.items()}):
            made = context.context(images[name], catalog, options)
            found[name] = context.digest(images[name], made, found)
        return found

    def tags(self, **changes) -> dict[str, str]:
        return tags(self.top / "images", self.options(**changes))


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


@pytest.mark.parametrize(
    "template",
    [
        BASE + "RUN fetch {{ release }}\n",
        BASE + "RUN fetch {{ codename }}\n",
        BASE + "{{ dated() }}",
        BASE + "{% if release == '2.0' %}\nRUN more\n{% endif %}",
        BASE + "{% if release in ['2.0'] %}\nRUN more\n{% endif %}",
        BASE + "{% if release < '2.0' %}\nRUN more\n{% endif %}",
        BASE + "{% set major = release.split('.')[0] %}\nRUN fetch {{ major }}\n",
        BASE + "RUN fetch {{ {'1.0': 'a', '2.0': 'b'}[release] }}\n",
        BASE + "RUN fetch {{ release | quote }} {{ 'v' ~ release }}\n",
        BASE + "COPY .saltern/python/ /build/\n",
    ],
)
def test_an_image_that_uses_the_release_or_its_lock_is_named_by_it(tree, template):
    tree.write("one/Dockerfile.j2", template)
    for release in ("1.0", "2.0"):
        assert tree.names(release=release)["one"] == f"saltern/one:{release}"
    before, after = tree.digests(release="1.0"), tree.digests(release="2.0")
    assert before["base"] == after["base"]
    assert before["one"] != after["one"], "their labels name the release"


@pytest.mark.parametrize(
    "template",
    [
        BASE,
        BASE + "{# release #}\n# release\nRUN echo release\n",
        BASE + "{% if base == 'rocky' %}\nRUN fetch {{ release }}\n{% endif %}",
    ],
)
def test_an_image_that_does_not_is_the_same_for_all_releases(tree, template):
    tree.write("one/Dockerfile.j2", template)
    assert tree.names()["one"] == "saltern/one:debian-trixie"
    assert tree.names(release="2.0") == tree.names(release="1.0")
    assert tree.digests(release="2.0") == tree.digests(release="1.0")


@pytest.mark.parametrize(
    "line", ["FROM {{ image('one') }}\n", BASE + "COPY --from={{ image('one') }} /a /a\n"]
)
def test_what_is_made_from_an_image_of_a_release_is_of_it_too(tree, line):
    tree.write("one/Dockerfile.j2", BASE + "RUN fetch {{ release }}\n")
    tree.write("two/Dockerfile.j2", line)
    tree.write("three/Dockerfile.j2", "FROM {{ image('two') }}\n")
    names = tree.names()
    assert names["two"] == "saltern/two:1.0"
    assert names["three"] == "saltern/three:1.0"


def test_distributions_do_not_collide(tree):
    named = [tree.names(base=base)["base"] for base in ("debian", "rocky", "centos")]
    named.append(tree.names(base_release="forky")["base"])
    tags_ = [name.removeprefix("saltern/base:") for name in named]
    assert tags_ == ["debian-trixie", "rocky-10", "centos-10", "debian-forky"]


def test_a_tag_of_the_options_is_that_of_every_image(tree):
    tree.write("one/Dockerfile.j2", BASE + "RUN fetch {{ release }}\n")
    names = tree.names(tag="mine", registry="r.example.org", namespace="n")
    assert names == {one: f"r.example.org/n/{one}:mine" for one in ("base", "one")}
    assert tree.tags(tag="mine") == {}


def test_a_name_changes_nothing_in_what_is_built(tree):
    tree.write("one/Dockerfile.j2", BASE + "COPY --from={{ image('base') }} /a /a\n")
    renamed = {"registry": "r.example.org", "namespace": "n", "tag": "t"}
    assert tree.digests(**renamed) == tree.digests()


def test_hosts_name_images_as_builds_do(tree):
    tree.write("one/Dockerfile.j2", BASE)
    tree.write("two/Dockerfile.j2", BASE + "RUN fetch {{ release }}\n")
    assert tree.tags() == {"base": "debian-trixie", "one": "debian-trixie"}
    for images in ({}, {"namespace": "n"}, {"registry": "r.example.org", "tag": "t"}):
        cloud = {"release": "1.0", "images": {**images, "tags": tree.tags(**images)}}
        names = tree.names(**images)
        assert {one: image_name(cloud, one) for one in ("one", "two")} == {
            one: names[one] for one in ("one", "two")
        }


def test_a_changed_template_gives_hosts_other_names(tree):
    tree.write("one/Dockerfile.j2", BASE)
    assert "one" in tree.tags()
    tree.write("one/Dockerfile.j2", BASE + "RUN fetch {{ release }}\n")
    assert "one" not in tree.tags()


def test_the_release_cannot_be_used_unseen(tree):
    tree.write("one/Dockerfile.j2", BASE + "RUN fetch {{ options.release }}\n")
    with pytest.raises(SalternError, match="has no attribute 'release'"):
        tree.names()


def test_a_circle_is_named(tree):
    tree.write("one/Dockerfile.j2", "FROM {{ image('two') }}\n")
    tree.write("two/Dockerfile.j2", "FROM {{ image('one') }}\n")
    with pytest.raises(
        SalternError, match="need each other: (one -> two -> one|two -> one -> two)"
    ):
        tree.names()
