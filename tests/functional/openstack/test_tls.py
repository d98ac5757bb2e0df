"""TLS as deployed: switched on in a cloud that runs, verified everywhere, renewed under load."""

from __future__ import annotations

import contextlib
import copy
import json
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pymysql
import pytest
from cryptography import x509

from ..services import until
from .small_cloud import EXTERNAL, HOST, INTERNAL, SERVICES, SmallCloud

pytestmark = pytest.mark.clusters

AMQP, GALERA = 5672, 4567
# As the services do it, through the library they do it with.
CAST = """
import sys, oslo_messaging
from oslo_config import cfg
conf = cfg.CONF
conf([], default_config_files=[])
oslo_messaging.get_rpc_transport(conf, "rabbit://")
for option, value in {"ssl": True, "ssl_ca_file": "/etc/saltern/tls/ca.pem"}.items():
    conf.set_override(option, value, "oslo_messaging_rabbit")
transport = oslo_messaging.get_rpc_transport(conf, sys.stdin.read())
client = oslo_messaging.get_rpc_client(transport, oslo_messaging.Target(topic="t"), retry=1)
client.cast({}, "anything")
print("sent")
"""


@pytest.fixture(scope="module")
def tls_cloud(small_cloud: SmallCloud) -> Iterator[SmallCloud]:
    """Switch TLS on, everywhere, in the small cloud, and off again."""
    cloud, pillar = small_cloud, copy.deepcopy(small_cloud.pillar)
    cloud.pillar["saltern"]["tls"] = {"external": True, "internal": True, "backend": True}
    cloud.pillar["mariadb"] = {"tls": True}
    # Ports that it binds on all addresses, or tries to, and a deployed cloud has already.
    own = {"environment": {"ERL_EPMD_PORT": "14369", "RABBITMQ_DIST_PORT": "15674"}}
    cloud.pillar["rabbitmq"] = {"tls": True, "containers": {"rabbitmq": own}}
    cloud.certify()
    try:
        cloud.deploy(*SERVICES, "rabbitmq")
        cloud.wait_for_glance()
        yield cloud
    finally:
        cloud.salt_call("container.absent", "rabbitmq", "volumes=True")
        cloud.pillar, cloud.trust = pillar, None
        cloud.deploy(*SERVICES)
        cloud.wait_for_glance()


@pytest.mark.parametrize("address", [EXTERNAL, INTERNAL, HOST])
def test_api_is_verified_by_the_authority_alone(tls_cloud: SmallCloud, address: str) -> None:
    port = _listening(HOST, 5000, 15000) if address == HOST else 5000
    url = f"https://{address}:{port}/healthcheck"
    assert tls_cloud.request("GET", url).status == 200
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.urlopen(url, timeout=10)
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        urllib.request.urlopen(url.replace("https", "http"), timeout=10)


def _listening(address: str, *ports: int) -> int:
    """Return the one of the ports of an API on which it listens now."""
    for port in ports:
        with socket.socket() as probe:
            if probe.connect_ex((address, port)) == 0:
                return port
    raise AssertionError(f"nothing listens on {address}, {ports}")


def test_second_deployment_with_tls_changes_nothing(tls_cloud: SmallCloud) -> None:
    assert tls_cloud.deploy(*SERVICES, "rabbitmq") == {}


def test_a_replaced_api_refuses_nobody_with_tls(tls_cloud: SmallCloud) -> None:
    before = tls_cloud.container_id("keystone-api")
    with tls_cloud.in_use() as failed:
        tls_cloud.pillar["keystone"] = {"workers": 3}
        tls_cloud.deploy("keystone")
    assert failed == []
    assert tls_cloud.container_id("keystone-api") != before


def test_checkers_see_the_certificates(tls_cloud: SmallCloud) -> None:
    rows = tls_cloud.salt_call("precheck.config", "services=[haproxy, mariadb, keystone]")
    assert [row for row in rows if not row["ok"]] == []
    assert len(rows) == 3


def test_catalogue_and_links_say_https(tls_cloud: SmallCloud) -> None:
    token = tls_cloud.admin_token()
    catalog = tls_cloud.request("GET", "/auth/catalog", token).body["catalog"]
    urls = [endpoint["url"] for service in catalog for endpoint in service["endpoints"]]
    assert f"https://{EXTERNAL}:5000/v3" in urls
    assert [url for url in urls if not url.startswith("https://")] == []
    links = tls_cloud.request("GET", "/users", token).body["links"]
    assert links["self"].startswith(f"https://{INTERNAL}:5000/")


def test_client_of_the_toolbox_stores_and_saves_an_image(tls_cloud: SmallCloud) -> None:
    cloud = tls_cloud
    cloud.run("sh", "-c", "head -c 20M /dev/urandom > /tmp/image")
    create = "openstack --os-cloud saltern image create --disk-format raw --file /tmp/image real"
    cloud.run(*create.split())
    try:
        cloud.run("openstack", "image", "save", "--file", "/tmp/back", "real")
        cloud.run("cmp", "/tmp/image", "/tmp/back")
    finally:
        cloud.run("openstack", "image", "delete", "real")
        cloud.run("rm", "-f", "/tmp/image", "/tmp/back")


