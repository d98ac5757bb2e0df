"""What the services' words mean to Keystone."""

from __future__ import annotations

from typing import Any

from saltern.service import identity
from saltern.service.scope import Context


def _context(**heat: Any) -> Context:
    def facts(port: int, entry: dict[str, Any]) -> dict[str, Any]:
        ports = {"api": {"port": port}, "cfn": {"port": port + 1}}
        return {"hosts": ["one"], "ports": ports, "options": {}, "identity": entry}

    entry = {"type": "identity", "port": "api", "path": "/v3", "interfaces": ["internal"]}
    keystone = facts(5000, {"services": {"keystone": entry}}) | {"provides": ["identity"]}
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
    entry = {"type": "orchestration", "port": "api", "path": "/v1/%(project_id)s"}
    wanted = identity.wanted(_context(services={"heat": entry}))
    [keystone, heat] = wanted["services"]
    assert keystone["endpoints"] == {"internal": "http://10.0.0.1:5000/v3"}
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
    [user] = identity.wanted(_context(users={"heat": {}}))["users"]
    assert (user["name"], user["password"]) == ("heat", "heat-secret")
    assert user["roles"] == [{"role": "service", "project": "service"}]


def test_further_services_users_roles_and_domains() -> None:
    wanted = identity.wanted(
        _context(
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
    assert wanted["services"][1]["endpoints"]["public"] == "http://192.0.2.1:8005/v1"
    assert wanted["roles"] == ["service", "heat_stack_owner", "admin"]
    assert wanted["domains"] == [{"name": "heat", "description": "Stacks"}]
    [user] = wanted["users"]
    assert (user["domain"], user["password"]) == ("heat", "other")


def test_two_users_overlap_while_a_password_is_rotated_and_then_the_old_one_goes() -> None:
    context = _context(users={"heat": {}})
    known = context._cloud["secrets"]["heat"]

    def names(kind: str) -> list[str]:
        return [user["name"] for user in identity.wanted(context)[kind]]

    assert (names("users"), names("retired_users")) == (["heat"], [])
    known |= {"keystone_password.former": "old", "keystone_password.slot": 1}
    new, old = identity.wanted(context)["users"]
    assert (new["name"], new["password"]) == ("heat2", "heat-secret")
    assert (old["name"], old["password"], old["roles"]) == ("heat", "old", new["roles"])
    known["keystone_password.retired"] = known.pop("keystone_password.former")
    assert (names("users"), names("retired_users")) == (["heat2"], ["heat"])
    # The next rotation goes back to the first name.
    del known["keystone_password.retired"]
    known |= {"keystone_password.former": "second", "keystone_password.slot": 0}
    assert (names("users"), names("retired_users")) == (["heat", "heat2"], [])
