"""Certificates: which a cloud needs, which are made or renewed, and what is wrong with others."""

from __future__ import annotations

import copy
import inspect
import re
import stat
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from saltern.cloud import demand, loading, model
from saltern.cloud.view import host_view
from saltern.errors import SalternError
from saltern.host import prechecks
from saltern.run import status
from saltern.tls import store
from saltern.tls.authority import CA_DAYS, DAYS, Names, make

NOW = datetime(2026, 11, 24, tzinfo=UTC)
NEEDED = {"external": Names(("cloud.example.org",), ("192.0.2.1",)), "hosts/one": Names(("one",))}
HTTP = {"port": 5000, "frontend": "http", "tls": True}
CATALOG = {
    "haproxy": {"summary": "", "roles": ["control"], "certificates": ["external", "internal"]},
    "keystone": {
        "summary": "",
        "roles": ["control"],
        "requires": ["mariadb"],
        "ports": {"api": HTTP},
    },
    "mariadb": {
        "summary": "",
        "roles": ["control"],
        "ports": {"sql": {"port": 3306, "frontend": "tcp"}},
        "options": {"tls": {"type": "boolean", "default": False, "description": ""}},
    },
    "nova-compute": {"summary": "", "roles": ["compute"], "requires": ["keystone"]},
    "ovs": {"summary": "", "roles": ["compute"]},
}
PILLAR = {
    "saltern": {
        "internal_address": "10.0.0.9",
        "external_address": "10.0.0.10",
        "hosts": {
            "one": {"address": "10.0.0.11", "roles": ["control"]},
            "two": {"address": "10.0.0.12", "roles": ["compute"]},
        },
    }
}


def made(now: datetime = NOW, **more: str) -> dict[str, str]:
    """Return a complete store with the CA's key, and what else it holds."""
    reasons = store.plan(NEEDED, {}, "", now, 30)
    return make(reasons, NEEDED, {}, "", now) | more


def plan(stored: dict[str, str], now: datetime = NOW, days: float = 30) -> dict[str, str]:
    return store.plan(NEEDED, stored, stored.get("ca.key", ""), now, days)


def wrong(stored: dict[str, str], now: datetime = NOW) -> dict[str, str]:
    found = store.problems(NEEDED, stored, now, "/certs")
    return {one.key: one.what for one in found}


def of(tls: dict[str, bool], **pillar: Any) -> model.Cloud:
    described = copy.deepcopy(PILLAR) | pillar
    described["saltern"]["tls"] = tls
    return loading.load(described, CATALOG)


def test_nothing_is_needed_without_tls() -> None:
    assert demand.wanted(of({})) == {}
    assert store.plan({}, {}, "", NOW, 30) == {}
    assert store.problems({}, {}, NOW) == []


def test_sides_of_the_cloud_and_hosts_get_certificates_for_their_addresses() -> None:
    needed = demand.wanted(of({"external": True, "internal": True, "backend": True}))
    assert {name: one.all for name, one in needed.items()} == {
        "external": ["10.0.0.10"],
        "internal": ["10.0.0.9"],
        "hosts/one": ["one", "10.0.0.11"],
    }


def test_database_behind_tcp_is_also_named_by_the_internal_address() -> None:
    needed = demand.wanted(of({}, mariadb={"tls": True}))
    assert needed == {"hosts/one": Names(("one", "10.0.0.11", "10.0.0.9"))}


def test_hosts_of_which_clients_know_all_are_named_by_each_other() -> None:
    pillar = copy.deepcopy(PILLAR)
    pillar["saltern"]["hosts"]["two"]["roles"] = ["control"]
    port = {"port": 5672, "frontend": "none", "any_host": True}
    tls = {"type": "boolean", "default": True, "description": ""}
    broker = {"summary": "", "roles": ["control"], "ports": {"amqp": port}, "options": {"tls": tls}}
    needed = demand.wanted(loading.load(pillar, {"broker": broker}))
    assert needed["hosts/one"].needed == ("one", "10.0.0.11", "10.0.0.12")
    assert needed["hosts/two"].needed == ("two", "10.0.0.12", "10.0.0.11")


