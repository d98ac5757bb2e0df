"""chrony as deployed, but for -x: no test may set the clock of the machine it runs on."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from .services import HOST, Deployment, until

OTHER, STRANGER = "127.0.9.4", "127.0.9.5"
HOSTS = {
    "one": {"address": HOST, "roles": ["control"]},
    "two": {"address": OTHER, "roles": ["compute"]},
}
UNTOUCHED = ["chronyd", "-x", "-d", "-u", "chrony", "-f", "/etc/chrony/chrony.conf"]
OPTIONS: dict[str, Any] = {"pools": [], "containers": {"chrony": {"command": UNTOUCHED}}}


@pytest.fixture
def chrony(salt_loaded: Any, call: Any) -> Deployment:
    """Return the service in a cloud of two hosts."""
    deployment = Deployment("chrony", salt_loaded, call)
    deployment.hosts = HOSTS
    return deployment


def stratum(server: str, sender: str, seconds: float = 5) -> int | None:
    """Return the stratum that an NTP server tells a sender; None if it does not answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.bind((sender, 0))
        connection.settimeout(seconds)
        # RFC 5905: no leap, version 4, mode 3 (client).
        connection.sendto(b"\x23" + bytes(47), (server, 123))
        try:
            return connection.recv(48)[1]
        except TimeoutError:
            return None


def test_a_control_host_serves_the_cloud_and_nobody_else(chrony: Deployment) -> None:
    result = chrony.deploy(OPTIONS)
    assert result["result"] is True, result["comment"]
    assert until(lambda: stratum(HOST, OTHER), "an answer") == 10
    assert stratum(HOST, STRANGER, 1) is None
    (number,) = (
        row[0]
        for row in chrony.api.top(chrony.container, ps_args="-eo pid,comm")["Processes"]
        if row[1] == "chronyd"
    )
    status = Path(f"/proc/{number}/status").read_text()
    assert "Uid:\t42598\t42598" in status
    # NET_BIND_SERVICE; without -x also SYS_TIME.
    assert "CapEff:\t0000000000000400" in status


def test_another_host_asks_the_control_hosts(chrony: Deployment, tmp_path: Path) -> None:
    chrony.host = "two"
    result = chrony.deploy(OPTIONS)
    assert result["result"] is True, result["comment"]
    config = tmp_path / "source.conf"
    config.write_text(
        f"local stratum 5\nallow\nbindaddress {HOST}\ncmdport 0\nbindcmdaddress /\npidfile /\n"
    )
    source = chrony.api.create_container(
        chrony.api.inspect_container(chrony.container)["Image"],
        ["chronyd", "-x", "-d", "-u", "chrony", "-f", "/source.conf"],
        name=f"{chrony.container}-source",
        host_config=chrony.api.create_host_config(
            network_mode="host", binds=[f"{config}:/source.conf:ro"]
        ),
    )
    chrony.api.start(source)
    # A server that was silent is asked again after a minute, at a start at once.
    chrony.api.restart(chrony.container)
    ask = ("chronyc", "-n", "-h", "127.0.0.1", "-p", "10323", "sources")
    until(lambda: f"^* {HOST}" in chrony.run(*ask), "the control host is the source")
    assert stratum(OTHER, HOST, 1) is None
