"""A small image tree built by real Docker: order, skipping, failures, sizes."""

from __future__ import annotations

import io
import os
from pathlib import Path

import docker
import pytest

from saltern.errors import SalternError
from saltern.images.options import Options
from saltern.images.workshop import Workshop, failure

pytestmark = pytest.mark.docker
NAMESPACE = f"saltern-test-images-{os.getpid()}"
FILES = {
    "distros.yml": "debian: {family: debian, release: trixie, image: null}\n",
    "users.yml": "{}\n",
    "releases.yml": '"1.0": {codename: first, upgrade_from: []}\n',
    "macros.j2": "{% macro install(names=none) %}{% endmacro %}\n",
    "locks/1.0.txt": "",
    "rootfs/bootstrap.j2": (
        # Another one for each run: what another run has left under its own name is not taken.
        f"# {NAMESPACE}\nset -e\nmkdir -p $1/bin $1/etc\ncp /bin/busybox $1/bin/\n"
        "for one in sh cat echo dd true false; do ln -s busybox $1/bin/$one; done\n"
    ),
    "base/Dockerfile.j2": "FROM {{ image('rootfs') }}\nCOPY shared /shared\n",
    "base/shared": "shared\n" * 1000,
    "one/Dockerfile.j2": "FROM {{ image('base') }}\nRUN dd if=/dev/zero of=/one bs=1000 count=5\n",
    "two/Dockerfile.j2": (
        "FROM {{ image('one') }}\nCOPY --from={{ image('other') }} /bin/busybox /busybox\nUSER 1001\n"
    ),
    "other/Dockerfile.j2": "FROM {{ image('base') }}\nCOPY file /file\n",
    "other/file": "file\n",
}


@pytest.fixture
def tree(tmp_path, images):  # `images` sees to it that there is a busybox
    for name, text in FILES.items():
        write(tmp_path, name, text)
    yield tmp_path
    api = docker.APIClient(version="auto")
    tags = [tag for one in api.images() for tag in one["RepoTags"] or ()]
    for tag in [tag for tag in tags if tag.startswith(f"{NAMESPACE}/")]:
        api.remove_image(tag, force=True)


def write(top: Path, name: str, text: str) -> None:
    path = top / "images" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def shop(top: Path, **changes) -> Workshop:
    folders = {key: str(top / key) for key in ("overrides", "patches", "log_dir", "state_dir")}
    given = {"release": "1.0", "namespace": NAMESPACE, "retries": 0}
    options = Options(**given | folders | changes)
    return Workshop(top / "images", options)


def statuses(results) -> dict[str, str]:
    return {name: one.status for name, one in results.items()}


def test_everything_is_built_once_and_in_order(tree):
    events = []
    results = shop(tree).build((), events.append)
    assert set(statuses(results).values()) == {"built"}, failure(results)
    ended = [event.image for event in events if event.phase == "end"]
    assert ended[:2] == ["rootfs", "base"]
    assert ended.index("two") > max(ended.index("one"), ended.index("other"))
    percents = [event.percent for event in events]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert shop(tree).plan().todo == {}
    assert set(statuses(shop(tree).build((), events.append)).values()) == {"current"}


def test_a_change_builds_what_stands_on_it_and_nothing_else(tree):
    shop(tree).build((), lambda event: None)
    write(tree, "other/file", "changed\n")
    assert shop(tree).plan().todo == {"other": "changed", "two": "changed"}
    results = statuses(shop(tree).build((), lambda event: None))
    assert {name for name, status in results.items() if status == "built"} == {"other", "two"}


def test_a_named_image_brings_its_parents_only(tree):
    results = shop(tree).build(["one"], lambda event: None)
    assert set(results) == {"rootfs", "base", "one"}


def test_force_builds_a_current_image_again(tree):
    shop(tree).build(["one"], lambda event: None)
    assert shop(tree).plan(["one"], force=True).todo == {"one": "forced"}


def test_another_name_of_the_same_image_is_given_to_it_and_nothing_is_built(tree):
    first, other = shop(tree), shop(tree, tag="other")
    first.build((), lambda event: None)
    made = other.plan()
    assert made.todo == {}
    assert set(made.elsewhere) == set(first.images)
    assert set(statuses(other.build((), lambda event: None)).values()) == {"current"}
    api = docker.APIClient(version="auto")
    for name in first.images:
        assert api.inspect_image(first.name(name)) == api.inspect_image(other.name(name))
    assert other.plan().elsewhere == {}
    assert other.plan(["one"], force=True).todo == {"one": "forced"}