def test_one_address_for_both_sides_has_one_certificate() -> None:
    both = of({"external": True, "internal": True})
    both.settings["external_address"] = both.settings["internal_address"]
    assert list(demand.wanted(both)) == ["external"]


def test_who_calls_the_cloud_trusts_its_authority_and_nobody_else_is_touched() -> None:
    described = of({"internal": True})
    view = host_view(described, "two", {"certificates": made()}, {})
    formulas = view["formulas"]
    assert formulas["nova-compute"]["certificates"] == []
    assert "certificates" not in formulas["ovs"]
    assert list(view["secrets"]["certificates"]) == ["ca"]
    assert "certificates" not in host_view(of({}), "one", {}, {})["formulas"]["keystone"]


def test_tls_on_one_side_of_one_address_is_a_problem_with_a_remedy() -> None:
    pillar = copy.deepcopy(PILLAR)
    pillar["saltern"] |= {"external_address": "10.0.0.9", "tls": {"external": True}}
    [problem] = loading.load(pillar, CATALOG).problems
    assert problem.key == "saltern:tls:external"
    assert "saltern:tls:internal" in str(problem)


def test_all_that_is_missing_is_made_and_valid() -> None:
    assert plan({}) == dict.fromkeys(["ca", *NEEDED], "is missing")
    stored = made()
    assert wrong(stored) == {}
    assert plan(stored) == {}


def test_renewed_are_those_that_expire_within_the_days_given() -> None:
    stored, later = made(), NOW + timedelta(days=DAYS - 20)
    reasons = plan(stored, later)
    assert reasons["external"] == "expires in 20 days"
    assert plan(stored, later, days=10) == {}
    renewed = stored | make(reasons, NEEDED, stored, stored["ca.key"], later)
    assert wrong(renewed, later + timedelta(days=DAYS - 1)) == {}
    assert renewed["external"] != stored["external"]


def test_authority_is_renewed_with_its_key_so_that_old_certificates_stay_valid() -> None:
    stored, later = made(), NOW + timedelta(days=CA_DAYS - 100)
    stored |= make({"hosts/one": ""}, NEEDED, stored, stored["ca.key"], later)
    assert plan(stored, later, days=0)["ca"] == "would expire before what it signs"
    renewed = make({"ca": ""}, NEEDED, stored, stored["ca.key"], later)
    assert list(renewed) == ["ca"]
    assert "/certs/hosts/one.pem" not in wrong(stored | renewed, later)


def test_new_names_and_another_authority_renew_ours() -> None:
    stored = made()
    moved = NEEDED | {"external": Names(("other.example.org",))}
    reasons = store.plan(moved, stored, stored["ca.key"], NOW, 30)
    assert reasons == {"external": "does not name other.example.org"}
    other = made() | {"external": stored["external"]}
    assert plan(other) == {"external": "was signed by another CA"}


def test_certificates_of_the_operator_are_never_made_again() -> None:
    stored = made() | {"external": _operators(["cloud.example.org"])}
    assert plan(stored, NOW + timedelta(days=190)) == {}
    assert wrong(stored) == {}
    without_key = {name: text for name, text in stored.items() if name != "ca.key"}
    del without_key["hosts/one"]
    assert plan(without_key) == {}
    assert wrong(without_key) == {"/certs/hosts/one.pem": "is missing"}


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda own: "nonsense", "holds no certificate in PEM form"),
        (lambda own: own.partition("-----BEGIN PRIVATE")[0], "holds no private key"),
        (
            lambda own: own.partition("-----BEGIN PRIVATE")[0] + made()["ca.key"],
            "its first certificate does not belong to its key",
        ),
        (lambda own: _operators(["*.example.com"]), "does not name cloud.example.org, only *.ex"),
        (lambda own: _operators(["cloud.example.org"], NOW - timedelta(days=9)), "expired on"),
        (lambda own: _operators(["cloud.example.org"], start=NOW + timedelta(days=1)), "is not va"),
    ],
)
def test_broken_file_is_named_with_what_is_wrong(spoil: Any, what: str) -> None:
    stored = made()
    stored["external"] = spoil(stored["external"])
    found = wrong(stored)
    assert list(found) == ["/certs/external.pem"]
    assert found["/certs/external.pem"].startswith(what)


