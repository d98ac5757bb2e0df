"""Which certificates a cloud needs, and which of them each service gets."""

from __future__ import annotations

import functools
from collections.abc import Container

from saltern.cloud.model import Cloud
from saltern.tls.authority import Names


# Found out once for all hosts of a cloud, which does not change.
@functools.lru_cache(maxsize=1)
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
    shown = [name for name in cloud.catalog if shows(cloud, name)]
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


def shows(cloud: Cloud, service: str) -> bool:
    """Return whether a service shows its host's certificate: by its option ``tls`` or its ports."""
    ports = cloud.catalog[service].get("ports", {}).values()
    backend = cloud.settings["tls"]["backend"] and any(port.get("tls") for port in ports)
    return backend or cloud.options(service).get("tls") is True


def of_service(cloud: Cloud, service: str, needed: Container[str]) -> list[str] | None:
    """Return the certificates that a service gets beside the CA's, None if it needs no CA either.

    :param needed: What the cloud needs, see :func:`wanted`.
    """
    formula = cloud.catalog[service]
    own = ["host"] if shows(cloud, service) else []
    own += [name for name in formula.get("certificates", []) if name in needed]
    called = [cloud.catalog[name] for name in {service, *cloud.before(service)}]
    offers = any(
        port.get("frontend", "none") != "none"
        for one in called
        for port in one.get("ports", {}).values()
    )
    return own if own or offers or "certificates" in formula else None
