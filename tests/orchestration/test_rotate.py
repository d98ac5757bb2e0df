"""Secrets rotated on three hosts: in which order, what is refused, and that a killed run is gone on with."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator

import pytest
import yaml

from .conftest import HOSTS, Cloud, Result, until

OLD = "old-1Zq8sWm3nVt5xKp7rLb2"
RING = {0: "A" * 43 + "=", 1: "B" * 43 + "="}
SECRETS = {"password": OLD, "stone": "stone-stone", "seal": "seal-seal-seal", "ring": RING}
# Who keeps the accounts: its file says which passwords are valid.
VAULT = {
    "summary": "Keeps accounts",
    "roles": ["control"],
    "enabled": False,
    "secrets": {
        "password": {"rotate": {"what": "database", "by": "two_passwords"}},
        "stone": {"rotate": {"what": "stone", "instead": "write another one by hand"}},
        "seal": {"rotate": {"what": "seal", "by": "replaced", "gap": "letters are returned"}},
        "ring": {"kind": "fernet_ring", "size": 3, "rotate": {"what": "ring", "by": "ring"}},
    },
    "keyrings": {"keys": {"secret": "ring", "target": "/keys"}},
}
VAULT_SLS = """
{%- set known = pillar['cloud']['secrets']['vault'] %}
Write the accounts:
  file.managed:
    - name: {{ opts['root'] }}/vault
    - contents: {{ [known['password'], known.get('password.former', '')] | join(' ') | trim }}
    - show_changes: False

Write the seal:
  file.managed:
    - name: {{ opts['root'] }}/seal
    - contents: {{ known['seal'] }}
    - show_changes: False
"""
# Who signs in with it. It waits on a host that holds it, after its own change.
CLIENT = {
    "summary": "Signs in",
    "roles": ["control"],
    "enabled": False,
    "requires": ["vault"],
    "uses_secrets": ["vault.password"],
    "options": {"broken_on": {"type": "array", "default": [], "description": "Where it fails"}},
}
CLIENT_SLS = """
{%- set broken = pillar['cloud']['services']['client']['options']['broken_on'] %}
Write the configuration:
  file.managed:
    - name: {{ opts['root'] }}/client
    - contents: {{ pillar['cloud']['secrets']['vault']['password'] }}
    - show_changes: False

Start with it:
  cmd.run:
    - name: while test -e {{ opts['root'] }}/hold; do sleep 0.1; done; test {{ opts['id'] in broken }} = False
    - onchanges:
      - file: Write the configuration
"""


class Rotated:
    """A cloud of these two services."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.file = cloud.folder / "secrets.yml"

    def set_pillar(self, **client) -> None:
        """Write the pillar with the client's options."""
        services = {name: {"enabled": False} for name in ("alpha", "beta", "gamma")}
        services |= {name: {"enabled": True} for name in ("vault", "client")}
        self.cloud.set_pillar(settings={"services": services}, client=client)

    def rotate(self, *words: str, **pillar) -> Result:
        """Run the rotation."""
        return self.cloud.run("state.orchestrate", "orch.rotate", *words, **pillar)

    def stored(self) -> dict:
        """Return the secrets of the service that keeps accounts."""
        return yaml.safe_load(self.file.read_text())["vault"]

    def written(self, service: str) -> dict[str, str]:
        """Return host to what a service's file holds."""
        hosts = self.cloud.folder / "hosts"
        return {host: (hosts / host / service).read_text().strip() for host in HOSTS}


@pytest.fixture
def rotated(cloud) -> Iterator[Rotated]:
    """Both services on all hosts, with the first password."""
    homes = {"vault": (VAULT, VAULT_SLS), "client": (CLIENT, CLIENT_SLS)}
    for name, (service, sls) in homes.items():
        home = cloud.folder / "formulas" / name
        home.mkdir()
        (home / "service.yml").write_text(yaml.safe_dump(service))
        (home / "init.sls").write_text(sls)
    one = Rotated(cloud)
    before = one.file.read_text()
    one.file.write_text(yaml.safe_dump(yaml.safe_load(before) | {"vault": SECRETS}))
    one.set_pillar()
    deployed = cloud.deploy()
    assert deployed.code == 0, deployed.err
    yield one
    one.file.write_text(before)
    for path in cloud.folder.glob("minions/*/var/keyrings"):
        shutil.rmtree(path)
    for name in homes:
        shutil.rmtree(cloud.folder / "formulas" / name)


def test_all_have_the_new_value_before_the_old_one_ends(rotated):
    tested = rotated.rotate("test=True", what=["database"])
    assert tested.code == 0, tested.err
    assert "vault.password" in tested.err and "client" in tested.err
    assert rotated.stored()["password"] == OLD

    rotated.cloud.forget_jobs()
    result = rotated.rotate(what=["database"])
    assert result.code == 0, result.err
    new = rotated.stored()["password"]
    assert new != OLD and rotated.stored().keys() == SECRETS.keys()
    assert rotated.written("vault") == rotated.written("client") == dict.fromkeys(HOSTS, new)
    # The accounts first, then who uses them, then the end of the old one.
    applied = [services for services, _ in rotated.cloud.jobs("state.sls")]
    assert list(dict.fromkeys(applied)) == ["vault", "client"] and applied[-1] == "vault"
    seen = rotated.cloud.job_cache() + (result.out + result.err).encode()
    history = rotated.cloud.run("saltern.history", "run=last", "--out=json")
    for secret in (OLD, new):
        assert secret.encode() not in seen and secret not in history.out
    assert "Nothing to change." in rotated.cloud.deploy().err


