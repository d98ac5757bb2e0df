"""From one release to the next: what fails late goes back, what succeeds loses no request and nothing of the cloud."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from secrets import token_hex
from typing import Any
from urllib.request import urlopen

import pytest
from rich.console import Console
from rich.table import Table

from tests.cloud.conftest import ROOT

from .clients import TEMPLATE, Load, Session
from .conftest import FROM, TO, Upgraded

pytestmark = pytest.mark.upgrades

RESULT = ROOT / "build/bench.json"
# A cloud that is kept may have those of an earlier run.
NAME = f"upgraded-{token_hex(3)}"
USER = {"name": NAME, "password": "of before"}
BROKEN = {"containers": {"nova-compute": {"command": ["false"], "deadline": 20}}}


@contextmanager
def measured(cloud: Upgraded, key: str) -> Iterator[Load]:
    """Let clients ask meanwhile; print what they saw and add it to ``build/bench.json``."""
    began = time.monotonic()
    with Load(cloud.server, cloud.address)() as load:
        yield load
    result = {
        "from": FROM,
        "to": TO,
        "seconds": round(time.monotonic() - began),
        "services": load.services(),
        "instance_gap_s": round(load.instance.gap, 2),
    }
    show(key, result)
    print("\n".join(load.errors()))
    RESULT.parent.mkdir(exist_ok=True)
    known = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    RESULT.write_text(json.dumps(known | {key: result}, indent=2) + "\n")


def show(key: str, result: dict[str, Any]) -> None:
    """Print a table of what clients saw."""
    table = Table("service", "requests", "failed", "longest, s", title=f"{key}, {FROM} to {TO}")
    for service, one in sorted(result["services"].items()):
        table.add_row(service, *(str(one[name]) for name in ("requests", "failed", "longest_s")))
    Console(soft_wrap=True).print(table)
    print(f"{result['seconds']} s; instance away for {result['instance_gap_s']} s at most")


@pytest.fixture(scope="module")
def things(old: Upgraded) -> dict[str, Any]:
    """Make something in each service, and return what can be asked again."""
    ask = Session()
    ask("POST", "identity", "/users", {"user": USER | {"domain_id": "default"}})
    wanted = {"name": NAME, "disk_format": "raw", "container_format": "bare"}
    image = f"/v2/images/{ask('POST', 'image', '/v2/images', wanted)['id']}"
    binary = {"Content-Type": "application/octet-stream"}
    ask("PUT", "image", f"{image}/file", data=b"before" * 100000, headers=binary)
    volume = ask("POST", "block-storage", "/volumes", {"volume": {"name": NAME, "size": 1}})
    ask.until("block-storage", f"/volumes/{volume['volume']['id']}", "volume", "available")
    template = TEMPLATE | {"outputs": {"word": {"value": {"get_attr": ["word", "value"]}}}}
    made = ask("POST", "orchestration", "/stacks", {"stack_name": NAME, "template": template})
    stack = f"/stacks/{NAME}/{made['stack']['id']}"
    ask.until("orchestration", stack, "stack", "create_complete")
    return {"image": image, "volume": volume["volume"]["id"], "stack": stack}


def state(old: Upgraded, things: dict[str, Any]) -> dict[str, Any]:
    """Return what a user sees of what was made before; the user can still sign in."""
    ask = Session()
    image, stack = (
        ask("GET", "image", things["image"]),
        ask("GET", "orchestration", things["stack"]),
    )
    volume = ask("GET", "block-storage", f"/volumes/{things['volume']}")["volume"]
    server = ask("GET", "compute", f"/servers/{old.server}")["server"]
    password = {"user": USER | {"domain": {"id": "default"}}}
    identity = {"methods": ["password"], "password": password}
    ask("POST", "identity", "/auth/tokens", {"auth": {"identity": identity}})
    with urlopen(f"http://{old.address}/", timeout=60) as page:
        text = page.read()
    return {
        "image": (image["status"], image["os_hash_value"]),
        "volume": volume["status"],
        "stack": stack["stack"]["outputs"],
        "server": (server["status"], server["created"], server["addresses"]),
        "page": text,
    }


def boots(old: Upgraded) -> None:
    """See that an instance can be made and taken away."""
    given = ("--image", "demo", "--flavor", "demo", "--nic", "none")
    old.openstack("server", "create", "--wait", *given, NAME)
    old.openstack("server", "delete", "--wait", NAME)


def test_an_upgrade_that_fails_at_its_last_service_goes_back(
    old: Upgraded, things: dict[str, Any]
) -> None:
    before, runs = state(old, things), old.releases()
    assert set(runs) == {FROM}
    old.set(saltern={"release": TO}, **{"nova-compute": BROKEN})
    with measured(old, "upgrade_back"):
        failed = old.orch("upgrade", check=False)
    said = failed.stdout + failed.stderr
    print(said)
    assert failed.returncode != 0, said
    assert "nova-compute" in "\n".join(said.strip().splitlines()[-15:])
    assert old.releases() == runs
    assert state(old, things) == before
    boots(old)


def test_an_upgrade_loses_no_request_and_nothing_of_the_cloud(
    old: Upgraded, things: dict[str, Any]
) -> None:
    before, runs = state(old, things), old.releases()
    old.set(saltern={"release": TO})
    with measured(old, "upgrade") as load:
        print(old.orch("upgrade").stdout)
    assert old.releases() == {TO: runs[FROM]}
    assert state(old, things) == before
    boots(old)
    assert load.errors() == []
    assert load.instance.errors == {}


def test_after_an_upgrade_nothing_is_left_to_do(old: Upgraded) -> None:
    before = old.containers()
    assert "Nothing to change" in old.orch("deploy").stdout
    assert old.containers() == before
    old.salt_run("saltern.status")
    assert "orch.upgrade" in old.salt_run("saltern.history").stdout


def test_there_is_no_way_back_over_a_finished_upgrade(old: Upgraded) -> None:
    before = old.containers()
    refused = old.orch("rollback", pillar={"services": ["glance"]}, check=False)
    assert refused.returncode != 0
    assert "schema" in refused.stdout + refused.stderr
    assert old.containers() == before


def test_rotated_secrets_lose_no_request(old: Upgraded, things: dict[str, Any]) -> None:
    """All that can have two values at a time; Heat's user cannot."""
    before, secrets = state(old, things), old.secrets()
    rings = ["database", "broker", "fernet", "credential_keys", "memcache_secret_key"]
    users = ["cinder", "glance", "neutron", "nova", "placement"]
    with measured(old, "rotate") as load:
        print(old.orch("rotate", pillar={"what": rings}).stdout)
        print(old.orch("rotate", pillar={"what": ["identity"], "services": users}).stdout)
    assert all(old.secrets()[name] != secrets[name] for name in users)
    assert state(old, things) == before
    boots(old)
    assert load.errors() == []