def test_what_is_made_from_an_image_is_not_taken_for_it(tree):
    stages = (
        "FROM {{ image('one') }} AS stage\nRUN echo stage >/stage\n\nFROM {{ image('base') }}\n"
    )
    write(tree, "two/Dockerfile.j2", f"{stages}COPY --from=stage /stage /stage\nUSER 1001\n")
    first = shop(tree)
    first.build((), lambda event: None)
    api = docker.APIClient(version="auto")
    somebodys = io.BytesIO(f"FROM {first.name('one')}\nRUN echo mine >/mine\n".encode())
    assert list(api.build(fileobj=somebodys, tag=f"{NAMESPACE}/mine:1", rm=True))
    wanted = {name: api.inspect_image(first.name(name))["Id"] for name in first.images}
    assert shop(tree, tag="other").plan().elsewhere == wanted


def test_another_release_builds_what_depends_on_it_and_nothing_else(tree):
    both = FILES["releases.yml"] + '"2.0": {codename: second, upgrade_from: ["1.0"]}\n'
    write(tree, "releases.yml", both)
    write(tree, "locks/2.0.txt", "")
    write(tree, "one/Dockerfile.j2", "FROM {{ image('base') }}\nRUN echo {{ release }} >/one\n")
    shop(tree).build((), lambda event: None)
    later = shop(tree, release="2.0")
    assert later.plan().todo == {"one": "missing", "two": "missing"}
    assert later.plan().elsewhere == {}
    later.build((), lambda event: None)
    api = docker.APIClient(version="auto")
    labels = {
        name: api.inspect_image(later.name(name))["Config"]["Labels"]["saltern.release"]
        for name in later.images
    }
    assert labels == {"rootfs": "", "base": "", "other": "", "one": "2.0", "two": "2.0"}


def test_a_failure_names_image_step_and_last_lines_and_spares_the_rest(tree):
    write(tree, "one/Dockerfile.j2", "FROM {{ image('base') }}\nRUN echo the reason && false\n")
    results = shop(tree).build((), lambda event: None)
    assert statuses(results) == {
        "rootfs": "built", "base": "built", "other": "built", "one": "failed", "two": "skipped",
    }  # fmt: skip
    text = failure(results)
    assert "one failed in step 2/" in text
    assert "RUN echo the reason && false" in text
    assert "\nthe reason\n" in text
    assert "Skipped, because a parent failed: two" in text
    assert "the reason" in (tree / "log_dir/one.log").read_text()


def test_what_the_network_broke_is_tried_again(tree):
    broken = "FROM {{ image('base') }}\nRUN echo Temporary failure resolving x && false\n"
    write(tree, "one/Dockerfile.j2", broken)
    results = shop(tree, retries=1).build(["one"], lambda event: None)
    assert results["one"].status == "failed"
    assert "attempt 2" in (tree / "log_dir/one.log").read_text()


def test_layers_that_images_share_are_counted_once(tree):
    shop(tree).build((), lambda event: None)
    found = shop(tree).sizes(["base", "one", "two", "other"])
    sizes = {name: one["size"] for name, one in found["images"].items()}
    own = {name: one["own"] for name, one in found["images"].items()}
    assert sizes["one"] - sizes["base"] == 5000
    assert own["other"] == len(FILES["other/file"])
    assert own["base"] == own["one"] == 0, "others stand on all their layers"
    assert found["total"] == sizes["two"] + own["other"]


def test_proxies_and_indexes_leave_no_trace(tree):
    write(tree, "one/Dockerfile.j2", "FROM {{ image('base') }}\nRUN echo through $http_proxy\n")
    proxy = "http://user:hidden@proxy.example.org"
    results = shop(tree, http_proxy=proxy).build(["one"], lambda event: None)
    log = (tree / "log_dir/one.log").read_text()
    assert "through http://***@proxy.example.org" in log, "the build saw it"
    assert "hidden" not in log
    api = docker.APIClient(version="auto")
    name = results["one"].full_name
    assert "hidden" not in str(api.inspect_image(name)) + str(api.history(name))


def test_a_registry_that_does_not_answer_is_named(tree):
    with pytest.raises(SalternError, match=r"127\.0\.0\.1:9/"):
        shop(tree, registry="127.0.0.1:9").push(["base"])
    with pytest.raises(SalternError, match="saltern:images:registry is empty"):
        shop(tree).push(["base"])
