"""Certificates and keys as PEM texts: what is in them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization


def chain(text: str) -> list[x509.Certificate]:
    """Return the certificates of a PEM text.

    :raises ValueError: There is none, or one that cannot be read.
    """
    return x509.load_pem_x509_certificates(text.encode())


def parsed(text: str) -> list[x509.Certificate]:
    """Return the certificates of a PEM text, none if they cannot be read."""
    try:
        return chain(text)
    except ValueError:
        return []


def first(text: str) -> bytes:
    """Return the first certificate of a PEM text in binary form, empty if there is none."""
    found = parsed(text)
    return found[0].public_bytes(serialization.Encoding.DER) if found else b""


def days_left(text: str, now: datetime) -> float:
    """Return for how many days the first certificate is valid; negative when it has expired."""
    return (chain(text)[0].not_valid_after_utc - now) / timedelta(days=1)


def names(certificate: x509.Certificate) -> set[str]:
    """Return the names and addresses that a certificate is for."""
    found = extension(certificate, x509.SubjectAlternativeName)
    if not found:
        return set()
    addresses = {str(one) for one in found.value.get_values_for_type(x509.IPAddress)}
    return addresses | set(found.value.get_values_for_type(x509.DNSName))


def extension(certificate: x509.Certificate, kind: type) -> Any:
    """Return an extension of a certificate, None if it has none of the kind."""
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def key(text: str) -> Any:
    """Return the private key of a PEM text, which may hold certificates, too.

    :raises ValueError: There is none.
    """
    blocks = text.split("-----BEGIN ")
    for block in blocks[1:]:
        if "PRIVATE KEY-----" in block.partition("\n")[0]:
            return serialization.load_pem_private_key(f"-----BEGIN {block}".encode(), None)
    raise ValueError("no private key")


def public(key: Any) -> bytes:
    """Return a public key in binary form, to compare it."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.DER, form)


def text_of(key: Any) -> str:
    """Return a private key as PEM text, not encrypted."""
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, none).decode()
