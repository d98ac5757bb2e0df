"""Certificates: which a cloud needs, what is wrong with those it has, and a CA of its own to make them.

The master keeps them in a folder: ``ca.pem``, ``ca.key``, ``external.pem`` and ``internal.pem`` for the
addresses of the cloud, ``hosts/<minion id>.pem`` for what a host's own services show. A ``.pem`` holds the
certificate, its chain and its key. What the operator puts there is used as it is.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from saltern import files
from saltern.errors import SalternError
from saltern.problems import Problem

if TYPE_CHECKING:
    from saltern.cloud import Cloud

# Where containers see theirs.
FOLDER = "/etc/saltern/tls"
MAKE = "salt-run state.orchestrate orch.certificates"
CA_DAYS, DAYS = 3650, 365
# By this name in the subject a certificate is known to be replaceable.
_OURS = "Made by Saltern"
_SYSTEM = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
Store = dict[str, str]


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


def wanted(cloud: Cloud) -> dict[str, Names]:
    """Return the certificates that a cloud needs, as the store names them; none without TLS."""
    settings = cloud.settings
    found = {}
    for side in ("external", "internal"):
        if settings["tls"][side]:
            address = settings[f"{side}_address"]
            found[side] = Names((settings[f"{side}_name"],), (address,))
    if len(found) == 2 and settings["internal_address"] == settings["external_address"]:
        found["external"] = Names((settings["external_name"], *found.pop("internal").all))
    shown = [name for name in cloud.catalog if cloud.shows_certificate(name)]
    placed = {name: set(cloud.placement[name]) for name in shown}
    for host, one in cloud.hosts.items():
        here = [name for name in shown if host in placed[name]]
        ports = [
            (name, port) for name in here for port in cloud.catalog[name].get("ports", {}).values()
        ]
        if here:
            # HAProxy passes TCP on as it is: clients see this certificate on the internal address.
            passed = any(port.get("frontend") == "tcp" for _, port in ports)
            # kombu verifies every broker by the address of the first one that it has tried.
            peers = [
                cloud.hosts[peer]["address"]
                for name, port in ports
                if port.get("any_host")
                for peer in cloud.placement[name]
            ]
            names = (host, one["address"], *[settings["internal_address"]] * passed, *peers)
            found[f"hosts/{host}"] = Names(tuple(dict.fromkeys(names)))
    return found


def read(folder: str | Path, host: str = "*") -> Store:
    """Return the stored certificates by name (``ca``, ``external``, ``hosts/aio``); never the CA's key.

    :param host: Of which host besides those of the cloud; all of them unless one is named.
    :raises SalternError: Others than its owner can read a key.
    """
    folder = Path(folder)
    found = {}
    for path in sorted([*folder.glob("*.pem"), *folder.glob(f"hosts/{host}.pem")]):
        text = path.read_text(errors="replace")
        if "PRIVATE KEY" in text and path.stat().st_mode & 0o077:
            raise SalternError(f"{path} can be read by others than its owner: chmod 600 {path}")
        found[str(path.relative_to(folder).with_suffix(""))] = text
    return found


def read_key(folder: str | Path) -> str:
    """Return the CA's key, empty if there is none."""
    path = Path(folder, "ca.key")
    if path.exists() and path.stat().st_mode & 0o077:
        raise SalternError(f"{path} can be read by others than its owner: chmod 600 {path}")
    return path.read_text() if path.exists() else ""


def write(folder: str | Path, made: Mapping[str, str]) -> None:
    """Write certificates into the store, each at once; ``ca.key`` is the CA's key."""
    for name, text in made.items():
        path = Path(folder, name if name == "ca.key" else f"{name}.pem")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write(path, text, 0o600)


def plan(
    needed: Mapping[str, Names], stored: Mapping[str, str], key: str, now: datetime, days: float
) -> dict[str, str]:
    """Return which certificates are to be made and why; the operator's own are never among them.

    :param needed: See :func:`wanted`.
    :param stored: See :func:`read`.
    :param key: The CA's key; without it nothing can be made.
    :param now: With its time zone.
    :param days: Those that expire within as many days are renewed.
    """
    ca = stored.get("ca", "")
    if not needed or (ca and not key):
        return {}
    made = {}
    if not ca:
        made["ca"] = "is missing"
    elif _is_ours(ca) and _left(ca, now) < DAYS:
        made["ca"] = "would expire before what it signs"
    for name, names in needed.items():
        if name not in stored:
            made[name] = "is missing"
        elif not _is_ours(stored[name]):
            continue
        elif not key or (ca and not _signed(_parsed(stored[name]), _parsed(ca))):
            made[name] = "was signed by another CA"
        elif _left(stored[name], now) < days:
            made[name] = f"expires in {_left(stored[name], now):.0f} days"
        elif missing := _missing(names.all, _certificates(stored[name])[0]):
            made[name] = f"does not name {', '.join(missing)}"
    return made


