"""An authority of the cloud's own: it makes the certificates that nobody else has made."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from saltern.errors import SalternError
from saltern.tls import pem

CA_DAYS, DAYS = 3650, 365

# By this name in the subject a certificate is known to be replaceable.
_OURS = "Made by Saltern"


@dataclass(frozen=True)
class Names:
    """What a certificate is for.

    :ivar needed: Names and addresses by which it is verified.
    :ivar also: What the cloud's own CA writes into it besides.
    """

    needed: tuple[str, ...]
    also: tuple[str, ...] = ()

    @property
    def all(self) -> list[str]:
        """Return all of them, each once."""
        return list(dict.fromkeys(self.needed + self.also))


def make(
    reasons: Mapping[str, str],
    needed: Mapping[str, Names],
    stored: Mapping[str, str],
    key: str,
    now: datetime,
) -> dict[str, str]:
    """Return the texts of what :func:`saltern.tls.store.plan` says, for :func:`saltern.tls.store.write`."""
    made = {}
    ca = stored.get("ca", "")
    if "ca" in reasons:
        if not key:
            key = made["ca.key"] = pem.text_of(ec.generate_private_key(ec.SECP256R1()))
        # With the old key and name what it has signed stays valid.
        ca = made["ca"] = _ca(pem.key(key), now)
    issuer = pem.chain(ca)[0]
    if pem.public(issuer.public_key()) != pem.public(pem.key(key).public_key()):
        raise SalternError("ca.key is not the key of ca.pem: put both there, or remove both")
    for name in reasons:
        if name != "ca":
            made[name] = _issue(name, needed[name].all, issuer, pem.key(key), now)
    return made


def is_ours(text: str) -> bool:
    """Return whether a certificate was made here, and so may be replaced."""
    return any(
        name.value == _OURS
        for one in pem.parsed(text)[:1]
        for name in one.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    )


def _subject(name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, _OURS),
            # 64 characters are the most that it can have; the names that count are not here.
            x509.NameAttribute(NameOID.COMMON_NAME, name[:64]),
        ]
    )


def _ca(key: Any, now: datetime) -> str:
    name = _subject("Saltern CA")
    builder = _builder(name, name, key.public_key(), now, now + timedelta(days=CA_DAYS))
    builder = builder.add_extension(x509.BasicConstraints(True, 0), True)
    return _signed_text(builder.add_extension(_usage(key_cert_sign=True, crl_sign=True), True), key)


def _issue(label: str, names: list[str], issuer: x509.Certificate, key: Any, now: datetime) -> str:
    """Return a certificate of a new key, and that key, in PEM form."""
    own = ec.generate_private_key(ec.SECP256R1())
    until = min(now + timedelta(days=DAYS), issuer.not_valid_after_utc)
    # The identifier that the authority itself has: how one is made of a key is not laid down.
    identifier = pem.extension(issuer, x509.SubjectKeyIdentifier)
    authority = (
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier.value)
        if identifier
        else x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    )
    # Members of Galera and RabbitMQ are each other's clients.
    uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = (
        _builder(_subject(label), issuer.subject, own.public_key(), now, until)
        .add_extension(x509.BasicConstraints(False, None), True)
        .add_extension(_usage(digital_signature=True), True)
        .add_extension(x509.ExtendedKeyUsage(uses), False)
        .add_extension(x509.SubjectAlternativeName(list(_general(names))), False)
        .add_extension(authority, False)
    )
    return _signed_text(builder, key) + pem.text_of(own)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: Any, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        # Clocks of hosts may differ a little.
        .not_valid_before(now - timedelta(minutes=10))
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
    )


def _usage(**chosen: bool) -> x509.KeyUsage:
    every = [
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ]
    return x509.KeyUsage(**dict.fromkeys(every, False) | chosen)


def _general(names: list[str]) -> Iterator[x509.GeneralName]:
    for name in names:
        try:
            yield x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            yield x509.DNSName(name)


def _signed_text(builder: x509.CertificateBuilder, key: Any) -> str:
    # Of CAs of operators any kind of key may sign; Ed25519 names its own hash.
    kind = None if type(key).__name__.startswith(("Ed25519", "Ed448")) else hashes.SHA256()
    return builder.sign(key, kind).public_bytes(serialization.Encoding.PEM).decode()
