"""Order, priorities and the picture of the image graph."""

import pytest

from saltern.errors import SalternError
from saltern.images import graph

PARENTS = {
    "rootfs": (),
    "base": ("rootfs",),
    "builder": ("base",),
    "openstack": ("base", "builder"),
    "keystone": ("openstack", "builder"),
    "haproxy": ("base",),
}


def test_parents_come_first():
    order = graph.order(PARENTS)
    assert all(order.index(p) < order.index(n) for n, needed in PARENTS.items() for p in needed)


def test_a_circle_is_named():
    with pytest.raises(SalternError, match="a -> b -> a|b -> a -> b"):
        graph.order({"a": ("b",), "b": ("a",)})


def test_the_longest_path_comes_first():
    rank = graph.priorities(PARENTS, {"haproxy": 30, "builder": 60, "openstack": 10, "keystone": 5})
    assert rank["builder"] == 75
    assert rank["builder"] > rank["haproxy"]


def test_an_image_without_a_past_counts_as_usual():
    assert graph.priorities({"a": ()}, {}, default=7) == {"a": 7}


def test_the_tree_shows_further_parents():
    assert graph.tree(PARENTS).splitlines() == [
        "rootfs",
        "`-- base",
        "    |-- builder",
        "    |-- haproxy",
        "    `-- openstack  (+ builder)",
        "        `-- keystone  (+ builder)",
    ]