def make(
    reasons: Mapping[str, str],
    needed: Mapping[str, Names],
    stored: Mapping[str, str],
    key: str,
    now: datetime,
) -> dict[str, str]:
    """Return the texts of what :func:`plan` says, for :func:`write`."""
    made = {}
    ca = stored.get("ca", "")
    if "ca" in reasons:
        if not key:
            key = made["ca.key"] = _text_of(ec.generate_private_key(ec.SECP256R1()))
        # With the old key and name what it has signed stays valid.
        ca = made["ca"] = _ca(_key(key), now)
    issuer = _certificates(ca)[0]
    if _public(issuer.public_key()) != _public(_key(key).public_key()):
        raise SalternError("ca.key is not the key of ca.pem: put both there, or remove both")
    for name in reasons:
        if name != "ca":
            made[name] = _issue(name, needed[name].all, issuer, _key(key), now)
    return made


def problems(
    needed: Mapping[str, Names],
    stored: Mapping[str, str],
    now: datetime,
    folder: str = "",
    but: Container[str] = (),
) -> list[Problem]:
    """Return what is wrong with the certificates that a cloud needs, a problem a file.

    :param folder: Where they are, for the messages.
    :param but: Names of those that are about to be made.
    """
    wrong = []
    for name in ["ca", *needed] if needed else []:
        path = str(Path(folder, f"{name}.pem"))
        if name in but:
            continue
        if name not in stored:
            remedy = f"Put yours there, or run {MAKE} (which needs ca.key beside an own ca.pem)"
            wrong.append(Problem(path, "is missing", remedy))
            continue
        names = needed[name].needed if name in needed else ()
        issuers = stored.get("ca", "") if name.startswith("hosts/") and "ca" not in but else ""
        what = _wrong(stored[name], names, now, name != "ca", issuers)
        if what:
            ours = _is_ours(stored[name])
            remedy = f"Run {MAKE}" if ours else f"Replace it, or remove it and run {MAKE}"
            wrong.append(Problem(path, what, remedy))
    return wrong


@dataclass(frozen=True)
class Expiry:
    """Until when a stored certificate is valid.

    :ivar host: The host whose services show it; empty for those of the cloud.
    :ivar days: Whole days left; negative when it has expired.
    """

    name: str
    host: str
    days: int
    names: list[str]


def expiries(stored: Mapping[str, str], now: datetime) -> list[Expiry]:
    """Return all certificates of the store that can be read, those that expire first on top."""
    found = []
    for name, text in stored.items():
        if certificates := _parsed(text):
            left = min(int((one.not_valid_after_utc - now).days) for one in certificates)
            host = name.removeprefix("hosts/") if name.startswith("hosts/") else ""
            found.append(Expiry(name, host, left, sorted(_names(certificates[0]))))
    return sorted(found, key=lambda one: (one.days, one.name))


def delivery(view: Mapping[str, Any], service: str) -> dict[str, tuple[str, int]]:
    """Return the files a service's containers see in :data:`FOLDER`, name to text and mode.

    ``ca.pem`` are the cloud's own authorities. ``bundle.pem`` also holds those that the host trusts,
    as a public endpoint may have a certificate of a public one.

    :param view: Pillar key ``cloud`` of the host.
    :raises SalternError: A certificate is not there.
    """
    stored = view.get("secrets", {}).get("certificates", {})
    found = {}
    for name in ["ca", *view["formulas"][service]["certificates"]]:
        if not stored.get(name):
            raise SalternError(f"the certificate {name} does not exist: run {MAKE}")
        found[f"{name}.pem"] = (stored[name], 0o644 if name == "ca" else 0o600)
    system = next((Path(one).read_text() for one in _SYSTEM if Path(one).exists()), "")
    found["bundle.pem"] = (f"{stored['ca'].rstrip()}\n{system}", 0o644)
    return found


