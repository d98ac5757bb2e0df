"""The OpenStack images of this checkout: built if they are not, then run as they will be run."""

from __future__ import annotations

from pathlib import Path

import docker
import docker.errors
import pytest

from saltern.images.options import Options
from saltern.images.workshop import Workshop, failure

pytestmark = pytest.mark.docker
ROOT = Path(__file__).parents[2] / "images"
IMAGES = ["keystone", "glance", "toolbox"]


@pytest.fixture(scope="module")
def shop():
    made = Workshop(ROOT, Options())
    results = made.build(IMAGES, lambda event: None)
    assert not failure(results), failure(results)
    return made


@pytest.fixture(scope="module")
def run(shop):
    client = docker.from_env()

    def run(image: str, *command: str, **more) -> str:
        """Run as strictly as the product does; return what was printed."""
        options = {"read_only": True, "cap_drop": ["ALL"], "network_mode": "none"} | more
        name = shop.name(image)
        return client.containers.run(name, list(command), remove=True, **options).decode()

    return run


@pytest.mark.parametrize("image", IMAGES)
def test_it_runs_as_its_own_user(shop, run, image):
    uid = shop.catalog.users[image]["uid"]
    assert run(image, "id", "-u").strip() == str(uid)
    assert run(image, "stat", "-c", "%u %a", f"/var/lib/{image}").strip() == f"{uid} 750"


@pytest.mark.parametrize("image", IMAGES)
def test_it_holds_what_it_needs_to_run_and_no_more(run, image):
    script = (
        "command -v gcc cc g++ make pip uv git;"
        "ls -d /etc/ssl/build-ca-bundle.crt /build /added /root/.cache /etc/keystone /etc/glance 2>/dev/null;"
        "find / -xdev -name '*.pyc' -o -xdev -path '/var/lib/apt/lists/*' | head;"
        "find /opt/saltern -name tests -path '*site-packages/*' -o -name '*.pyi' | head"
    )
    assert run(image, "bash", "-c", f"{script}; true") == ""


@pytest.mark.parametrize("image", IMAGES)
def test_every_library_that_is_linked_is_there(run, image):
    script = (
        "find /opt/saltern -name '*.so' -o -name uwsgi -type f"
        " | xargs ldd 2>/dev/null | grep 'not found' | sort -u"
    )
    # What wheels bring themselves is found by the importer, not by the linker's path.
    assert run(image, "bash", "-c", f"{script}; true") == ""


def test_keystone_has_its_manager_and_its_server(run):
    assert run("keystone", "keystone-manage", "--version").startswith("30.")
    # It goes as far as the keys, which only a deployment has.
    script = "touch /tmp/keystone.conf; python -W ignore -c 'import keystone.wsgi.api' 2>&1; true"
    environment = {"OS_KEYSTONE_CONFIG_DIR": "/tmp"}
    output = run("keystone", "bash", "-c", script, environment=environment, tmpfs={"/tmp": ""})
    assert "fernet-keys/ does not exist" in output
    assert "ModuleNotFoundError" not in output


def test_glance_has_its_manager_and_its_paste_file(run):
    assert run("glance", "glance-manage", "--version").startswith("33.")
    paste = "/opt/saltern/etc/glance/glance-api-paste.ini"
    assert "pipeline" in run("glance", "cat", paste)


def test_the_server_runs_wsgi_applications(run):
    assert run("keystone", "uwsgi", "--version").startswith("2.")
    assert run("glance", "uwsgi", "--python-version").startswith("3.")


def test_the_toolbox_has_its_clients(run):
    assert run("toolbox", "openstack", "--version").startswith("openstack ")
    assert "MariaDB" in run("toolbox", "mariadb", "--version")
    assert (
        run("toolbox", "bash", "-c", "test -x /usr/local/bin/register && echo there") == "there\n"
    )


def test_bytecode_goes_where_a_volume_can_hold_it(run):
    script = "python -c 'import json.tool' && find /var/cache/python -name 'tool*.pyc' | wc -l"
    mounts = {"/var/cache/python": "mode=1777"}
    assert run("keystone", "bash", "-c", script, tmpfs=mounts).strip() == "1"


@pytest.mark.parametrize(
    ("command", "healthy", "says"),
    [
        ("healthcheck process tini", True, "healthy: tini runs"),
        ("healthcheck process python3", False, "unhealthy: no process python3"),
        ("sleep 60 & sleep 0.1; healthcheck process sleep", True, "healthy: sleep runs"),
        ("healthcheck tcp 127.0.0.1 1", False, "no connection"),
        ("healthcheck http http://127.0.0.1:1/x", False, "no connection"),
        ("healthcheck http https://127.0.0.1:1/x", False, "no answer"),
    ],
)
def test_the_health_check_tells(run, command, healthy, says):
    output = run("keystone", "bash", "-c", f"{command}; echo exit $?")
    assert says in output
    assert ("exit 0" in output) is healthy


def test_the_health_check_reads_the_status(run):
    server = (
        "import http.server as h\n"
        "class H(h.BaseHTTPRequestHandler):\n"
        "  def do_GET(self):\n"
        "    self.send_response(int(self.path[1:])); self.end_headers()\n"
        "h.HTTPServer(('127.0.0.1', 8080), H).serve_forever()"
    )
    script = (
        f'python -c "{server}" 2>/dev/null & '
        "until healthcheck tcp 127.0.0.1 8080 >/dev/null; do sleep 0.1; done; "
        "for one in 'http://127.0.0.1:8080/200' 'http://127.0.0.1:8080/300'"
        " 'http://127.0.0.1:8080/503' 'http://127.0.0.1:8080/401 401'; do"
        " healthcheck http $one; echo $?; done"
    )
    lines = run("keystone", "bash", "-c", script).splitlines()
    assert lines[1::2] == ["0", "0", "1", "0"]
    assert lines[4] == "unhealthy: http://127.0.0.1:8080/503: status 503"


@pytest.mark.parametrize("image", IMAGES)
def test_it_stays_small(shop, image):
    # Kolla's keystone of the same release: 1.49 GB.
    size = shop.sizes(IMAGES)["images"][image]
    assert size["size"] < 235e6
    assert size["own"] < 40e6
