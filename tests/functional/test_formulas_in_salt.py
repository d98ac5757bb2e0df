"""A formula that is only data works in a real Salt minion: pillar, renderer, generation."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SERVICE = {
    "summary": "A service of one file",
    "roles": ["control"],
    "options": {"level": {"type": "integer", "default": 1, "description": "How much"}},
    "secrets": {"password": {}},
    "config": {"tiny.conf": {"format": "ini"}},
}
TEMPLATE = "[main]\nlevel = {{ options.level }}\npassword = {{ secret('tiny.password') }}\n"
CLOUD = {"saltern": {"hosts": {"one": {"address": "127.0.0.1", "roles": ["control"]}}}}


class Minion:
    """A masterless minion with the checkout's modules and one formula of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        formula = root / "formulas/tiny"
        (formula / "files").mkdir(parents=True)
        (formula / "service.yml").write_text(yaml.safe_dump(SERVICE))
        (formula / "init.sls").write_text("#!service\n")
        (formula / "files/tiny.conf").write_text(TEMPLATE)
        (root / "images/locks").mkdir(parents=True)
        (root / "images/locks/2026.2.txt").write_text("")
        (root / "images/users.yml").write_text("{}")
        for name in ("distros.yml", "releases.yml"):
            shutil.copy(ROOT / "images" / name, root / "images")
        (root / "pillar").mkdir()
        (root / "pillar/top.sls").write_text("base: {'*': [cloud]}")
        self.pillar(CLOUD)
        (root / "secrets.yml").touch(0o600)
        (root / "secrets.yml").write_text(
            "tiny: {password: verysecretvalue}\nother: {password: foreign}\n"
        )
        config = {
            "id": "one",
            "root_dir": str(root),
            "file_client": "local",
            "module_dirs": [str(ROOT / "salt")],
            "file_roots": {"base": [str(root / "formulas")]},
            "pillar_roots": {"base": [str(root / "pillar")]},
            "ext_pillar": [
                {
                    "saltern": {
                        "formulas": [str(root / "formulas")],
                        "images": str(root / "images"),
                        "secrets": str(root / "secrets.yml"),
                    }
                }
            ],
            "saltern": {
                "etc": str(root / "saltern"),
                "var": str(root / "state"),
                "prefix": "tiny-",
            },
            "log_file": str(root / "log"),
        }
        (root / "minion").write_text(yaml.safe_dump(config))

    def pillar(self, data: dict) -> None:
        (self.root / "pillar/cloud.sls").write_text(yaml.safe_dump(data))

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [
            Path(sys.executable).with_name("salt-call"),
            "--local",
            "--out=json",
            "-l",
            "quiet",
        ]
        command += [f"--config-dir={self.root}", "--retcode-passthrough", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def states(self, *arguments: str) -> dict[str, dict]:
        found = json.loads(self.call("state.apply", "tiny", *arguments).stdout)["local"]
        return {state["__id__"]: state for state in found.values()}


@pytest.fixture
def minion(tmp_path):
    return Minion(tmp_path)


def test_show_sls_reads_as_sentences(minion):
    shown = json.loads(minion.call("state.show_sls", "tiny").stdout)["local"]
    assert list(shown) == ["Write the configuration of tiny"]


def test_test_mode_writes_nothing_then_apply_writes_then_nothing_changes(minion):
    sentence = "Write the configuration of tiny"
    planned = minion.states("test=True")[sentence]
    assert planned["result"] is None and "tiny.conf" in planned["changes"]
    assert not (minion.root / "saltern").exists()

    applied = minion.states()[sentence]
    assert applied["result"] is True
    assert "verysecretvalue" not in json.dumps(applied)
    (written,) = (minion.root / "saltern/services/tiny").glob("*/tiny.conf")
    assert "password = verysecretvalue" in written.read_text()

    assert minion.states()[sentence]["changes"] == {}


def test_the_pillar_changes_one_option(minion):
    minion.states()
    minion.pillar(CLOUD | {"tiny": {"level": 5, "config": {"tiny.conf": {"main": {"more": "x"}}}}})
    changes = minion.states("test=True")["Write the configuration of tiny"]["changes"]
    assert "+level = 5" in changes["tiny.conf"] and "+more = x" in changes["tiny.conf"]


def test_a_wrong_pillar_stops_before_anything_changes(minion):
    minion.pillar(CLOUD | {"tiny": {"levle": 5}})
    run = minion.call("state.apply", "tiny")
    assert run.returncode != 0
    assert "tiny:levle" in run.stdout and "Did you mean 'level'?" in run.stdout
    assert not (minion.root / "saltern").exists()


def test_a_host_holds_only_its_own_secrets(minion):
    found = minion.call("pillar.items", "unmask=True").stdout
    assert "foreign" not in found


def test_a_plan_without_changes_holds_until_something_it_depended_on_differs(minion):
    def plan(served: str = "first") -> dict:
        shown = json.loads(minion.call("saltern.plan", f"served={served}").stdout)["local"]
        return shown["services"]

    assert plan() != {}, "nothing is written yet"
    minion.states()
    assert plan() == {}
    (template,) = (minion.root / "formulas/tiny/files").iterdir()
    template.write_text(TEMPLATE + "new = 1\n")
    assert plan() == {}, "the same is served, so no states were run"
    assert "+new = 1" in json.dumps(plan("second"))
    template.write_text(TEMPLATE)

    (written,) = (minion.root / "saltern/services/tiny").glob("*/tiny.conf")
    written.write_text("edited by hand")
    assert "-edited by hand" in json.dumps(plan())
    minion.states()
    assert plan() == {}
    minion.pillar(CLOUD | {"tiny": {"level": 5}})
    assert "+level = 5" in json.dumps(plan())