def test_a_killed_rotation_is_gone_on_with(rotated):
    hold = rotated.cloud.folder / "hosts/two/hold"
    hold.touch()
    command = ("state.orchestrate", "orch.rotate", f"pillar={json.dumps({'what': ['database']})}")
    with rotated.cloud.started(*command) as process:
        until(lambda: rotated.written("client")["two"] != OLD)
        process.send_signal(signal.SIGKILL)
        process.wait()
    hold.unlink()
    new = rotated.stored()["password"]
    # Whoever has which, both are valid.
    assert rotated.stored()["password.former"] == OLD
    assert rotated.written("vault") == dict.fromkeys(HOSTS, f"{new} {OLD}")
    result = rotated.rotate(what=["database"])
    assert result.code == 0, result.err
    assert "Goes on with vault.password" in result.err
    assert rotated.stored()["password"] == new
    assert "password.former" not in rotated.stored()
    assert rotated.written("vault") == rotated.written("client") == dict.fromkeys(HOSTS, new)


def test_the_old_value_stays_valid_where_a_service_does_not_take_the_new_one(rotated):
    rotated.set_pillar(broken_on=["two"])
    result = rotated.rotate(what=["database"])
    assert result.code == 1
    assert "two" in result.last_block and "client" in result.last_block
    assert all(OLD in words for words in rotated.written("vault").values())
    rotated.set_pillar()
    assert rotated.rotate(what=["database"]).code == 0
    assert rotated.written("vault") == rotated.written("client")


def test_a_ring_of_keys_is_rotated_on_all_hosts_or_none(rotated):
    def delivered() -> list[dict[str, str]]:
        folders = [
            rotated.cloud.folder / f"minions/{host}/var/keyrings/vault/keys" for host in HOSTS
        ]
        return [{one.name: one.read_text() for one in path.glob("*")} for path in folders]

    with rotated.cloud.silent("three"):
        refused = rotated.rotate(what=["ring"])
    assert refused.code == 1 and "three" in refused.last_block
    assert rotated.stored()["ring"] == RING
    result = rotated.rotate(what=["ring"])
    assert result.code == 0, result.err
    ring = rotated.stored()["ring"]
    assert (sorted(ring), ring[2], ring[1]) == ([0, 1, 2], RING[0], RING[1])
    assert delivered() == [{str(number): key for number, key in ring.items()}] * len(HOSTS)


def test_where_somebody_is_refused_it_is_told_and_confirmed(rotated):
    before = rotated.file.read_text()
    refused = rotated.rotate(what=["seal"])
    assert refused.code == 1
    assert "vault.seal: letters are returned" in refused.err
    assert '"confirm": "yes"' in refused.last_block
    assert "letters are returned" in rotated.rotate("test=True", what=["seal"]).err
    assert rotated.file.read_text() == before
    assert rotated.rotate(what=["seal"], confirm="yes").code == 0
    new = rotated.stored()["seal"]
    assert new != "seal-seal-seal" and rotated.written("seal") == dict.fromkeys(HOSTS, new)
    assert rotated.stored().keys() == SECRETS.keys()


@pytest.mark.parametrize(
    ("pillar", "words"),
    [
        (
            {},
            [
                "what is rotated is not named",
                "certificates, database, passwords, ring, seal, stone",
            ],
        ),
        ({"what": ["databas"]}, ["databas", "database"]),
        ({"what": ["stone"]}, ["vault.stone", "write another one by hand"]),
        ({"what": ["database"], "services": ["client"]}, ["client has no secret for database"]),
        ({"what": ["database"], "services": ["clint"]}, ["clint"]),
        ({"what": ["database"], "hosts": ["one"]}, ["hosts"]),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_changes(rotated, pillar, words):
    before = rotated.file.read_text()
    result = rotated.rotate(**pillar)
    assert result.code == 1
    for word in words:
        assert word in result.last_block
    assert rotated.file.read_text() == before


def test_a_cloud_that_is_not_as_its_pillar_says_is_deployed_first(rotated):
    before = rotated.file.read_text()
    (rotated.cloud.folder / "hosts/three/client").unlink()
    result = rotated.rotate(what=["database"])
    assert result.code == 1
    assert "three" in result.last_block and "orch.deploy" in result.last_block
    assert rotated.file.read_text() == before
    with rotated.cloud.silent("two"):
        assert "two" in rotated.rotate(what=["database"]).last_block
    rotated.cloud.run("saltern.maintenance", "host=two", "reason=disk")
    assert "two is in maintenance" in rotated.rotate(what=["database"]).last_block
    assert rotated.file.read_text() == before
