"""What makes bare hosts the cloud's: who is reached how, and what each gets. Decisions only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from saltern import paths
from saltern.bootstrap import dockerd
from saltern.cloud import loading as clouds
from saltern.cloud.model import Cloud
from saltern.errors import Failure, SalternError
from saltern.run import code, progress
from saltern.service import merge, templates
from saltern.service.scope import Context

# As the master's own minion, see docs/setup.md.
_KEYSIZE = 2048
_PLACES = {
    "etc": paths.ETC,
    "config_dir": paths.CONFIG_DIR,
    "var": paths.VAR,
    "log": paths.LOG,
    "run": paths.RUN,
}
PUBLIC_KEY = f"{paths.CONFIG_DIR}/pki/minion/minion.pub"
# Option of a salt-ssh client that holds the roster, where the caller has made it already.
ROSTER = "saltern.roster"
_UNKNOWN = "its SSH host key is not in known_hosts, or is another one there"
_AGAIN = "correct it on the host and run this again"
# Seconds to connect.
_TIMEOUT = 10

# What every host needs of its kernel: a connection to a host that has died ends after 100 s, the least that RFC 1122
# (4.2.3.5) allows, not after a quarter of an hour. Nobody's packets are forwarded: Neutron's routers are namespaces or
# flows, in which forwarding is a matter of their own.
_EVERYWHERE = {"net.ipv4.tcp_retries2": 8, "net.ipv4.ip_forward": 0}


def hosts(cloud: Cloud, chosen: Sequence[str]) -> list[str]:
    """Return the hosts among the chosen ones that are prepared over SSH.

    :raises SalternError: There is none.
    """
    found = [host for host in chosen if "ssh" in cloud.hosts[host]]
    if not found:
        raise SalternError(
            "no host has `ssh` in the pillar: add to each that is to be prepared how to reach it, as "
            f"saltern:hosts:{chosen[0]}:ssh: {{user: root}}"
        )
    return found


def roster(cloud: Cloud, preflight: str) -> dict[str, dict[str, Any]]:
    """Return host to how salt-ssh reaches it.

    :param preflight: Path of the script that installs Python on a host that has none.
    """
    return {name: _entry(one, preflight) for name, one in cloud.hosts.items() if "ssh" in one}


def _entry(host: Mapping[str, Any], preflight: str) -> dict[str, Any]:
    known = clouds.schema()["properties"]["hosts"]["additionalProperties"]["properties"]["ssh"]
    default = {key: one["default"] for key, one in known["properties"].items() if "default" in one}
    given = {"host": host["address"], **default, **host["ssh"]}
    return {
        **given,
        "sudo": given["user"] != "root",
        "timeout": _TIMEOUT,
        "ssh_pre_flight": preflight,
        # A host that is not known is refused, and nothing is learnt of one that is.
        "ssh_options": ["StrictHostKeyChecking=yes", "UpdateHostKeys=no", "BatchMode=yes"],
    }


def preflight(file_roots: Sequence[str]) -> str:
    """Return the path of the script that installs Python: the operator's, else the checkout's."""
    files = (Path(root, "bootstrap/files/python") for root in file_roots)
    return str(next(path for path in files if path.is_file()))


def pillar(cloud: Cloud, opts: Mapping[str, Any], finger: str) -> dict[str, Any]:
    """Return the pillar key ``bootstrap``: all that the states of ``salt/bootstrap`` know.

    No secret and nothing of the rest of the pillar: Salt leaves it on the host for a while.

    :param opts: ``__opts__`` of the master.
    :param finger: Fingerprint of the master's key.
    :raises SalternError: Hosts could not reach the master.
    """
    wanted = cloud.settings["bootstrap"]
    master = wanted["master"] or opts["interface"]
    if master in ("0.0.0.0", "::") or (
        master.startswith("127.") and any(one["address"] != master for one in cloud.hosts.values())
    ):
        raise SalternError(
            f"the Salt master listens on {master}, where other hosts do not find it: give it an address "
            "with make setup ADDRESS=..., or name one with saltern:bootstrap:master"
        )
    docker = dockerd.settings()
    if wanted["insecure_registries"]:
        docker["insecure-registries"] = list(wanted["insecure_registries"])
    return {
        "hosts": {
            name: {"address": one["address"], "sysctl": _sysctl(cloud, name)}
            for name, one in cloud.hosts.items()
        },
        "docker": merge.merge(docker, wanted["docker"]),
        "minion": {
            **_PLACES,
            "master": master,
            "master_finger": finger,
            "publish_port": opts["publish_port"],
            "ret_port": opts["ret_port"],
            "ipv6": ":" in master,
            "keysize": _KEYSIZE,
            "pip_index": wanted["pip_index"],
            "code": code.kinds(opts["file_roots"]["base"]),
        },
    }


def _sysctl(cloud: Cloud, host: str) -> dict[str, Any]:
    wanted: dict[str, Any] = dict(_EVERYWHERE)
    for service in cloud.services_of(host):
        names: Context | None = None
        for name, setting in cloud.catalog[service].get("sysctl", {}).items():
            names = names or Context(cloud.outline(host), service)
            if templates.holds(setting.get("when", "true"), names):
                wanted[name] = setting["value"]
    return wanted | dict(cloud.settings["bootstrap"]["sysctl"])


def failures(host: str, value: Any) -> list[Failure]:
    """Return what went wrong on a host.

    :param value: States by tag, or the reason why there are none.
    """
    if isinstance(value, Mapping):
        return [replace(one, remedy=_AGAIN) for one in progress.state_failures(value, host)]
    remedy = f"salt-ssh --raw {host} true"
    if value == _UNKNOWN:
        remedy = (
            "compare the fingerprint of its key (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub there) and "
            "log in to it once with ssh, as root on this host"
        )
    return [Failure(value, host, remedy=remedy)]


def reason(answer: Any) -> str:
    """Return why a host did not do what salt-ssh asked of it, in the last words of ssh or of Salt."""
    if not isinstance(answer, Mapping):
        return str(answer)
    said = f"{answer.get('stdout') or ''}\n{answer.get('stderr') or ''}".strip().splitlines()
    if any("Host key verification failed" in line for line in said):
        return _UNKNOWN
    if said:
        # What ssh says is the cause; what comes after it, of scp for instance, is a consequence.
        first = next((line for line in said if line.startswith("ssh: ")), said[-1])
        return first.removeprefix("ssh: ").strip()
    found = answer.get("return") or answer.get("_error") or dict(answer)
    return found if isinstance(found, str) else json.dumps(found)
