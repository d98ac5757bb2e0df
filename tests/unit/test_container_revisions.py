"""Revisions: what a service ran, kept in order, and made into specs again."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from saltern.containers import actual, dockerapi, revisions
from saltern.containers.spec import Spec
from saltern.errors import SalternError

SPEC = Spec.from_dict(
    {
        "name": "glance-api",
        "image": "saltern/glance:2026.1",
        "command": ["uwsgi"],
        "environment": {"A": "b"},
        "volumes": ["glance:/var/lib/glance"],
        "tmpfs": ["/tmp", "/run:mode=0755"],
        "ulimits": {"nofile": [10, 20]},
        "healthcheck": {"test": ["true"], "interval": 5},
        "devices": ["/dev/net/tun"],
        "cap_add": ["NET_ADMIN"],
        "memory": "64m",
        "cpus": 0.5,
        "sysctls": {"net.ipv4.ip_forward": 1},
        "config_dir": "/etc/glance",
    }
)


def snapshot(spec=SPEC, image_id="sha256:old", images=None, name="glance-api"):
    """Return a host with one container."""
    images = images or {spec.image: image_id, image_id: image_id}
    labels = dockerapi.labels(spec, "glance", "", {"digest": "c0ffee", "path": "/x"})
    listing = {
        "Id": "1",
        "Names": [f"/{name}"],
        "Labels": {**labels, dockerapi.LABEL_RELEASE: "2026.1"},
        "State": "running",
        "Status": "Up 5 minutes (healthy)",
        # Docker gives the name only where it is still that of the container's image.
        "Image": spec.image if images[spec.image] == image_id else image_id,
        "ImageID": image_id,
        "Created": 1,
    }
    return actual.snapshot([listing], images.get)


def rows(**options):
    """Return what ``container.snapshot`` says of that host."""
    found = snapshot(**options).containers.values()
    return [{**asdict(one), "spec": one.spec} for one in found]


def test_a_revision_makes_the_very_spec_again():
    revision = revisions.now(rows(), "glance", ["glance-api"])
    kept = json.loads(json.dumps(revision))["containers"]["glance-api"]
    again = revisions.wanted("glance-api", kept, snapshot(), {"deadline": 300, "stop_when": None})
    assert again.digest == SPEC.digest
    assert (again.image, again.deadline) == (SPEC.image, 300)
    assert (kept["config"], revision["release"]) == ("c0ffee", "2026.1")


def test_an_image_whose_name_has_moved_is_taken_by_its_id():
    kept = revisions.now(rows(), "glance", [])["containers"]["glance-api"]
    moved = snapshot(images={SPEC.image: "sha256:new", "sha256:old": "sha256:old"})
    assert revisions.wanted("glance-api", kept, moved, {}).image == "sha256:old"
    gone = snapshot(images={SPEC.image: "sha256:new"})
    with pytest.raises(SalternError, match="not on this host any more"):
        revisions.wanted("glance-api", kept, gone, {})


def test_the_newest_come_last_and_the_oldest_go(tmp_path):
    path = revisions.file(str(tmp_path), "glance")
    for number in range(7):
        one = revisions.now(rows(image_id=f"sha256:{number}"), "glance", [])
        assert revisions.note(path, one)
        assert not revisions.note(path, one)
    known = revisions.read(path)
    assert revisions.images(known) == {f"sha256:{number}" for number in range(2, 7)}
    assert revisions.generations(known) == {"c0ffee"}
    # Back to an older one: it is the newest now, and there once.
    revisions.note(path, known[1])
    ids = [one["id"] for one in revisions.read(path)]
    assert ids[-1] == known[1]["id"]
    assert len(ids) == len(set(ids)) == 5
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_unknown_revision_is_refused_with_those_that_there_are():
    known = [{"id": "aaa"}, {"id": "bbb"}]
    with pytest.raises(SalternError, match="no revision ccc on this host; there are: aaa, bbb"):
        revisions.find(known, "ccc", "glance")


def test_a_spoilt_file_is_named(tmp_path):
    path = revisions.file(str(tmp_path), "glance")
    path.parent.mkdir()
    path.write_text("{")
    with pytest.raises(SalternError, match=r"glance\.json is not JSON: remove it"):
        revisions.read(path)
