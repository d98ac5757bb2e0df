"""A host answers without running states only while nothing that its last plan depended on differs."""

from __future__ import annotations

import copy
import os

import pytest
from salt.utils.secret import MaskedDict

from saltern.containers import actual
from saltern.host import plan_cache
from saltern.run import served

INPUTS = {"pillar": {"a": {1: "one"}}, "code": "c", "served": "s", "services": ["x"]}


@pytest.fixture
def disk(tmp_path):
    """Return folders as a host has them: two generations of a service and a marker of a task."""
    for generation in ("old", "new"):
        (tmp_path / "services/x" / generation).mkdir(parents=True)
        (tmp_path / "services/x" / generation / "x.conf").write_text(generation)
    (tmp_path / "once").mkdir()
    (tmp_path / "once/x-sync.json").write_text("{}")
    return tmp_path


def digest(disk, inputs=INPUTS):
    return plan_cache.digest(inputs, [disk / "services/x", disk / "once", disk / "keyrings/x"])


def test_the_same_host_has_the_same_digest(disk):
    assert digest(disk) == digest(disk, copy.deepcopy(INPUTS))


@pytest.mark.parametrize("name", INPUTS)
def test_other_data_is_another_digest(disk, name):
    assert digest(disk, INPUTS | {name: "other"}) != digest(disk)


def test_a_number_is_not_its_text(disk):
    assert digest(disk, INPUTS | {"pillar": {"a": {"1": "one"}}}) != digest(disk)


@pytest.mark.parametrize(
    "change",
    [
        lambda disk: (disk / "services/x/new/x.conf").write_text("edited by hand"),
        lambda disk: (disk / "services/x/new/x.conf").chmod(0o777),
        lambda disk: (disk / "services/x/new/x.conf").unlink(),
        lambda disk: (disk / "services/x/new/more").touch(),
        lambda disk: (disk / "services/x/new").chmod(0o700),
        # The newest folder is the wanted one where no container says which is in use.
        lambda disk: os.utime(disk / "services/x/old", (2e9, 2e9)),
        lambda disk: (disk / "once/x-sync.json").unlink(),
        lambda disk: (disk / "keyrings/x").mkdir(parents=True),
    ],
)
def test_another_file_owner_or_mode_is_another_digest(disk, change):
    before = digest(disk)
    change(disk)
    assert digest(disk) != before


def test_a_digest_is_remembered_for_root_alone(disk):
    marker = disk / "var/planned"
    assert not plan_cache.same(marker, "digest")
    plan_cache.remember(marker, "digest")
    assert plan_cache.same(marker, "digest") and not plan_cache.same(marker, "other")
    assert marker.stat().st_mode & 0o777 == 0o600


LISTED = {
    "Id": "1",
    "Names": ["/api"],
    "Image": "image",
    "ImageID": "sha256:1",
    "Created": 1,
    "State": "running",
    "Status": "Up 2 hours (healthy)",
    "Labels": {"saltern.service": "x", "saltern.spec": "spec", "saltern.config": "config"},
}


def containers(images=None, **changes):
    images = images or {"image:latest": "sha256:1"}
    listed = LISTED | {"Labels": LISTED["Labels"] | changes.pop("Labels", {})} | changes
    return actual.snapshot([listed], images.get).digest(["image"])


def test_neither_time_nor_a_foreign_image_changes_what_runs():
    assert containers(Status="Up 3 hours (healthy)") == containers()
    assert containers({"image:latest": "sha256:1", "other:latest": "sha256:2"}) == containers()


@pytest.mark.parametrize(
    "changes",
    [
        {"Id": "2"},
        {"Names": ["/api.previous"]},
        {"ImageID": "sha256:2"},
        {"State": "exited", "Status": "Exited (1) 2 hours ago"},
        {"Status": "Up 2 hours (unhealthy)"},
        {"Labels": {"saltern.service": "y"}},
        {"Labels": {"saltern.spec": "other"}},
        {"Labels": {"saltern.config": "other"}},
        {"images": {"image:latest": "sha256:2"}},
        {"images": {"image:older": "sha256:1"}},
    ],
)
def test_another_container_or_image_is_another_digest(changes):
    assert containers(**changes) != containers()


def opts(*roots, **more):
    return {"file_roots": {"base": [str(root) for root in roots]}, **more}


def test_what_a_master_serves_has_one_digest_by_content_and_name(tmp_path):
    (tmp_path / "x/files").mkdir(parents=True)
    (tmp_path / "x/files/x.conf").write_text("one")
    before = served.digest(opts(tmp_path))
    (tmp_path / "x/files/x.conf").rename(tmp_path / "x/files/y.conf")
    renamed = served.digest(opts(tmp_path))
    (tmp_path / "x/files/y.conf").write_text("two")
    assert len({before, renamed, served.digest(opts(tmp_path))}) == 3


def test_the_order_of_roots_matters_as_the_first_wins(tmp_path):
    for root in ("a", "b"):
        (tmp_path / root).mkdir()
        (tmp_path / root / "x.conf").write_text(root)
    a, b = tmp_path / "a", tmp_path / "b"
    assert served.digest(opts(a, b)) != served.digest(opts(b, a))


def test_nobody_knows_what_git_serves(tmp_path):
    assert served.digest(opts(tmp_path, fileserver_backend=["roots", "gitfs"])) == ""


@pytest.mark.parametrize(
    ("files", "plain"),
    [
        ({"a/x/init.sls": "#!service\n"}, True),
        ({"a/x/init.sls": "#!service\nMore:\n  test.nop\n"}, False),
        ({"a/x/init.sls": "#!service\n", "b/x/init.sls": "Other:\n  test.nop\n"}, False),
        ({"a/x/init.sls": "#!service\n", "b/x.sls": "Other:\n  test.nop\n"}, False),
        ({}, False),
    ],
)
def test_only_states_that_service_yml_alone_makes_are_known(tmp_path, files, plain):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert served.plain([str(tmp_path / "a"), str(tmp_path / "b")], "x") is plain


def test_a_pillar_whose_values_salt_hides_counts_with_its_values():
    first, second = (
        plan_cache.digest({"pillar": MaskedDict({"a": {"b": [number]}})}, []) for number in (1, 2)
    )
    assert first != second
