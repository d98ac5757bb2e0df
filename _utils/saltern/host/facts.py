"""What an adapter knows of its host: pillar, roots and template names, from Salt's dunders.

Library functions rather than execution modules, so that no job can return the secrets they hold.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

import psutil
import salt.pillar

from saltern import paths
from saltern.errors import SalternError
from saltern.service import scope


def cloud(pillar: Mapping[str, Any], opts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the pillar key ``cloud``, with its secrets.

    :param pillar: ``__pillar__`` (``pillar.get`` would mask the secrets).
    :param opts: ``__opts__``.
    :raises SalternError: The pillar is wrong, or this host is not in the inventory.
    """
    view = pillar.get("cloud")
    if not view:
        raise SalternError(
            f"{opts['id']} is not in the inventory: add it to saltern:hosts in the pillar"
        )
    if view.get("errors"):
        raise SalternError("the pillar is wrong:\n" + "\n".join(view["errors"]))
    return view


def fresh_cloud(
    pillar: MutableMapping[str, Any],
    opts: Mapping[str, Any],
    grains: Mapping[str, Any],
    memory: MutableMapping[str, Any],
) -> Mapping[str, Any]:
    """Return the pillar key ``cloud`` as the master has it now, asked once in a job.

    A minion's own pillar is as old as its last refresh; only states compile theirs anew.

    :param pillar: ``__pillar__``; brought up to date in place, so that the other modules see it, too.
    :param grains: ``__grains__``.
    :param memory: ``__context__``.
    :raises SalternError: As :func:`cloud`.
    """
    if not memory.get("saltern.pillar"):
        compiled = salt.pillar.get_pillar(opts, dict(grains), opts["id"]).compile_pillar()
        pillar.clear()
        pillar.update(compiled)
        memory["saltern.pillar"] = True
    return cloud(pillar, opts)


def context(
    service: str, pillar: Mapping[str, Any], opts: Mapping[str, Any], grains: Mapping[str, Any]
) -> scope.Context:
    """Return the names that the templates of one of this host's services see.

    :raises SalternError: This host does not run the service.
    """
    view = cloud(pillar, opts)
    if service not in view["formulas"]:
        raise SalternError(
            f"{opts['id']} does not run {service}: it has none of its roles in saltern:hosts"
        )
    names = scope.Context(view, service, machine(grains))
    for folder in ("keyrings", "certificates"):
        names[folder] = f"{paths.root('var', opts)}/{folder}"
    names["prefix"] = opts.get("saltern", {}).get("prefix", "")
    return names


def machine(grains: Mapping[str, Any]) -> scope.Machine:
    """Return the facts of this host that templates see."""
    flags = grains.get("cpu_flags", [])
    modules = Path("/lib/modules", grains.get("kernelrelease", ""))
    listed = (modules / name for name in ("modules.dep", "modules.builtin"))
    return scope.Machine(
        networks=tuple(networks()),
        cpus=int(grains.get("num_cpus", 1)),
        memory_mb=int(grains.get("mem_total", 2048)),
        # The device alone says nothing: a guest can have it and not be able to nest.
        kvm=("vmx" in flags or "svm" in flags) and Path("/dev/kvm").exists(),
        openvswitch_module=Path("/sys/module/openvswitch").exists()
        or any("/openvswitch.ko" in one.read_text() for one in listed if one.exists()),
    )


def networks() -> list[tuple[str, str]]:
    """Return the host's network interfaces and their IPv4 addresses: ``("eth0", "10.0.0.11/24")``."""
    return [
        (name, f"{one.address}/{ipaddress.ip_network(f'0.0.0.0/{one.netmask}').prefixlen}")
        for name, addresses in sorted(psutil.net_if_addrs().items())
        for one in addresses
        if one.family == socket.AF_INET and one.netmask
    ]