def test_database_refuses_who_comes_without_tls(tls_cloud: SmallCloud) -> None:
    password = tls_cloud.secrets["keystone"]["database_password"]
    account = {"host": INTERNAL, "user": "keystone", "password": password, "connect_timeout": 10}
    with pymysql.connect(**account, ssl=tls_cloud.trust) as connection:
        cursor = connection.cursor()
        cursor.execute("SHOW STATUS LIKE 'Ssl_version'")
        assert cursor.fetchone()[1].startswith("TLSv1.")
        cursor.execute("SHOW VARIABLES LIKE 'wsrep_provider_options'")
        assert "socket.ssl = YES" in cursor.fetchone()[1]
    with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
        pymysql.connect(**account, ssl_disabled=True)


def test_broker_talks_by_tls_only(tls_cloud: SmallCloud) -> None:
    password = tls_cloud.secrets["rabbitmq"]["password"]
    url = f"rabbit://openstack:{password}@{HOST}:{AMQP}/"
    said = tls_cloud.run("python3", "-c", CAST, container="glance-api", stdin=url)
    assert said.strip().endswith("sent")
    with contextlib.suppress(ConnectionError), socket.create_connection((HOST, AMQP), 10) as plain:
        plain.sendall(b"AMQP\x00\x00\x09\x01")
        assert b"AMQPLAIN" not in plain.recv(1000)
    members = tls_cloud.run(
        "rabbitmqctl", "-q", "eval", "init:get_argument(proto_dist).", container="rabbitmq"
    )
    assert "inet_tls" in members


def test_renewal_reaches_every_server_and_stops_nothing(tls_cloud: SmallCloud) -> None:
    cloud = tls_cloud
    containers = ("haproxy", "keystone-api", "mariadb", "rabbitmq")
    before = {name: cloud.container_id(name) for name in containers}
    deployed = f"services=[{', '.join([*SERVICES, 'rabbitmq'])}]"
    both = [(EXTERNAL, 5000), (INTERNAL, 5000)]
    with _requests(cloud, *both) as failures:
        old = {place: _serial(cloud, *place) for place in both}
        cloud.certify("external", "internal")
        changed = cloud.salt_call("certificates.deliver", deployed)
        assert changed == {"haproxy": {f"{one}.pem": "changed" for one in ("external", "internal")}}
        assert [place for place in both if _serial(cloud, *place) == old[place]] == []
    assert failures == []

    keystone = (HOST, _listening(HOST, 5000, 15000))
    own = [keystone, (HOST, AMQP), (HOST, GALERA)]
    with _requests(cloud, (EXTERNAL, 5000), keystone) as failures:
        old = {place: _serial(cloud, *place) for place in own} | {None: _database_serial(cloud)}
        cloud.certify("hosts/small")
        changed |= cloud.salt_call("certificates.deliver", deployed)
        # RabbitMQ forgets the old one within two minutes.
        for place in own:
            until(lambda place=place: _serial(cloud, *place) != old[place], f"new: {place}", 300)
        assert _database_serial(cloud) != old[None]
    # On a slow machine HAProxy may say for a while that its only Keystone is not back yet.
    assert [one for one in failures if one != 503] == []
    assert {name: cloud.container_id(name) for name in containers} == before
    assert "PRIVATE KEY" not in json.dumps(changed)
    assert cloud.deploy(*SERVICES, "rabbitmq") == {}


@contextlib.contextmanager
def _requests(cloud: SmallCloud, *places: tuple[str, int]) -> Iterator[list[int | str]]:
    """Send requests to Keystone during the block and for one round more; yield what failed."""
    stop, failures = threading.Event(), []

    def ask() -> None:
        last = False
        while not last:
            last = stop.is_set()
            for address, port in places:
                try:
                    status = cloud.request("GET", f"https://{address}:{port}/healthcheck").status
                except OSError as error:
                    status = str(error)
                if status != 200:
                    failures.append(status)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield failures
    finally:
        stop.set()
        asking.join()


def _serial(cloud: SmallCloud, address: str, port: int) -> int:
    """Return the number of the certificate that a server shows."""
    assert cloud.trust
    with (
        socket.create_connection((address, port), 60) as plain,
        cloud.trust.wrap_socket(plain, server_hostname=address) as secure,
    ):
        return _number(secure)


def _database_serial(cloud: SmallCloud) -> int:
    """Return the number of the certificate that MariaDB shows, which begins without TLS."""
    with pymysql.connect(host=INTERNAL, user="monitor", ssl=cloud.trust) as connection:
        return _number(connection._sock)


def _number(secure: ssl.SSLSocket) -> int:
    return x509.load_der_x509_certificate(secure.getpeercert(True) or b"").serial_number
