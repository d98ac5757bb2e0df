"""Certificates as a service gets them: files that its containers see."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saltern.errors import SalternError

MAKE = "salt-run state.orchestrate orch.certificates"

_SYSTEM = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")


def delivery(view: Mapping[str, Any], service: str) -> dict[str, tuple[str, int]]:
    """Return the files a service's containers see in :data:`saltern.paths.TLS`, name to text and mode.

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
