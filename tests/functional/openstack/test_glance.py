"""Glance as deployed: images stream in and out whole, and a stop waits for them."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from .small_cloud import HOST, INTERNAL, PREFIX, SmallCloud

MB = 1024 * 1024
API = f"http://{INTERNAL}:9292/v2/images"


@pytest.fixture
def token(small_cloud: SmallCloud) -> str:
    return small_cloud.admin_token()


@pytest.fixture
def image(small_cloud: SmallCloud, token: str) -> Iterator[str]:
    """Return the URL of a queued image."""
    body = {"name": "test", "disk_format": "raw", "container_format": "bare"}
    made = small_cloud.request("POST", API, token, body)
    assert made.status == 201, made
    yield f"{API}/{made.body['id']}"
    small_cloud.request("DELETE", f"{API}/{made.body['id']}", token)


def test_client_of_the_toolbox_stores_and_saves_an_image(small_cloud: SmallCloud) -> None:
    cloud = small_cloud
    cloud.run("sh", "-c", "head -c 20M /dev/urandom > /tmp/image")
    create = "openstack --os-cloud saltern image create --disk-format raw --file /tmp/image real"
    cloud.run(*create.split())
    try:
        assert "real" in cloud.run("openstack", "image", "list", "-f", "value", "-c", "Name")
        cloud.run("openstack", "image", "save", "--file", "/tmp/back", "real")
        cloud.run("cmp", "/tmp/image", "/tmp/back")
    finally:
        cloud.run("openstack", "image", "delete", "real")
        cloud.run("rm", "-f", "/tmp/image", "/tmp/back")


def test_large_image_streams_through(small_cloud: SmallCloud, token: str, image: str) -> None:
    before = _usage(small_cloud)
    sent = hashlib.md5(usedforsecurity=False)
    answer = _put(f"{image}/file", token, _blocks(300, sent))
    assert answer == 204
    stored = small_cloud.request("GET", image, token).body
    assert (stored["status"], stored["size"]) == ("active", 300 * MB)
    assert stored["checksum"] == sent.hexdigest()
    # Neither workers nor /tmp held the body.
    assert _usage(small_cloud) - before < 100 * MB


def test_upload_without_a_right_is_refused_not_cut_off(image: str) -> None:
    assert _put(f"{image}/file", "no token", _blocks(5)) == 401


def test_stop_lets_an_upload_end(small_cloud: SmallCloud, token: str, image: str) -> None:
    begun, stopping = threading.Event(), threading.Event()

    def slowly() -> Iterator[bytes]:
        yield bytes(MB)
        begun.set()
        assert stopping.wait(60)
        yield bytes(MB)

    answers: list[int] = []
    # Past HAProxy, which would not know the host again while it is stopped.
    url = f"{image}/file".replace(INTERNAL, HOST)
    upload = threading.Thread(target=lambda: answers.append(_put(url, token, slowly())))
    upload.start()
    try:
        assert begun.wait(60)
        name = PREFIX + "glance-api"
        small_cloud.api.kill(name, "SIGTERM")
        _until_log(small_cloud, "graceful shutdown triggered")
        stopping.set()
        upload.join(60)
        small_cloud.api.wait(name, timeout=60)
    finally:
        stopping.set()
        small_cloud.deploy("glance")
        small_cloud.wait_for_glance()
    assert answers == [204]


def _blocks(count: int, digest: object = None) -> Iterator[bytes]:
    for number in range(count):
        block = bytes([number % 256]) * MB
        if digest is not None:
            digest.update(block)
        yield block


def _put(url: str, token: str, blocks: Iterator[bytes]) -> int:
    """Send an image as a chunked body and return the status."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=120)
    headers = {"X-Auth-Token": token, "Content-Type": "application/octet-stream"}
    # Refused before all was sent: the answer is there to be read.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.request("PUT", parts.path, blocks, headers, encode_chunked=True)
    return connection.getresponse().status


def _usage(cloud: SmallCloud) -> int:
    """Return the memory of Glance's container, without cached files but with its tmpfs."""
    stats = cloud.api.stats(PREFIX + "glance-api", stream=False)["memory_stats"]
    return sum(stats["stats"].get(key, 0) for key in ("rss", "shmem", "anon"))


def _until_log(cloud: SmallCloud, text: str) -> None:
    """Wait until a line of Glance's log holds a text."""
    for line in cloud.api.logs(PREFIX + "glance-api", stream=True, follow=True, tail=50):
        if text.encode() in line:
            return
    raise AssertionError(f"Glance ended without {text!r}")
