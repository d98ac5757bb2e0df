"""Who gets what of the pillar, compiled by Salt as a master does it for its minions and for itself."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import salt.config
import salt.pillar
import yaml

from saltern.run import inventory

ROOT = Path(__file__).parents[2]
SERVICE = {
    "summary": "A service that is only a file",
    "roles": ["control"],
    "options": {
        "level": {"type": "integer", "minimum": 0, "default": 3, "description": "A number"},
        "token": {"type": "string", "default": "", "description": "A word"},
    },
    "secrets": {"password": {}},
    "config": {"tiny.conf": {"format": "ini"}},
}
CLOUD = {
    "saltern": {
        "internal_address": "10.0.0.9",
        "images": {"namespace": "test", "pip_index": "https://user:Hp4wQ@index.example.org/simple"},
        "hosts": {
            "one": {"address": "10.0.0.1", "roles": ["control"]},
            "two": {"address": "10.0.0.2", "roles": ["compute"]},
        },
    },
    "tiny": {"level": 5},
}


class Master:
    """A master's configuration and files, without a daemon."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.pillars = root / "pillar"
        (root / "formulas/tiny").mkdir(parents=True)
        (root / "formulas/tiny/service.yml").write_text(yaml.safe_dump(SERVICE))
        (root / "images/locks").mkdir(parents=True)
        (root / "images/locks/2026.2.txt").touch()
        (root / "images/users.yml").write_text("{}")
        for name in ("distros.yml", "releases.yml"):
            shutil.copy(ROOT / "images" / name, root / "images")
        (root / "secrets.yml").touch(0o600)
        (root / "secrets.yml").write_text("tiny: {password: verysecretvalue}\n")
        self.pillars.mkdir()
        # A running master has made it.
        (root / "cache/proc").mkdir(parents=True)
        shutil.copy(ROOT / "pillar/top.sls", self.pillars)
        self.write("cloud.sls", CLOUD)
        saltern = {
            "formulas": [str(root / "formulas")],
            "images": str(root / "images"),
            "secrets": str(root / "secrets.yml"),
            "certificates": str(root / "certificates"),
        }
        config = {
            "id": "saltern_master",
            "root_dir": str(root),
            "cachedir": str(root / "cache"),
            "module_dirs": [str(ROOT / "salt")],
            "file_roots": {"base": [str(root / "formulas")]},
            "pillar_roots": {"base": [str(self.pillars)]},
            "ext_pillar": [{"saltern": saltern}],
        }
        (root / "master").write_text(yaml.safe_dump(config))
        self.opts = salt.config.master_config(str(root / "master"))

    def write(self, name: str, data: Any) -> None:
        """Write a file of the pillar: data, or text as it is."""
        (self.pillars / name).write_text(data if isinstance(data, str) else yaml.safe_dump(data))

    def pillar(self, minion: str, asked: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the pillar of a minion, with what it has asked for besides."""
        return salt.pillar.Pillar(
            self.opts, {"id": minion}, minion, "base", pillar_override=asked
        ).compile_pillar()

    def run(self, *words: str) -> Any:
        """Return what salt-run shows."""
        command = [Path(sys.executable).with_name("salt-run"), "--config-dir", self.root]
        command += ["--out=json", "--log-level=quiet", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def master(tmp_path) -> Master:
    return Master(tmp_path)


def test_a_host_gets_its_view_and_nothing_else(master):
    given = master.pillar("one")
    assert list(given) == ["cloud"]
    assert given["cloud"]["services"]["tiny"]["options"]["level"] == 5
    assert given["cloud"]["images"] == {"namespace": "test"}
    assert "Hp4wQ" not in str(given)
    assert "two" not in given["cloud"]["hosts"]


def test_who_is_no_host_gets_nothing(master):
    assert master.pillar("stranger") == {}


def test_the_master_has_the_description_as_it_stands(master):
    assert master.pillar("saltern_master") == CLOUD
    assert master.run("pillar.show_pillar") == CLOUD
    assert master.run("pillar.show_pillar", "one")["cloud"]["host"]["address"] == "10.0.0.1"


def test_a_top_file_of_the_operators_gives_hosts_more_and_never_the_description(master):
    master.write("top.sls", "base:\n  '*': [cloud, mine]\n")
    master.write("mine.sls", "motd: hello {{ grains['id'] }}\n")
    for asked in (None, {"other": 1}):
        given = master.pillar("one", asked)
        assert given["motd"] == "hello one"
        assert given["saltern"] is None and given["tiny"] is None
        assert given["cloud"]["services"]["tiny"]["options"]["level"] == 5
        assert "Hp4wQ" not in str(given)


def test_a_minion_cannot_ask_for_another_place_in_the_cloud(master):
    hosts = {**CLOUD["saltern"]["hosts"], "two": {"address": "10.0.0.2", "roles": ["control"]}}
    asked = {"saltern": {**CLOUD["saltern"], "hosts": hosts}, "cloud": {}}
    assert "verysecretvalue" not in str(master.pillar("two", asked))
    assert "verysecretvalue" in str(master.pillar("one", asked))


def test_the_description_is_compiled_once_for_all_hosts_until_a_file_changes(master):
    first = inventory.kept_pillar(master.opts)
    assert inventory.kept_pillar(master.opts) is first
    master.write("more.sls", {"tiny": {"level": 7}})
    master.write("cloud.sls", {**CLOUD, "include": ["more"], "tiny": {"token": "x"}})
    assert inventory.kept_pillar(master.opts)["tiny"] == {"level": 7, "token": "x"}
    master.write("more.sls", {"tiny": {"level": 8}})
    options = master.pillar("one")["cloud"]["services"]["tiny"]["options"]
    assert options == {"level": 8, "token": "x"}


@pytest.mark.parametrize(
    "text",
    [
        "{{% set word = salt['file.read']('{file}') %}}\ntiny: {{token: {{{{ word }}}}}}\n",
        "#!py\ndef run():\n    return {{'tiny': {{'token': open('{file}').read()}}}}\n",
    ],
    ids=["Jinja", "another renderer"],
)
def test_what_may_depend_on_more_than_files_of_the_pillar_is_compiled_each_time(
    master, tmp_path, text
):
    word = tmp_path / "word"
    master.write("tiny.sls", text.format(file=word))
    master.write("cloud.sls", {"include": ["tiny"], "saltern": CLOUD["saltern"]})
    for given in ("first", "second"):
        word.write_text(given)
        view = master.pillar("one")["cloud"]
        assert view["services"]["tiny"]["options"]["token"] == given


def test_the_operators_other_files_may_have_jinja(master):
    top = (master.pillars / "top.sls").read_text()
    master.write("top.sls", f"{top}  '*': [mine]\n")
    master.write("mine.sls", "motd: hello {{ grains['id'] }}\n")
    assert master.pillar("one")["motd"] == "hello one"
    # The description has none of them.
    master.write("top.sls", f"{top}  'one': [mine]\n")
    assert inventory.kept_pillar(master.opts) is inventory.kept_pillar(master.opts)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("saltern: {hosts: [", "Rendering SLS 'cloud' failed"),
        (yaml.safe_dump({**CLOUD, "tiny": {"levle": 1}}), "Did you mean 'level'?"),
        ("include: [nowhere]", "'nowhere' in environment 'base' is not available"),
    ],
)
def test_a_wrong_description_is_told_to_hosts_and_kept_by_nobody(master, text, said):
    assert "formulas" in master.pillar("one")["cloud"]
    master.write("cloud.sls", text)
    given = master.pillar("one")
    assert list(given) == ["cloud"] and list(given["cloud"]) == ["errors"]
    assert said in "\n".join(given["cloud"]["errors"])
    master.write("cloud.sls", CLOUD)
    assert "formulas" in master.pillar("one")["cloud"]
