"""How load balancers see a service's servers: the names they give them, and where they tell of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Where balancers tell of their servers, on the first port of the service that provides them.
_PATH = "/servers;csv"


def backend(service: str, port: str) -> str:
    """Return the name of the servers behind a port."""
    return service if service == port else f"{service}-{port}"


def servers(host: str, port: Mapping[str, Any]) -> dict[str, int]:
    """Return the servers that a host has behind a port, name to port; the second is the spare one."""
    spare = {f"{host}:{port['spare']}": port["spare"]} if "spare" in port else {}
    return {host: port["port"], **spare}


def fields(service: str, port: str, balancer: str, cloud: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a container behind a port that can run beside its successor.

    :param port: Name of the port, empty if there is none.
    :param balancer: The service that provides load balancers, empty if there is none.
    :param cloud: Pillar key ``cloud`` of the host.
    """
    if not port:
        return {}
    names = servers(cloud["host"]["id"], cloud["services"][service]["ports"][port])
    facts = cloud["services"].get(balancer, {})
    monitor = next((one["port"] for one in facts.get("ports", {}).values()), None)
    addresses = [cloud["hosts"][host]["address"] for host in facts.get("hosts", [])]
    return {
        "places": [str(number) for number in names.values()],
        "balancer": {
            # Balancers tell the hosts of the cloud alone.
            "source": cloud["host"]["address"],
            "urls": [f"http://{address}:{monitor}{_PATH}" for address in addresses],
            "backend": backend(service, port),
            "servers": list(names),
        },
    }