def test_star_covers_one_label_and_host_needs_the_clouds_authority() -> None:
    assert wrong(made(external=_operators(["*.example.org"]))) == {}
    found = wrong(made() | {"hosts/one": _operators(["one"])})
    assert "not signed by ca.pem" in found["/certs/hosts/one.pem"]


@pytest.mark.parametrize("identifier", [b"identifier of another kind", None])
def test_what_an_operators_authority_signs_is_verified_whatever_its_key_identifier_is(
    tmp_path: Path, identifier: bytes | None
) -> None:
    stored = _authority(identifier=identifier)
    stored |= make(plan(stored), NEEDED, stored, stored["ca.key"], NOW)
    assert "OK" in _verify(tmp_path, stored["ca"], stored["hosts/one"])


def test_certificates_that_name_another_key_of_the_authority_are_made_again() -> None:
    before = _authority()
    before |= make(plan(before), NEEDED, before, before["ca.key"], NOW)
    other = before | _authority(identifier=b"other", key=before["ca.key"])
    assert plan(other) == dict.fromkeys(NEEDED, "was signed by another CA")
    assert "not signed by ca.pem" in wrong(other)["/certs/hosts/one.pem"]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({}, ""),
        ({"critical": False}, "its basic constraints are not marked critical"),
        ({"usage": ()}, "it is an authority without key usage"),
        ({"usage": ("crl_sign",)}, "its key usage does not allow it to sign certificates"),
        ({"identifier": None}, "it is an authority without subject key identifier"),
    ],
)
def test_an_authority_that_strict_clients_refuse_is_named_with_the_reason(
    tmp_path: Path, change: dict[str, Any], what: str
) -> None:
    stored = _authority(**change)
    stored |= make(plan(stored), NEEDED, stored, stored["ca.key"], NOW)
    verified = _verify(tmp_path, stored["ca"], stored["hosts/one"], "-x509_strict")
    assert ("OK" in verified) == (not what), verified
    found = wrong(stored)
    assert list(found) == (["/certs/ca.pem"] if what else [])
    if what:
        assert found["/certs/ca.pem"] == f"clients that verify strictly refuse CN=Company: {what}"


def test_a_certificate_that_does_not_name_its_authoritys_key_is_refused(tmp_path: Path) -> None:
    stored = _authority()
    stored |= make(plan(stored), NEEDED, stored, stored["ca.key"], NOW)
    stored["external"] = _operators(["cloud.example.org"], authority=stored)
    assert "OK" in _verify(tmp_path, stored["ca"], stored["external"])
    assert "OK" not in _verify(tmp_path, stored["ca"], stored["external"], "-x509_strict")
    assert "(authority key identifier)" in wrong(stored)["/certs/external.pem"]


def test_store_keeps_keys_from_others_and_the_authoritys_key_from_hosts(tmp_path: Path) -> None:
    store.write(tmp_path, made())
    assert stat.S_IMODE((tmp_path / "hosts/one.pem").stat().st_mode) == 0o600
    stored = store.read(tmp_path)
    assert set(stored) == {"ca", "external", "hosts/one"}
    assert "PRIVATE" not in stored["ca"]
    assert store.read_key(tmp_path)
    (tmp_path / "external.pem").chmod(0o644)
    with pytest.raises(SalternError, match="chmod 600"):
        store.read(tmp_path)


