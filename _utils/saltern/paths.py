"""Where the product keeps things: every path of its own, once.

Plain Python without requirements: set-up reads it before there is a virtualenv.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# On every host: configuration, state, logs, what lives as long as processes.
ETC = "/etc/saltern"
VAR = "/var/lib/saltern"
LOG = "/var/log/saltern"
RUN = "/run/saltern"
# Of Salt's own processes.
CONFIG_DIR = f"{ETC}/salt"
# On the master alone.
SECRETS = f"{ETC}/secrets.yml"
CERTIFICATES = f"{ETC}/certificates"
OVERRIDES = f"{ETC}/overrides"
# In containers: their certificates.
TLS = f"{ETC}/tls"

_ROOTS = {"etc": ETC, "var": VAR}


def root(kind: str, opts: Mapping[str, Any]) -> str:
    """Return where Saltern keeps things on a host: ``etc`` (configuration) or ``var`` (state).

    :param opts: ``__opts__``; its ``saltern`` may name other folders.
    """
    return opts.get("saltern", {}).get(kind, _ROOTS[kind]).rstrip("/")
