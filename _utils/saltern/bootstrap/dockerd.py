"""How Docker's daemon runs on the cloud's machines: one source for set-up and orch.bootstrap_servers.

Plain Python without requirements: set-up reads it before there is a virtualenv.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# Containers live on while the daemon is down, also when it has crashed: without this its next start ends them and
# notes that they were stopped by hand, so that no restart policy brings them back. Logs rotate.
_ALWAYS: dict[str, Any] = {
    "live-restore": True,
    "log-driver": "json-file",
    "log-opts": {"max-size": "50m", "max-file": "5"},
}
# Containers use the host's network, so Docker keeps its hands off it: its own rules would drop what the cloud
# forwards, and it would let the host forward anybody's packets.
_NETWORK: dict[str, Any] = {
    "bridge": "none",
    "iptables": False,
    "ip6tables": False,
    "ip-forward": False,
}
# Options belong to their driver.
_TOGETHER = ({"log-driver", "log-opts"},)
# Names of command line options that set a key under another name.
_FLAGS = {"--log-opt": "log-opts", "-b": "bridge"}


def settings() -> dict[str, Any]:
    """Return the keys of ``daemon.json`` on a host of the cloud."""
    return {**_ALWAYS, **_NETWORK}


def missing(
    there: Iterable[str], network: bool = True, live_restore: bool = True
) -> dict[str, Any]:
    """Return the keys that a machine's operator has left open.

    :param there: Keys that the operator has set, in the file or on the command line.
    :param network: False where Docker may serve others already, who use its network.
    :param live_restore: False where Docker cannot have it (swarm mode).
    """
    taken = set(there)
    for group in _TOGETHER:
        taken |= group if group & taken else set()
    wanted = settings() if network else _ALWAYS
    open_ = {key: value for key, value in wanted.items() if key not in taken}
    if not live_restore:
        open_.pop("live-restore", None)
    return open_


def flags(arguments: Iterable[str]) -> set[str]:
    """Return the keys that a daemon's command line sets: the daemon refuses to have one in its file, too."""
    names = {one.partition("=")[0] for one in arguments if one.startswith("-")}
    return {_FLAGS.get(name, name.lstrip("-")) for name in names}


def without(text: Mapping[str, Any], added: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``daemon.json`` without what set-up has added and nobody has changed since."""
    return {key: value for key, value in text.items() if key not in added or added[key] != value}
