"""Sources that are not the locked release of the index: fetched for real, from this machine."""

from __future__ import annotations

import tarfile
import threading
import traceback
from http.server import BaseHTTPRequestHandler, HTTPServer

import git
import pytest

from saltern.errors import SalternError
from saltern.images.options import Options
from saltern.images.sources import Source, masked


@pytest.fixture
def repository(tmp_path):
    made = git.Repo.init(tmp_path / "repository", initial_branch="main")
    with made.config_writer() as config:
        config.set_value("user", "name", "Test")
        config.set_value("user", "email", "test@example.org")
        config.set_value("commit", "gpgsign", "false")
    commit(made, "setup.py", "one")
    made.create_tag("1.0", message="one")
    commit(made, "setup.py", "two")
    return made


def commit(repository, name, text):
    path = f"{repository.working_dir}/{name}"
    with open(path, "w") as out:
        out.write(text)
    repository.index.add([path])
    return repository.index.commit(text)


def source(repository, reference):
    return Source("Keystone", "git", str(repository.working_dir), reference)


def test_a_tag_is_checked_out_with_its_version(repository, tmp_path):
    tree = source(repository, "1.0").fetch(tmp_path / "state", tmp_path / "tree")
    assert (tree / "setup.py").read_text() == "one"
    assert "Version: 1.0\n" in (tree / "PKG-INFO").read_text()
    assert not (tree / ".git").exists()


def test_a_branch_follows_what_was_pushed_since(repository, tmp_path):
    wanted = source(repository, "main")
    wanted.fetch(tmp_path / "state", tmp_path / "first")
    commit(repository, "setup.py", "three")
    tree = wanted.fetch(tmp_path / "state", tmp_path / "second")
    assert (tree / "setup.py").read_text() == "three"
    assert "Version: 1.0.post2\n" in (tree / "PKG-INFO").read_text()


def test_a_tag_and_its_commit_are_the_same_content(repository):
    tagged = repository.commit("1.0").hexsha
    assert source(repository, "1.0").fingerprint() == source(repository, tagged).fingerprint()
    assert source(repository, "main").fingerprint() != source(repository, tagged).fingerprint()


def test_an_unknown_reference_is_named(repository, tmp_path):
    with pytest.raises(
        SalternError, match=r"sources:Keystone: .* 9\.9.*Correct location and reference"
    ):
        source(repository, "9.9").fetch(tmp_path / "state", tmp_path / "tree")


def test_an_archive_is_unpacked_without_its_top_folder(tmp_path):
    (tmp_path / "keystone-1").mkdir()
    (tmp_path / "keystone-1/setup.py").write_text("one")
    archive = tmp_path / "keystone.tar.gz"
    with tarfile.open(archive, "w:gz") as out:
        out.add(tmp_path / "keystone-1", "keystone-1")
    tree = Source("keystone", "url", archive.as_uri()).fetch(tmp_path, tmp_path / "tree")
    assert (tree / "setup.py").read_text() == "one"


def test_a_folder_that_is_no_python_project_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    wanted = Source("keystone", "local", str(tmp_path / "empty"))
    with pytest.raises(SalternError, match="is not a Python project"):
        wanted.fetch(tmp_path, tmp_path / "tree")


class _Proxy(BaseHTTPRequestHandler):
    """Notes what it is asked for and refuses it."""

    def _refuse(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        self.send_error(502, "Refused by the test's proxy")

    do_GET = do_CONNECT = _refuse  # noqa: N815

    def log_message(self, *arguments) -> None:
        """Say nothing."""


@pytest.fixture
def proxy():
    """Run a proxy; yield its URL and what it was asked for."""
    server = HTTPServer(("127.0.0.1", 0), _Proxy)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", server.asked
    server.shutdown()
    thread.join()
    server.server_close()


PLACES = {
    "git": "http://me:hidden@git.example.org/keystone?token=hidden",
    "url": "http://me:hidden@files.example.org/keystone.tar.gz?token=hidden",
}


@pytest.mark.parametrize("kind", PLACES)
def test_sources_come_by_way_of_the_proxies_and_errors_hide_their_secrets(kind, proxy, tmp_path):
    address, asked = proxy
    given = Options(http_proxy=address).proxies()
    wanted = Source("keystone", kind, PLACES[kind], "main", tuple(given.items()))
    with pytest.raises(SalternError, match=r"keystone: .*example\.org.*502") as caught:
        wanted.fetch(tmp_path / "state", tmp_path / "tree")
    assert "hidden" not in "".join(traceback.format_exception(caught.value))
    assert any(".example.org/keystone" in one for one in asked)
    if kind == "git":
        with pytest.raises(SalternError, match="502") as caught:
            wanted.fingerprint()
        assert "hidden" not in "".join(traceback.format_exception(caught.value))


def test_a_place_that_needs_no_proxy_is_asked_itself(proxy, tmp_path):
    address, asked = proxy
    options = Options(http_proxy="http://127.0.0.1:9", no_proxy="127.0.0.1")
    wanted = Source("k", "url", f"{address}/k.tar.gz", "", tuple(options.proxies().items()))
    with pytest.raises(SalternError, match="502"):
        wanted.fetch(tmp_path / "state", tmp_path / "tree")
    assert asked == ["GET /k.tar.gz"]


def test_what_is_no_secret_of_a_url_stays():
    assert masked("from https://a:b@c.org/d?e=f&g in git@c.org:d") == (
        "from https://***@c.org/d?*** in git@c.org:d"
    )
    assert masked("pip install a@b https://c.org/d") == "pip install a@b https://c.org/d"
