"""Servers behind load balancers: their names, and what a balancer tells of them."""

from __future__ import annotations

import http.server
import threading

import pytest

from saltern.containers import balancer
from saltern.containers.balancer import Server
from saltern.containers.spec import Spec
from saltern.errors import SalternError
from saltern.service import balanced

CSV = """# pxname,svname,qcur,scur,status,check_status,
web,FRONTEND,,3,OPEN,,
web,one,0,2,NOLB,L7OKC,
web,one:15000,0,1,UP,* L7OK,
web,BACKEND,0,3,UP,,
other,one,0,0,UP,L7OK,
"""
CLOUD = {
    "host": {"id": "one", "address": "10.0.0.1"},
    "hosts": {"one": {"address": "10.0.0.1"}, "two": {"address": "10.0.0.2"}},
    "services": {
        "web": {"ports": {"web": {"port": 5000, "spare": 15000}, "side": {"port": 1, "spare": 2}}},
        "lb": {"ports": {"monitor": {"port": 61313}}, "hosts": ["one", "two"]},
    },
}


@pytest.fixture
def answers():
    """Return an address that answers with CSV."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(CSV.encode())

        def log_message(self, *args):
            """Stay silent."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/servers;csv"
    server.shutdown()
    server.server_close()


def test_a_balancer_tells_of_its_servers_and_a_silent_one_of_none(answers):
    told = balancer.ask([answers, "http://127.0.0.1:1/servers;csv"], "web", "127.0.0.1")
    assert list(told) == ["127.0.0.1"]
    assert told["127.0.0.1"]["one"] == Server("NOLB", "L7OKC", 2)
    assert told["127.0.0.1"]["one:15000"].is_used()
    assert balancer.ask([answers], "unknown") == {"127.0.0.1": {}}


@pytest.mark.parametrize(
    ("server", "used", "up"),
    [
        (Server("UP", "L7OK", 0), True, True),
        # After a start every server counts as up until its first check.
        (Server("UP", "INI", 0), False, True),
        (Server("UP 1/3", "L7TOUT", 0), False, True),
        (Server("DOWN 1/2", "L7OK", 0), False, False),
        (Server("NOLB", "L7OKC", 1), False, False),
    ],
)
def test_a_server_is_used_when_its_check_has_passed_and_up_until_it_says_no(server, used, up):
    assert (server.is_used(), server.is_up()) == (used, up)


def test_a_container_knows_its_servers_and_who_tells_of_them():
    fields = balanced.fields("web", "side", "lb", CLOUD)
    assert fields["places"] == ["1", "2"]
    assert fields["balancer"] == {
        "source": "10.0.0.1",
        "urls": ["http://10.0.0.1:61313/servers;csv", "http://10.0.0.2:61313/servers;csv"],
        "backend": "web-side",
        "servers": ["one", "one:2"],
    }
    assert balanced.fields("web", "web", "", CLOUD)["balancer"]["urls"] == []
    assert balanced.fields("web", "", "lb", CLOUD) == {}


def test_another_balancer_is_no_change_of_a_container():
    one = {"name": "web", "image": "web:1", **balanced.fields("web", "web", "lb", CLOUD)}
    other = {**one, "balancer": {**one["balancer"], "urls": []}, "drain": 5}
    assert Spec.from_dict(one).digest == Spec.from_dict(other).digest
    assert Spec.from_dict(one).digest != Spec.from_dict({**one, "places": [1, 2]}).digest


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("places", ["5000"], "two different ports or words"),
        ("places", ["5000", 5000], "two different ports or words"),
        ("balancer", {"urls": []}, "a map with backend, servers, source, urls"),
    ],
)
def test_wrong_places_are_refused(field, value, allowed):
    with pytest.raises(SalternError, match=f"field '{field}': found .*, allowed: {allowed}"):
        Spec.from_dict({"name": "web", "image": "web:1", field: value})
