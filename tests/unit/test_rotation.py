"""Rotation of secrets: what a command chooses, what it refuses, and what the secrets file holds meanwhile."""

from __future__ import annotations

import pytest

from saltern.cloud import secrets
from saltern.cloud.model import Cloud
from saltern.run import rotation
from saltern.run.fleet import RolloutError

DATABASE = {"rotate": {"what": "database", "by": "two_passwords"}}
BROKER = {"rotate": {"what": "broker", "by": "two_accounts"}}
RING = {
    "kind": "fernet_ring",
    "size": "{{ options.kept }}",
    "rotate": {"what": "keys", "by": "ring"},
}
REFUSED = {"rotate": {"what": "cookie", "instead": "stop it first"}}
CATALOG = {
    "rabbit": {"secrets": {"password": BROKER, "cookie": REFUSED}},
    "api": {
        "secrets": {"database_password": DATABASE, "plain": {}, "ring": RING},
        "uses_secrets": ["rabbit.password"],
        "options": {"kept": {"default": 5}},
    },
    "worker": {"requires": ["api"], "uses_secrets": ["api.database_password"]},
    "off": {"secrets": {"password": DATABASE}},
}
HOSTS = {"one": {"address": "10.0.0.1", "roles": []}}
OLD = "the-old-value"


@pytest.fixture
def cloud() -> Cloud:
    """Return a cloud of these services on one host; one of them is nowhere."""
    placement = {name: [] if name == "off" else ["one"] for name in CATALOG}
    overrides = {name: {} for name in CATALOG}
    return Cloud({"hosts": HOSTS, "images": {}}, CATALOG, placement, overrides)


def test_a_word_chooses_secrets_and_all_who_hold_them(cloud):
    (one,) = rotation.chosen(cloud, ["database"], [])
    assert (str(one), one.holders) == ("api.database_password", ("api", "worker"))
    both = rotation.chosen(cloud, ["database", "broker"], [])
    assert sorted(map(str, both)) == ["api.database_password", "rabbit.password"]
    assert rotation.chosen(cloud, ["passwords"], []) == both
    (ring,) = rotation.chosen(cloud, ["keys"], ["api"])
    assert (ring.by, ring.size(cloud)) == ("ring", 5)


@pytest.mark.parametrize(
    ("what", "services", "words"),
    [
        (
            [],
            [],
            "not named; pillar:what takes broker, certificates, cookie, database, keys, passwords",
        ),
        (["databse"], [], "database"),
        (["database"], ["rabbit"], "rabbit has no secret for database; api has"),
        (["cookie"], [], "rabbit.cookie is not rotated by this"),
        (["certificates"], [], "certificates are not rotated"),
        (["database", "cookie"], [], "rabbit.cookie is not rotated by this"),
    ],
)
def test_what_cannot_be_rotated_is_refused_by_name(cloud, what, services, words):
    with pytest.raises(RolloutError) as error:
        rotation.chosen(cloud, what, services)
    assert words in str(error.value)


def test_what_is_refused_says_what_to_do_instead(cloud):
    with pytest.raises(RolloutError) as error:
        rotation.chosen(cloud, ["cookie", "certificates"], [])
    assert {one.remedy.partition(" pillar")[0] for one in error.value.failures} == {
        "stop it first",
        "salt-run state.orchestrate orch.certificates",
    }


def test_every_step_may_be_done_again():
    stored = {"api": {"database_password": OLD, "plain": "kept"}}
    name = ("api", "database_password")
    begun = secrets.renew(stored, *name, DATABASE)
    new = begun["api"]["database_password"]
    assert new != OLD and begun["api"]["database_password.former"] == OLD
    assert secrets.renew(begun, *name, DATABASE) == begun
    retired = secrets.retire(begun, *name)
    assert retired["api"] == {
        "database_password": new,
        "database_password.retired": OLD,
        "plain": "kept",
    }
    assert secrets.renew(secrets.retire(retired, *name), *name, DATABASE) == retired
    ended = secrets.end(retired, *name)
    assert ended["api"] == {"database_password": new, "plain": "kept"}
    assert secrets.end(ended, *name) == ended
    assert not secrets.under_way(ended, *name)


def test_two_accounts_take_turns():
    stored = {"rabbit": {"password": OLD}}
    slots = []
    for _ in range(3):
        stored = secrets.renew(stored, "rabbit", "password", BROKER)
        slots.append(stored["rabbit"]["password.slot"])
        stored = secrets.end(secrets.retire(stored, "rabbit", "password"), "rabbit", "password")
    assert slots == [1, 0, 1]


def test_what_cannot_be_valid_twice_is_retired_at_once():
    declaration = {"rotate": {"what": "seal", "by": "replaced", "gap": "letters are returned"}}
    begun = secrets.renew({"api": {"seal": OLD}}, "api", "seal", declaration)
    assert begun["api"]["seal.retired"] == OLD and begun["api"]["seal"] != OLD
    assert secrets.renew(begun, "api", "seal", declaration) == begun
    assert set(secrets.end(begun, "api", "seal")["api"]) == {"seal"}


def test_a_host_gets_what_stands_beside_its_secrets():
    values = {"password": "new", "password.former": OLD, "password.slot": 1, "other": "hidden"}
    assert secrets.with_beside(values, ["password"]) == {
        "password": "new",
        "password.former": OLD,
        "password.slot": 1,
    }
    assert secrets.with_beside({}, ["password"]) == {"password": None}


def test_what_differs_must_be_deployed_first_unless_it_is_the_rotations_own():
    change = {
        "state": "Run api",
        "comment": "Would replace it.",
        "result": None,
        "changes": {"a": 1},
    }
    plans = {"one": {"api": [change], "worker": [change]}}
    (left,) = rotation.in_the_way(plans, ["api"], "deploy it")
    assert (left.host, left.service, left.remedy) == ("one", "worker", "deploy it")
    assert rotation.in_the_way({"one": {}}, [], "") == []
