"""Keystone as deployed: registration heals, keys rotate, passwords follow the secrets."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from saltern import masking
from saltern.cloud import secrets
from saltern.run import plan
from saltern.service import required

from .small_cloud import EXTERNAL, INTERNAL, PREFIX, SERVICES, SmallCloud

REGISTER = "Register services, users and endpoints"


def test_second_deployment_changes_nothing(small_cloud: SmallCloud) -> None:
    assert small_cloud.deploy(*SERVICES) == {}


def test_catalogue_names_both_addresses(small_cloud: SmallCloud) -> None:
    token = small_cloud.admin_token()
    catalog = small_cloud.request("GET", "/auth/catalog", token).body["catalog"]
    urls = {
        (service["type"], endpoint["interface"]): endpoint["url"]
        for service in catalog
        for endpoint in service["endpoints"]
    }
    assert urls["identity", "public"] == f"http://{EXTERNAL}:5000/v3"
    assert urls["image", "internal"] == "http://127.9.0.1:9292"


def test_registration_heals_drift_and_leaves_the_rest(small_cloud: SmallCloud) -> None:
    cloud, token = small_cloud, small_cloud.admin_token()
    services = {one["type"]: one for one in _get(cloud, token, "services")}
    image = services["image"]["id"]
    endpoint = next(
        one
        for one in _get(cloud, token, "endpoints")
        if one["service_id"] == image and one["interface"] == "public"
    )
    user = next(one for one in _get(cloud, token, "users") if one["name"] == "glance")
    project = next(one for one in _get(cloud, token, "projects") if one["name"] == "service")
    role = next(one for one in _get(cloud, token, "roles") if one["name"] == "service")
    own = cloud.request("POST", "/services", token, {"service": {"type": "own", "name": "own"}})
    assert own.status == 201
    for path, body in (
        (f"/endpoints/{endpoint['id']}", {"endpoint": {"url": "http://elsewhere"}}),
        (f"/services/{image}", {"service": {"description": "another"}}),
        (f"/users/{user['id']}", {"user": {"enabled": False}}),
    ):
        assert cloud.request("PATCH", path, token, body).status == 200
    grant = f"/projects/{project['id']}/users/{user['id']}/roles/{role['id']}"
    assert cloud.request("DELETE", grant, token).status == 204

    expected = {
        "url of endpoint image public",
        "description of service image",
        "enabled of user glance",
        "role service of user glance on project service",
    }
    told = cloud.apply("keystone", test=True)[REGISTER]
    assert told["result"] is None
    assert set(told["changes"]) == expected
    assert set(cloud.deploy("keystone")[REGISTER]["changes"]) == expected

    healed = cloud.request("GET", f"/endpoints/{endpoint['id']}", token).body["endpoint"]
    assert healed["url"] == endpoint["url"]
    assert cloud.request("HEAD", grant, token).status == 204
    assert "own" in [one["type"] for one in _get(cloud, token, "services")]
    assert cloud.deploy("keystone") == {}


def test_password_changed_by_hand_is_found_by_verifying(small_cloud: SmallCloud) -> None:
    cloud, token = small_cloud, small_cloud.admin_token()
    user = next(one for one in _get(cloud, token, "users") if one["name"] == "glance")
    body = {"user": {"password": "changed by hand"}}
    assert cloud.request("PATCH", f"/users/{user['id']}", token, body).status == 200
    assert cloud.salt_call("catalog.differences") == {}
    assert list(cloud.salt_call("catalog.register", "verify=True")) == ["password of user glance"]
    password = cloud.secrets["glance"]["keystone_password"]
    assert cloud.sign_in("glance", password).status == 201


def test_rotated_password_of_a_service_is_applied(kept_cloud: SmallCloud) -> None:
    kept_cloud.secrets["glance"]["keystone_password"] = "rotated-0123456789"
    changed = kept_cloud.deploy("keystone")
    assert list(changed[REGISTER]["changes"]) == ["password of user glance"]
    assert "rotated-0123456789" not in json.dumps(changed)
    assert kept_cloud.sign_in("glance", "rotated-0123456789").status == 201


def test_rotated_password_of_the_administrator_is_applied(kept_cloud: SmallCloud) -> None:
    kept_cloud.secrets["keystone"]["admin_password"] = "rotated-9876543210"
    kept_cloud.deploy("toolbox", "keystone")
    assert kept_cloud.sign_in("admin", "rotated-9876543210").status == 201


def test_rotation_of_token_keys_replaces_nothing(kept_cloud: SmallCloud) -> None:
    cloud = kept_cloud
    before, container = cloud.admin_token(), cloud.container_id("keystone-api")
    for _ in range(2):
        ring = cloud.secrets["keystone"]["fernet_keys"]
        cloud.secrets["keystone"]["fernet_keys"] = secrets.rotate(ring, 5)
        cloud.deploy("keystone")
        after = cloud.admin_token()
        # One validates the other: old keys are still there, the new primary is already in use.
        for token in (before, after):
            assert cloud.request("GET", "/auth/catalog", token).status == 200
    assert cloud.container_id("keystone-api") == container


def test_answers_while_memcached_is_away(small_cloud: SmallCloud) -> None:
    small_cloud.api.stop(PREFIX + "memcached")
    try:
        token = small_cloud.admin_token()
        assert small_cloud.request("GET", "/auth/catalog", token).status == 200
    finally:
        small_cloud.api.start(PREFIX + "memcached")


def test_says_that_keystone_cannot_be_asked_before_there_is_one(small_cloud: SmallCloud) -> None:
    small_cloud.api.pause(PREFIX + "toolbox")
    try:
        state = small_cloud.apply("keystone", test=True)[REGISTER]
    finally:
        small_cloud.api.unpause(PREFIX + "toolbox")
    assert state["result"] is None
    assert (state["changes"], state["comment"].startswith(plan.UNKNOWN)) == ({}, True)


def test_secrets_are_not_seen_from_outside(small_cloud: SmallCloud) -> None:
    shown = ""
    for one in small_cloud.api.containers(all=True, filters={"name": f"^/{PREFIX}"}):
        shown += json.dumps(small_cloud.api.inspect_container(one["Id"]))
        shown += small_cloud.api.logs(one["Id"]).decode(errors="replace")
    for secret in masking.values(small_cloud.secrets):
        assert secret not in shown


def test_replaced_apis_refuse_nobody_there_and_back(kept_cloud: SmallCloud) -> None:
    cloud, names = kept_cloud, ("keystone-api", "glance-api")

    def containers() -> list[str]:
        return [cloud.container_id(name) for name in names]

    seen = [containers()]
    with cloud.in_use() as failed:
        for service in ("keystone", "glance"):
            cloud.pillar[service] = {"workers": 3}
        cloud.deploy("keystone", "glance")
        seen.append(containers())
        known = cloud.salt_call("revision.list", "services=[keystone, glance]")
        before = {service: found[-2]["id"] for service, found in known.items()}
        cloud.salt_call("revision.restore", json.dumps(before))
        seen.append(containers())
    assert failed == []
    assert len({one for pair in seen for one in pair}) == len(seen) * len(names)


def _get(cloud: SmallCloud, token: str, kind: str) -> list[dict]:
    return cloud.request("GET", f"/{kind}", token).body[kind]


@pytest.mark.parametrize(
    ("away", "service"),
    [("mariadb", "keystone"), ("keystone-api", "glance"), ("haproxy", "glance")],
)
def test_what_is_only_starting_is_waited_for(
    kept_cloud: SmallCloud, away: str, service: str
) -> None:
    kept_cloud.pillar[service] = {"workers": 3}
    with _away(kept_cloud, away, seconds=8):
        changed = kept_cloud.deploy(service)
    # What was away is no reason to make anything anew.
    assert set(changed) == {f"Write the configuration of {service}", f"Run {service}-api"} | (
        {"Bootstrap Keystone's administrator"} if service == "keystone" else set()
    )


def test_a_database_that_is_away_is_no_missing_database(small_cloud: SmallCloud) -> None:
    with _away(small_cloud, "mariadb"):
        told = small_cloud.apply("keystone", test=True)
    for name in ("Create the database of keystone", REGISTER):
        assert told[name]["changes"] == {}
        assert told[name]["result"] is None
        assert told[name]["comment"].startswith(plan.UNKNOWN)


@contextmanager
def _away(cloud: SmallCloud, name: str, seconds: float | None = None) -> Iterator[None]:
    """Stop a container, until the end or for some seconds; HAProxy has noticed when this begins."""
    port = {"mariadb": 3306, "keystone-api": 5000, "haproxy": 5000}[name]
    kind = "tcp" if name == "mariadb" else "http"
    endpoint = required.Endpoint(name, INTERNAL, port, kind, "/v3")

    def start() -> None:
        cloud.api.start(PREFIX + name)

    cloud.api.stop(PREFIX + name)
    while not required.why_not(endpoint):
        pass
    timer = threading.Timer(seconds or 0, start)
    if seconds:
        timer.start()
    try:
        yield
    finally:
        timer.join() if seconds else start()
        while required.why_not(endpoint):
            pass