def test_expiries_come_soonest_first() -> None:
    stored = made()
    stored["external"] = _operators(["cloud.example.org"], NOW + timedelta(days=5))
    first, *_ = store.expiries(stored, NOW)
    assert (first.name, first.days, first.names) == ("external", 5, ["cloud.example.org"])
    assert [one.host for one in store.expiries(stored, NOW) if one.host] == ["one"]


def test_precheck_has_a_row_where_there_is_tls_and_names_what_is_wrong() -> None:
    users: dict[str, Any] = {}
    assert prechecks.certificates(host_view(of({}), "one", {}, users), NOW) == []
    described = of({"external": True, "backend": True})
    needed = demand.wanted(described)
    stored = make(store.plan(needed, {}, "", NOW, 30), needed, {}, "", NOW)
    view = host_view(described, "one", {"certificates": stored}, users)
    [row] = prechecks.certificates(view, NOW)
    assert row["ok"], row
    [row] = prechecks.certificates(view, NOW + timedelta(days=DAYS))
    assert not row["ok"]
    assert "external.pem: expired on 2027-11-24" in row["found"]
    assert "orch.certificates" in row["remedy"]


def test_status_lists_certificates_with_host_days_and_names() -> None:
    shown = [asdict(one) for one in store.expiries(made(), NOW)]
    text = status.certificates(shown)
    assert re.search(r"^hosts/one +one +365 +one$", text, re.MULTILINE)
    assert re.search(r"^external +- +365 +192.0.2.1, cloud.example.org$", text, re.MULTILINE)


def _verify(folder: Path, authority: str, certificate: str, *options: str) -> str:
    """Return what openssl says about a certificate."""
    (folder / "ca.pem").write_text(authority)
    (folder / "one.pem").write_text(certificate)
    moment = str(int(NOW.timestamp()))
    command = ["openssl", "verify", *options, "-attime", moment, "-CAfile", "ca.pem", "one.pem"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def _authority(
    identifier: bytes | None = b"20 bytes of whatever",
    critical: bool = True,
    usage: tuple[str, ...] = ("key_cert_sign", "crl_sign"),
    key: str = "",
) -> dict[str, str]:
    """Return ``ca`` and ``ca.key`` of an authority that the operator has made with other means."""
    own = (
        load_pem_private_key(key.encode(), None) if key else ec.generate_private_key(ec.SECP256R1())
    )
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Company")])
    builder = (
        x509.CertificateBuilder(name, name, own.public_key(), x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=100))
        .not_valid_after(NOW + timedelta(days=900))
        .add_extension(x509.BasicConstraints(True, None), critical)
    )
    if identifier:
        builder = builder.add_extension(x509.SubjectKeyIdentifier(identifier), False)
    if usage:
        flags = inspect.signature(x509.KeyUsage).parameters
        chosen = {flag: flag in usage for flag in flags}
        builder = builder.add_extension(x509.KeyUsage(**chosen), True)
    text = builder.sign(own, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
    private = own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return {"ca": text, "ca.key": private}


def _operators(
    names: list[str],
    end: datetime | None = None,
    start: datetime | None = None,
    authority: dict[str, str] | None = None,
) -> str:
    """Return a certificate with its key, as an operator may have one: signed by itself, or by others."""
    key = rsa.generate_private_key(65537, 2048)
    name = issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Operator")])
    signer: Any = key
    if authority:
        issuer = x509.load_pem_x509_certificate(authority["ca"].encode()).subject
        signer = load_pem_private_key(authority["ca.key"].encode(), None)
    alternatives = x509.SubjectAlternativeName([x509.DNSName(one) for one in names])
    built = (
        x509.CertificateBuilder(issuer, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(start or NOW - timedelta(days=100))
        .not_valid_after(end or NOW + timedelta(days=200))
        .add_extension(alternatives, False)
        .sign(signer, hashes.SHA256())
    )
    private = key.private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    ).decode()
    return private + built.public_bytes(Encoding.PEM).decode()