def first(text: str) -> bytes:
    """Return the first certificate of a PEM text in binary form, empty if there is none."""
    found = _parsed(text)
    return found[0].public_bytes(serialization.Encoding.DER) if found else b""


def _wrong(text: str, names: tuple[str, ...], now: datetime, has_key: bool, issuers: str) -> str:
    """Return what is wrong with a stored certificate, or nothing."""
    certificates = _parsed(text)
    if not certificates:
        return "holds no certificate in PEM form"
    first = certificates[0]
    if has_key:
        try:
            public = _key(text).public_key()
        except (ValueError, TypeError):
            return "holds no private key, or an encrypted one"
        if _public(public) != _public(first.public_key()):
            return "its first certificate does not belong to its key"
    for one in certificates:
        if one.not_valid_after_utc <= now:
            return f"expired on {one.not_valid_after_utc:%Y-%m-%d} ({one.subject.rfc4514_string()})"
        if one.not_valid_before_utc > now:
            return f"is not valid before {one.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
    if missing := _missing(list(names), first):
        return f"does not name {', '.join(missing)}, only {', '.join(sorted(_names(first)))}"
    if issuers and not _signed(certificates, _parsed(issuers)):
        return "was not signed by ca.pem, which HAProxy and the services verify it with"
    for one in certificates:
        if what := _lax(one):
            return f"clients that verify strictly refuse {one.subject.rfc4514_string()}: {what}"
    return ""


def _lax(certificate: x509.Certificate) -> str:
    """Return what is against RFC 5280, which Python's clients since 3.13 insist on, or nothing."""
    itself = certificate.subject == certificate.issuer
    try:
        constraints = _extension(certificate, x509.BasicConstraints)
        usage = _extension(certificate, x509.KeyUsage)
        own = _extension(certificate, x509.SubjectKeyIdentifier)
        authority = _extension(certificate, x509.AuthorityKeyIdentifier)
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


def _signed(chain: list[x509.Certificate], authorities: list[x509.Certificate]) -> bool:
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
    named = _extension(certificate, x509.AuthorityKeyIdentifier)
    own = _extension(authority, x509.SubjectKeyIdentifier)
    if not (named and named.value.key_identifier and own):
        return True
    return named.value.key_identifier == own.value.key_identifier


def _extension(certificate: x509.Certificate, kind: type) -> Any:
    """Return an extension of a certificate, None if it has none of the kind."""
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def _missing(names: list[str], certificate: x509.Certificate) -> list[str]:
    there = _names(certificate)
    return [one for one in names if not any(_matches(one, other) for other in there)]


def _matches(name: str, pattern: str) -> bool:
    """Return whether a name of a certificate covers another; a star stands for one label."""
    name, pattern = name.lower(), pattern.lower()
    if pattern.startswith("*."):
        return name.partition(".")[2] == pattern[2:]
    return name == pattern


def _names(certificate: x509.Certificate) -> set[str]:
    extension = _extension(certificate, x509.SubjectAlternativeName)
    if not extension:
        return set()
    addresses = {str(one) for one in extension.value.get_values_for_type(x509.IPAddress)}
    return addresses | set(extension.value.get_values_for_type(x509.DNSName))


def _parsed(text: str) -> list[x509.Certificate]:
    try:
        return _certificates(text)
    except ValueError:
        return []


def _certificates(text: str) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(text.encode())


def _is_ours(text: str) -> bool:
    return any(
        name.value == _OURS
        for one in _parsed(text)[:1]
        for name in one.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    )


def _left(text: str, now: datetime) -> float:
    return (_certificates(text)[0].not_valid_after_utc - now) / timedelta(days=1)


def _key(text: str) -> Any:
    """Return the private key of a PEM file, which may hold certificates, too."""
    blocks = text.split("-----BEGIN ")
    for block in blocks[1:]:
        if "PRIVATE KEY-----" in block.partition("\n")[0]:
            return serialization.load_pem_private_key(f"-----BEGIN {block}".encode(), None)
    raise ValueError("no private key")


def _public(key: Any) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.DER, form)


def _text_of(key: Any) -> str:
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, none).decode()


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
    identifier = _extension(issuer, x509.SubjectKeyIdentifier)
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
    return _signed_text(builder, key) + _text_of(own)


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


def now() -> datetime:
    """Return the time with its zone."""
    return datetime.now(UTC)
