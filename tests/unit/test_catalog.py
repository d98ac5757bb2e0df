"""What the services' `catalog` data means to Keystone."""

from __future__ import annotations

from typing import Any

import pytest

from saltern import catalog
from saltern.errors import SalternError
from saltern.templates import Context


def _context(**heat: Any) -> Context:
    def facts(port: int, entry: dict[str, Any]) -> dict[str, Any]:
        ports = {"api": {"port": port}, "cfn": {"port": port + 1}}
        return {"hosts": ["one"], "ports": ports, "options": {}, "catalog": entry}

    keystone = facts(5000, {"type": "identity", "path": "/v3", "interfaces": ["internal"]})
    keystone["options"] = {"admin_user": "boss"}
    cloud = {
        "region": "Here",
        "internal_name": "10.0.0.1",
        "external_name": "192.0.2.1",
        "tls": {"external": False, "internal": False, "backend": False},
        "host": {"id": "one", "address": "10.0.0.11"},
        "hosts": {"one": {"address": "10.0.0.11"}},
        "services": {"keystone": keystone, "heat": facts(8004, heat)},
        "secrets": {
            "keystone": {"admin_password": "admin-secret"},
            "heat": {"keystone_password": "heat-secret", "domain_keystone_password": "other"},
        },
    }
    return Context(cloud, "keystone")


def test_service_has_endpoints_at_both_addresses() -> None:
    wanted = catalog.wanted(_context(type="orchestration", path="/v1/%(project_id)s"))
    [identity, heat] = wanted["services"]
    assert identity["endpoints"] == {"internal": "http://10.0.0.1:5000/v3"}
    assert heat["name"] == "heat"
    assert heat["endpoints"] == {
        "public": "http://192.0.2.1:8004/v1/%(project_id)s",
        "internal": "http://10.0.0.1:8004/v1/%(project_id)s",
    }
    assert wanted["auth"] == {
        "url": "http://10.0.0.1:5000/v3",
        "user": "boss",
        "password": "admin-secret",
    }


def test_user_gets_the_service_role_unless_told() -> None:
    [user] = catalog.wanted(_context(user={}))["users"]
    assert (user["name"], user["password"]) == ("heat", "heat-secret")
    assert user["roles"] == [{"role": "service", "project": "service"}]


def test_further_services_users_roles_and_domains() -> None:
    wanted = catalog.wanted(
        _context(
            type="orchestration",
            services={"heat-cfn": {"type": "cloudformation", "port": "cfn", "path": "/v1"}},
            domains={"heat": "Stacks"},
            roles=["heat_stack_owner"],
            users={
                "heat_domain_admin": {
                    "password": "domain_keystone_password",
                    "domain": "heat",
                    "roles": [{"role": "admin", "domain": "heat"}],
                }
            },
        )
    )
    assert wanted["services"][2]["endpoints"]["public"] == "http://192.0.2.1:8005/v1"
    assert wanted["roles"] == ["service", "heat_stack_owner", "admin"]
    assert wanted["domains"] == [{"name": "heat", "description": "Stacks"}]
    [user] = wanted["users"]
    assert (user["domain"], user["password"]) == ("heat", "other")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"typ": "orchestration"}, "unknown key 'typ'"),
        ({"services": {"cfn": {"port": "cfn"}}}, "service cfn needs a type"),
        ({"user": {"password": "database_password"}}, "must end with keystone_password"),
    ],
)
def test_wrong_entry_names_the_file_and_the_key(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(SalternError, match=r"formulas/heat/service\.yml: catalog") as caught:
        catalog.wanted(_context(**entry))
    assert message in str(caught.value)
