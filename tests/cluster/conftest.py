"""The test bed, up and prepared; it stays when the tests end (`make cluster-down` removes it)."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from saltern.images.options import Options
from tests.cluster.bed import Bed
from tests.cluster.clients import Broker, Calls, Client, Database, Identity, Ports
from tests.cluster.members import HOSTS, SERVICES, in_step, query, until, whole

# Test to client to the seconds of its longest outage.
OUTAGES = pytest.StashKey[dict[str, dict[str, float]]]()


def pytest_configure(config: pytest.Config) -> None:
    """Keep what the clients of each fault have seen."""
    config.stash[OUTAGES] = {}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this folder as those of clusters."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.clusters)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print a row a fault, for the table in docs/cluster.md."""
    rows = config.stash[OUTAGES]
    if not rows:
        return
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    width = max(map(len, rows))
    terminalreporter.section("longest time without an acknowledged write, in seconds")
    terminalreporter.line(" ".join([" " * width, *(f"{name:>9}" for name in names)]))
    for test, row in rows.items():
        terminalreporter.line(" ".join([f"{test:<{width}}", *(f"{row[n]:>9.1f}" for n in names)]))


@pytest.fixture(scope="session", autouse=True)
def alone() -> Iterator[None]:
    """Refuse to run beside another run, whose faults would strike this one's hosts, too."""
    with Path(tempfile.gettempdir(), "saltern-bed.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pytest.exit("another run uses the test bed: end it first", returncode=1)
        yield


@pytest.fixture(scope="session")
def bed() -> Bed:
    """Return the bed of the cluster file."""
    bed = Bed()
    bed.up(show=lambda line: None)
    return bed


@pytest.fixture(scope="session")
def cloud(bed: Bed) -> Iterator[Bed]:
    """Return the bed with the services below all others, Keystone, and a user of the database."""
    others = {name: {"enabled": False} for name in bed.wanted().services if name not in SERVICES}
    with bed.pillar({"saltern": {"services": others}}):
        yield from _with_a_user(bed)


def _with_a_user(bed: Bed) -> Iterator[Bed]:
    bed.orch("deploy", services=SERVICES)
    query(bed, "control1", "CREATE DATABASE IF NOT EXISTS ha")
    query(bed, "control1", "CREATE OR REPLACE USER client IDENTIFIED BY 'client'")
    query(bed, "control1", "GRANT ALL ON ha.* TO client")
    yield bed
    query(bed, "control1", "DROP USER client")
    query(bed, "control1", "DROP DATABASE ha")


@pytest.fixture
def clients(cloud: Bed, request: pytest.FixtureRequest) -> Iterator[Callable[[], None]]:
    """Let clients work; call what this yields once the fault is over, to see that all is well."""
    secrets = yaml.safe_load(cloud.run("master", "cat", "/etc/saltern/secrets.yml").out)
    hosts = [cloud.hosts[host]["address"] for host in HOSTS]
    login = ("openstack", secrets["rabbitmq"]["password"])
    probe = cloud.wanted().catalog["ovn"]["options"]["probe_interval"]["default"] * 1000
    network = ["docker", "run", "--rm", "--interactive", "--network", cloud.machine.name]
    working: dict[str, Client] = {
        "database": Database(cloud.virtual_address, "client", "client"),
        "queue": Broker(hosts, *login),
        "call": Calls(hosts, *login),
        "Keystone": Identity(
            f"http://{cloud.virtual_address}:5000", secrets["keystone"]["admin_password"]
        ),
        "port": Ports(
            [*network, Options().name("neutron"), "python3", "-W", "ignore"], hosts, probe
        ),
    }
    for client in working.values():
        client.start()
        client.waits_for(3, until)

    def all_is_well() -> None:
        until(lambda: whole(cloud), "all is healthy again by itself", seconds=600)
        for client in working.values():
            client.waits_for(5, until)
            client.stop()
        until(lambda: in_step(cloud, "ha.written"), "the members hold the same rows")
        seen = {name: client.outage for name, client in working.items()}
        request.config.stash[OUTAGES][request.node.name] = seen
        for name, client in working.items():
            assert client.stale == [], (name, client.errors)
            assert client.lost() == [], (name, client.errors)

    yield all_is_well
    for client in working.values():
        client.stop()
