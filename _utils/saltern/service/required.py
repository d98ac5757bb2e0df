"""What a service requires answers through the load balancer: its own health is not enough.

A server that has just started is healthy before HAProxy has noticed; who connects in between is cut off.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from saltern.service import scope

# Seconds to connect, and for an answer: HAProxy itself gives up a server after as long.
_TIMEOUT = 10
# Seconds in which a balancer without a server has closed a connection, where the client has to speak first.
_SILENCE = 1


@dataclass(frozen=True)
class Endpoint:
    """A port of a service at the internal address.

    :ivar kind: ``tcp`` or ``http``.
    :ivar path: What is asked for by HTTP.
    :ivar tls: HAProxy speaks TLS there.
    """

    service: str
    address: str
    port: int
    kind: str
    path: str = "/"
    tls: bool = False

    def __str__(self) -> str:
        return f"{self.service} at {self.address}:{self.port}"


def endpoints(service: str, cloud: Mapping[str, Any]) -> list[Endpoint]:
    """Return the ports behind HAProxy of all that a service requires itself.

    :param cloud: Pillar key ``cloud`` of a host.
    """
    services = cloud["services"]
    if not scope.provider(cloud, "load_balancer"):
        return []
    return [
        Endpoint(
            name,
            cloud["internal_address"],
            port["port"],
            port["frontend"],
            port.get("check", "/"),
            port["frontend"] == "http" and bool(cloud["tls"]["internal"]),
        )
        for name in services[service]["requires"]
        if name in services
        for port in services[name]["ports"].values()
        if port.get("frontend", "none") != "none"
    ]


def why_not(endpoint: Endpoint) -> str:
    """Return why a port does not answer through HAProxy; nothing if it does."""
    try:
        return _http(endpoint) if endpoint.kind == "http" else _tcp(endpoint)
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__


def _http(endpoint: Endpoint) -> str:
    place = (endpoint.address, endpoint.port)
    if endpoint.tls:
        # Nothing is told: whose certificate it is does not matter here.
        trust = ssl._create_unverified_context()
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            *place, timeout=_TIMEOUT, context=trust
        )
    else:
        connection = http.client.HTTPConnection(*place, timeout=_TIMEOUT)
    try:
        connection.request("GET", endpoint.path, headers={"User-Agent": "saltern"})
        status = connection.getresponse().status
    finally:
        connection.close()
    return f"status {status}" if status >= 500 else ""


def _tcp(endpoint: Endpoint) -> str:
    with socket.create_connection((endpoint.address, endpoint.port), _TIMEOUT) as connection:
        connection.settimeout(_SILENCE)
        try:
            return "" if connection.recv(1) else "the connection is closed at once"
        except TimeoutError:
            return ""
