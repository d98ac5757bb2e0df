"""Passwords as orch.rotate changes them, on real services: nobody is refused, and in the end the old ones are."""

from __future__ import annotations

import json

import pymysql
import pytest

from saltern.cloud import formulas, secrets

from ..services import Asking, until
from .small_cloud import CHECKOUT, INTERNAL, PREFIX, SmallCloud

ACCOUNT = "Create the database of glance"
REGISTER = "Register services, users and endpoints"
SECRET = ("glance", "database_password")


def sign_in(password: str) -> None:
    """Sign in at the database as Glance does."""
    pymysql.connect(
        host=INTERNAL, user="glance", password=password, database="glance", connect_timeout=10
    ).close()


def test_a_database_password_is_rotated_and_nobody_is_refused(kept_cloud: SmallCloud) -> None:
    cloud, token = kept_cloud, kept_cloud.admin_token()
    declaration = formulas.load([CHECKOUT / "formulas"])["glance"]["secrets"]["database_password"]
    old = cloud.secrets["glance"]["database_password"]

    def images() -> None:
        answer = cloud.request("GET", f"{cloud.url(9292)}/v2/images", token)
        assert answer.status == 200, answer

    with Asking(lambda: sign_in(old)) as holder, Asking(images) as client:
        cloud.secrets = secrets.renew(cloud.secrets, *SECRET, declaration)
        new = cloud.secrets["glance"]["database_password"]
        changed = cloud.deploy("glance")
        assert {ACCOUNT, "Run glance-api"} <= set(changed)
        for one in (holder, client):
            one.again()
        sign_in(new)
        assert cloud.deploy("glance") == {}
    assert holder.errors == client.errors == []

    # A server that starts meanwhile keeps both.
    cloud.api.restart(PREFIX + "mariadb")
    until(lambda: [sign_in(one) for one in (old, new)], "both sign in after a restart")

    cloud.secrets = secrets.retire(cloud.secrets, *SECRET)
    with Asking(lambda: sign_in(new)) as holder:
        ended = cloud.deploy("glance")
    assert (list(ended), holder.errors) == ([ACCOUNT], [])
    with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
        sign_in(old)
    cloud.secrets = secrets.end(cloud.secrets, *SECRET)
    assert cloud.deploy("glance") == {}
    images()
    shown = json.dumps([changed, ended])
    assert old not in shown and new not in shown


def test_a_users_password_is_rotated_by_two_users(kept_cloud: SmallCloud) -> None:
    cloud, secret = kept_cloud, ("glance", "keystone_password")
    declaration = formulas.load([CHECKOUT / "formulas"])["glance"]["secrets"]["keystone_password"]
    old = cloud.secrets["glance"]["keystone_password"]
    token = cloud.sign_in("glance", old).headers["X-Subject-Token"]
    admin = cloud.admin_token()

    def images() -> None:
        answer = cloud.request("GET", f"{cloud.url(9292)}/v2/images", admin)
        assert answer.status == 200, answer

    def holds() -> None:
        answer = cloud.request("GET", "/auth/projects", token)
        assert answer.status == 200, answer

    with Asking(images) as client, Asking(holds) as holder:
        cloud.secrets = secrets.renew(cloud.secrets, *secret, declaration)
        new = cloud.secrets["glance"]["keystone_password"]
        changed = cloud.deploy("keystone", "glance")
        assert {REGISTER, "Run glance-api"} <= set(changed)
        for one in (client, holder):
            one.again()
        assert cloud.deploy("keystone", "glance") == {}
    assert client.errors == holder.errors == []
    assert [cloud.sign_in(*one).status for one in (("glance", old), ("glance2", new))] == [201, 201]

    # What somebody has made as the old user would go with it.
    service = {"project": {"name": "service", "domain": {"id": "default"}}}
    answer = cloud.sign_in("glance", old, service)
    own, scoped = answer.body["token"]["user"]["id"], answer.headers["X-Subject-Token"]
    made = cloud.request(
        "POST",
        f"/users/{own}/application_credentials",
        scoped,
        {"application_credential": {"name": "robot"}},
    )
    assert made.status == 201, made
    cloud.secrets = secrets.retire(cloud.secrets, *secret)
    stopped = cloud.apply("keystone")[REGISTER]
    assert stopped["result"] is False and "(robot)" in stopped["comment"]
    one = made.body["application_credential"]["id"]
    path = f"/users/{own}/application_credentials/{one}"
    assert cloud.request("DELETE", path, scoped).status == 204

    with Asking(images) as client:
        ended = cloud.deploy("keystone", "glance")
        client.again()
    assert list(ended) == [REGISTER] and client.errors == []
    assert list(ended[REGISTER]["changes"]) == ["user glance"]
    assert cloud.sign_in("glance", old).status == 401
    cloud.secrets = secrets.end(cloud.secrets, *secret)
    assert cloud.deploy("keystone", "glance") == {}
    assert old not in json.dumps([changed, ended]) and new not in json.dumps([changed, ended])


def test_what_credential_keys_protect_outlives_them(kept_cloud: SmallCloud) -> None:
    cloud, token = kept_cloud, kept_cloud.admin_token()
    users = cloud.request("GET", "/users?name=admin", token).body["users"]
    body = {"credential": {"type": "totp", "blob": "SECRETBLOB", "user_id": users[0]["id"]}}
    made = cloud.request("POST", "/credentials", token, body).body["credential"]
    # Three keys, rotated three times: the key that first encrypted it is gone in the end.
    for _ in range(3):
        ring = cloud.secrets["keystone"]["credential_keys"]
        cloud.secrets["keystone"]["credential_keys"] = secrets.rotate(ring, 3)
        cloud.deploy("keystone")
        assert list(cloud.salt_call("phase.run", "reencrypt")) == ["keystone"]
    read = cloud.request("GET", f"/credentials/{made['id']}", token).body["credential"]
    assert read["blob"] == "SECRETBLOB"
    assert cloud.request("DELETE", f"/credentials/{made['id']}", token).status == 204
