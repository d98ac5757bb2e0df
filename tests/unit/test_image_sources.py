"""Sources that are not the locked release of the index: fetched for real, from this machine."""

from __future__ import annotations

import tarfile

import git
import pytest

from saltern.errors import SalternError
from saltern.images.sources import Source


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
