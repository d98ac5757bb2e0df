"""A database password as orch.rotate changes it, on real services: nobody is refused, and in the end the old one is."""

from __future__ import annotations

import json

import pymysql
import pytest

from saltern.cloud import formulas, secrets

from ..services import Asking, until
from .small_cloud import CHECKOUT, INTERNAL, PREFIX, SmallCloud

ACCOUNT = "Create the database of glance"
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
