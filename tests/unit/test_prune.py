"""What a host keeps of old configuration and images: all that is used, wanted, or leads back."""

from __future__ import annotations

import functools

from saltern.images.names import is_image_name
from saltern.run import prune

OURS = "reg:5000/saltern/"


def image(number, *tags, digests=(), labels=None, shared=0):
    """Return an image as Docker lists it; a higher number is newer."""
    return {
        "Id": f"sha256:{number}",
        "Created": number,
        "Size": 100,
        "SharedSize": shared,
        "RepoTags": list(tags) or None,
        "RepoDigests": list(digests) or None,
        "Labels": labels,
    }


def unneeded(*listed, used=(), needed=()):
    """Return the names of the images that go."""
    found = prune.images(listed, {f"sha256:{one}" for one in used}, OURS, wanted, set(needed))
    return [name for one in found for name in one.names]


def wanted(name):
    """Say that images with tag 3 are wanted."""
    return name.rpartition(":")[2] == "3"


def nova(tag):
    return f"{OURS}nova:{tag}"


def test_what_runs_what_is_wanted_and_the_one_before_stay():
    listed = [image(1, nova(1)), image(2, nova(2)), image(3, nova(3)), image(0, nova(0))]
    assert unneeded(*listed, used=[3]) == [nova(1), nova(0)]
    # The wanted one does not run yet.
    assert unneeded(*listed, used=[1]) == [nova(0)]


def test_each_image_has_one_before_it_of_its_own():
    listed = [image(1, nova(1)), image(2, f"{OURS}glance:1"), image(4, nova(2))]
    assert unneeded(*listed) == [nova(1)]


def test_names_of_others_are_left_alone():
    listed = [image(number, f"other/nova:{number}") for number in range(5)]
    listed += [image(9, "reg:5000/salternity/nova:1"), image(8), image(7, "<none>:<none>")]
    assert unneeded(*listed) == []
    both = [image(1, nova(1), "mine:1"), image(2, nova(2))]
    assert unneeded(*both) == [nova(1)]


def test_an_image_that_lost_its_name_is_known_by_its_digest_or_its_label():
    digest = f"{OURS}nova@sha256:aa"
    pulled = image(1, digests=[digest])
    built = image(0, labels={"saltern.name": nova(3)})
    assert unneeded(image(2, nova(2)), pulled, built) == ["sha256:1", "sha256:0"]
    assert unneeded(image(2, nova(2)), pulled, needed=[digest]) == []
    # The name of another cloud, though it says that it was built here.
    assert unneeded(image(2, nova(2)), image(1, "x:1", labels={"saltern.name": nova(3)})) == []


def test_what_a_way_back_names_stays_by_whatever_name():
    listed = [image(1, nova(0)), image(2, nova(1)), image(3, nova(2))]
    assert unneeded(*listed) == [nova(1), nova(0)]
    assert unneeded(*listed, needed=["sha256:1", nova(1)]) == []


def test_only_what_an_image_does_not_share_is_room():
    found = prune.images(
        [image(2, nova(2)), image(1, nova(1), shared=70)], set(), OURS, wanted, set()
    )
    assert [one.bytes for one in found] == [30]


def test_of_generations_those_in_use_the_last_before_and_the_last_after_stay():
    found = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "e": 5.0}
    assert prune.generations(found, {"c"}, ()) == ["d", "a"]
    assert prune.generations(found, {"e"}, ()) == ["c", "b", "a"]
    assert prune.generations(found, {"c"}, {"a"}) == ["d"]
    assert prune.generations(found, (), ()) == ["d", "c", "b", "a"]
    assert prune.generations({}, {"gone"}, ()) == []


def test_it_says_what_each_host_freed():
    one = {"generations": {"nova": ["0a", "0b"]}, "images": [nova(1)], "bytes": 1.25e9}
    none = {"generations": {}, "images": [], "bytes": 0}
    assert prune.text({"c1": one, "c2": none}).splitlines() == [
        f"  c1: freed 1.2 GB: 2 generations of configuration, 1 image (nova 0a, 0b; {nova(1)})",
        "  c2: nothing to remove",
    ]
    assert "would free at least 1.2 GB" in prune.text({"c1": one}, tested=True)


def test_what_the_registry_gave_for_what_is_wanted_now_is_named_by_its_digest():
    tags = {"mariadb": "debian-trixie"}
    cloud = {"release": "2026.2", "images": {"registry": "reg:5000", "tags": tags}}
    kept = {
        f"{OURS}nova:2026.2": "sha256:aa",
        f"{OURS}nova:2026.1": "sha256:bb",
        f"{OURS}mariadb:2026.2": "sha256:cc",
        f"{OURS}mariadb:debian-trixie": "sha256:dd",
        "x:2026.2": "sha256:ee",
    }
    found = prune.exact(kept, functools.partial(is_image_name, cloud))
    assert found == [f"{OURS}nova@sha256:aa", f"{OURS}mariadb@sha256:dd"]
