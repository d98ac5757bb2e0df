"""What Nova's image brings of its own, run by Nova itself: no server is needed for a cell's addresses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import docker
import pytest

from saltern.images.options import Options
from saltern.images.workshop import Workshop, failure

pytestmark = pytest.mark.docker
ROOT = Path(__file__).parents[2] / "images"
DATABASE = (
    "mysql+pymysql://nova:p%40ss@127.0.0.1:1/nova?charset=utf8mb4&ssl_ca=/etc/saltern/tls/ca.pem"
)
CONFIG = f"""
[DEFAULT]
transport_url = rabbit://openstack:secret@127.0.0.1:2,openstack:secret@127.0.0.2:2/
[api_database]
connection = sqlite:////tmp/api.sqlite
[database]
connection = {DATABASE}
max_retries = 0
"""
# The last step wants the database itself, and ends the script.
SCRIPT = """
echo "$CONFIG" >/etc/nova/nova.conf
nova-databases 2 >/tmp/out 2>&1
grep -q "Can't connect to MySQL" /tmp/out || cat /tmp/out
nova-manage cell_v2 list_cells --verbose 2>&1 || true
"""


@pytest.fixture(scope="module")
def run() -> Callable[..., str]:
    """Return a function that runs a script in Nova's image."""
    shop = Workshop(ROOT, Options())
    results = shop.build(["nova"], lambda event: None)
    assert not failure(results), failure(results)
    client = docker.from_env()

    def run(script: str, **environment: str) -> str:
        options = {"read_only": True, "cap_drop": ["ALL"], "network_mode": "none"}
        environment["OS_NOVA_DISABLE_EVENTLET_PATCHING"] = "true"
        return client.containers.run(
            shop.name("nova"),
            ["bash", "-c", script],
            remove=True,
            tmpfs=dict.fromkeys(["/tmp", "/etc/nova", "/var/lib/nova"], "mode=1777"),
            environment=environment,
            **options,
        ).decode()

    return run


def test_cells_have_the_options_of_the_configured_database(run: Callable[..., str]) -> None:
    shown = run(SCRIPT, CONFIG=CONFIG)
    rows = [[cell.strip() for cell in line.split("|")] for line in shown.splitlines()]
    cells = {row[1]: row[4] for row in rows if len(row) > 4}
    assert cells["cell1"] == DATABASE, shown
    assert cells["cell0"] == DATABASE.replace("/nova?", "/nova_cell0?"), shown
