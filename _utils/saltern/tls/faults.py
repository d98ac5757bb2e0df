"""What is wrong with a certificate, as those who verify it see it."""

from __future__ import annotations

from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from saltern.tls import pem


def wrong(text: str, names: tuple[str, ...], now: datetime, has_key: bool, issuers: str) -> str:
    """Return what is wrong with a stored certificate, or nothing.

    :param names: By which it is verified.
    :param has_key: Its key must be there, too.
    :param issuers: PEM text of the authorities that it must come from; empty: any.
    """
    certificates = pem.parsed(text)
    if not certificates:
        return "holds no certificate in PEM form"
    first = certificates[0]
    if has_key:
        try:
            public = pem.key(text).public_key()
        except (ValueError, TypeError):
            return "holds no private key, or an encrypted one"
        if pem.public(public) != pem.public(first.public_key()):
            return "its first certificate does not belong to its key"
    for one in certificates:
        if one.not_valid_after_utc <= now:
            return f"expired on {one.not_valid_after_utc:%Y-%m-%d} ({one.subject.rfc4514_string()})"
        if one.not_valid_before_utc > now:
            return f"is not valid before {one.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
    if unnamed := missing(list(names), first):
        return f"does not name {', '.join(unnamed)}, only {', '.join(sorted(pem.names(first)))}"
    if issuers and not signed(certificates, pem.parsed(issuers)):
        return "was not signed by ca.pem, which HAProxy and the services verify it with"
    for one in certificates:
        if what := _lax(one):
            return f"clients that verify strictly refuse {one.subject.rfc4514_string()}: {what}"
    return ""


def _lax(certificate: x509.Certificate) -> str:
    """Return what is against RFC 5280, which Python's clients since 3.13 insist on, or nothing."""
    itself = certificate.subject == certificate.issuer
    try:
        constraints = pem.extension(certificate, x509.BasicConstraints)
        usage = pem.extension(certificate, x509.KeyUsage)
        own = pem.extension(certificate, x509.SubjectKeyIdentifier)
        authority = pem.extension(certificate, x509.AuthorityKeyIdentifier)
    except ValueError as error:
        return f"an extension cannot be read ({error})"
    signs = bool(usage and usage.value.key_cert_sign)
    if constraints and constraints.value.ca:
        if not constraints.critical:
            return "its basic constraints are not marked critical"
        if not usage:
            return "it is an authority without key usage"
        if not signs:
            return "its key usage does not allow it to sign certificates"
        if not own:
            return "it is an authority without subject key identifier"
    elif itself:
        return ""  # trusted as it is: the rules are for what somebody else has signed
    elif signs:
        return "its key usage is that of an authority, which its basic constraints do not make it"
    if (own and own.critical) or (authority and authority.critical):
        return "a key identifier is marked critical"
    if not itself and not (authority and authority.value.key_identifier):
        return "it does not name the key of its authority (authority key identifier)"
    return ""


def signed(chain: list[x509.Certificate], authorities: list[x509.Certificate]) -> bool:
    """Return whether any certificate of a chain was signed by one of the authorities, and says so."""
    for one in chain:
        for authority in authorities:
            try:
                one.verify_directly_issued_by(authority)
            except (ValueError, TypeError, InvalidSignature):
                continue
            if _names_key(one, authority):
                return True
    return False


def _names_key(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Return whether the key identifiers of both agree; without one there is nothing to compare."""
    named = pem.extension(certificate, x509.AuthorityKeyIdentifier)
    own = pem.extension(authority, x509.SubjectKeyIdentifier)
    if not (named and named.value.key_identifier and own):
        return True
    return named.value.key_identifier == own.value.key_identifier


def missing(names: list[str], certificate: x509.Certificate) -> list[str]:
    """Return the names that a certificate does not cover."""
    there = pem.names(certificate)
    return [one for one in names if not any(_matches(one, other) for other in there)]


def _matches(name: str, pattern: str) -> bool:
    """Return whether a name of a certificate covers another; a star stands for one label."""
    name, pattern = name.lower(), pattern.lower()
    if pattern.startswith("*."):
        return name.partition(".")[2] == pattern[2:]
    return name == pattern
