"""Set-up from this checkout, under roots and on ports of its own: a real master and minion."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).parents[2]
COPIED = ("setup", "salt", "formulas", "pillar", *(path.name for path in CHECKOUT.glob("_*")))


def free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


class Machine:
    """Set-up's Salt steps with everything under one folder, as `setup/setup salt` runs them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.checkout = root / "checkout"
        for name in (*COPIED, "requirements.txt", "requirements-dev.txt"):
            # a copy: tests edit it, and nobody else does meanwhile
            source, target = CHECKOUT / name, self.checkout / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, target, symlinks=True, ignore=ignored)
            elif source.exists():
                shutil.copy(source, target)
        (self.checkout / ".venv").symlink_to(CHECKOUT / ".venv")
        self.publish_port, self.ret_port = free_ports()
        self.config = root / "etc/salt"
        self.environment = {
            **os.environ,
            **{
                f"SALTERN_{name.upper()}": f"{root}/{name}" for name in ("etc", "var", "log", "run")
            },
            "SALTERN_ID": "test-of-setup",
            "SALTERN_PUBLISH_PORT": str(self.publish_port),
            "SALTERN_RET_PORT": str(self.ret_port),
        }

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.checkout / "setup",
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def set_up(self, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.run(self.program("python"), "-B", "-m", "steps", "salt", **variables)

    def clean(self, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.run(self.program("python"), "-B", "-m", "steps.clean", **variables)

    def salt(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(self.program(program), f"--config-dir={self.config}", *arguments)

    def program(self, name: str) -> str:
        return str(self.checkout / ".venv/bin" / name)


pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not (CHECKOUT / ".venv/saltern.stamp").exists(),
    reason="needs root and the virtualenv of `make setup`",
)


@pytest.fixture(scope="module")
def machine():
    # not pytest's tmp_path: Unix sockets have room for 107 characters
    root = Path(tempfile.mkdtemp(prefix="saltern-", dir="/tmp"))
    machine = Machine(root)
    first = machine.set_up()
    assert first.returncode == 0, first.stdout + first.stderr
    machine.first = first.stdout
    yield machine
    machine.clean(CONFIRM="yes")
    assert not machine.config.exists()
    shutil.rmtree(root)


def test_second_run_changes_nothing_and_says_so(machine: Machine):
    second = machine.set_up()

    assert second.returncode == 0, second.stderr
    assert "nothing to change" in second.stdout
    assert "restarted" not in second.stdout


def test_every_step_that_changes_something_says_what_and_how_long(machine: Machine):
    steps = [line for line in machine.first.splitlines() if line.startswith("  ")]

    assert {"Salt configuration", "Salt master", "Extension modules", "Salt minion"} <= {
        step[2:22].strip() for step in steps
    }
    assert all(re.search(r"\(\d+\.\d s\)$", line) for line in steps), machine.first


def test_master_listens_on_the_management_address_alone(machine: Machine):
    listening = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=True).stdout
    ours = {
        line.split()[3]
        for line in listening.splitlines()
        if line.split()[3].rsplit(":", 1)[1] in (str(machine.publish_port), str(machine.ret_port))
    }

    assert ours == {f"127.0.0.1:{machine.publish_port}", f"127.0.0.1:{machine.ret_port}"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("auto_accept", False),
        ("open_mode", False),
        ("file_recv", False),
        ("minion_data_cache", False),
        ("sign_pub_messages", True),
        ("require_minion_sign_messages", True),
        ("drop_messages_signature_fail", True),
        ("publish_signing_algorithm", "PKCS1v15-SHA224"),
        ("external_auth", {}),
        ("netapi_enable_clients", []),
    ],
)
def test_master_is_hardened_as_salt_itself_reads_it(machine: Machine, key: str, value: object):
    import salt.config

    assert salt.config.master_config(str(machine.config / "master"))[key] == value


def test_minion_obeys_the_pinned_master_and_signs(machine: Machine):
    import salt.config

    opts = salt.config.minion_config(str(machine.config / "minion"))

    assert opts["master_finger"]
    assert opts["minion_sign_messages"] is True
    assert opts["encryption_algorithm"] == "OAEP-SHA224"


def test_only_this_host_is_accepted(machine: Machine):
    keys = json.loads(machine.salt("salt-key", "--list-all", "--out=json").stdout)

    assert keys["minions"] == ["test-of-setup"]
    assert not keys["minions_pre"]


def test_the_checkouts_root_and_its_pillar_are_not_served(machine: Machine):
    config = yaml.safe_load((machine.config / "master").read_text())

    for root in config["file_roots"]["base"]:
        assert not machine.checkout.is_relative_to(root)
        assert not (machine.checkout / "pillar").is_relative_to(root)


def test_bytecode_and_editors_files_are_not_served(machine: Machine):
    listed = machine.salt("salt-run", "--out=json", "fileserver.file_list").stdout

    assert "_utils/saltern/errors.py" in json.loads(listed)
    assert ".pyc" not in listed


def test_library_is_importable_by_modules_of_the_minion(machine: Machine):
    answer = machine.salt("salt", "--out=json", "test-of-setup", "sys.list_modules")

    modules = json.loads(answer.stdout)["test-of-setup"]
    ours = {path.stem for path in (CHECKOUT / "_modules").glob("[a-z]*.py")}
    missing = ours - set(modules)
    # a module may name itself (__virtualname__) after what it manages
    named = {
        name
        for name in missing
        if "__virtualname__" in (CHECKOUT / "_modules" / f"{name}.py").read_text()
    }
    assert missing <= named, f"not loaded by the minion: {missing - named}"


def test_edited_library_reaches_master_and_minion(machine: Machine):
    code = "from saltern import edited\n\n\ndef value():\n    return edited.VALUE\n"
    machine.salt("salt-run", "fileserver.file_list")  # the master has a list without the new files
    for place in ("_modules", "_runners"):
        (machine.checkout / place / "edited.py").write_text(code)
    for value in ("one", "two"):
        (machine.checkout / "_utils/saltern/edited.py").write_text(f"VALUE = {value!r}\n")
        assert "synchronised" in machine.set_up().stdout

        minion = machine.salt("salt", "--out=json", "test-of-setup", "edited.value")
        master = machine.salt("salt-run", "--out=json", "edited.value")

        assert json.loads(minion.stdout) == {"test-of-setup": value}
        assert json.loads(master.stdout) == value


def test_private_parts_are_roots_alone(machine: Machine):
    for place in (machine.root / "etc", machine.config):
        assert stat.S_IMODE(place.stat().st_mode) == 0o750
    for role in ("master", "minion"):
        assert stat.S_IMODE((machine.config / role).stat().st_mode) == 0o640
        assert stat.S_IMODE((machine.config / "pki" / role).stat().st_mode) == 0o700


def test_settings_given_once_are_kept(machine: Machine):
    without = dict.fromkeys(("SALTERN_ID", "SALTERN_PUBLISH_PORT", "SALTERN_RET_PORT"), "")

    again = machine.set_up(**without)

    assert "nothing to change" in again.stdout, again.stdout + again.stderr


def test_foreign_key_under_our_id_is_refused(machine: Machine):
    own = (machine.config / "pki/minion/minion.pub").read_text()
    known = machine.config / "pki/master/minions/test-of-setup"
    accepted = known.read_text()
    foreign = own.splitlines()
    foreign[1] = foreign[1][::-1]
    known.write_text("\n".join(foreign))
    try:
        refused = machine.set_up()
    finally:
        known.write_text(accepted)

    assert refused.returncode == 1
    assert "key of another minion 'test-of-setup'" in refused.stderr
    assert "salt-key -d test-of-setup" in refused.stderr


def test_taken_port_is_named_with_its_holder_and_remedy(tmp_path: Path):
    machine = Machine(tmp_path)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", machine.publish_port))
        holder.listen()
        refused = machine.set_up()

    assert refused.returncode == 1
    assert f"port {machine.publish_port} is taken by process {os.getpid()}" in refused.stderr
    assert "PUBLISH_PORT=" in refused.stderr


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("SALTERN_ADDRESS", "management", "ADDRESS=management is not an IP address"),
        ("SALTERN_RET_PORT", "70000", "RET_PORT=70000 is not a port"),
        ("SALTERN_ID", "a b", "ID=a b is no minion id"),
    ],
)
def test_unusable_setting_is_named(tmp_path: Path, variable: str, value: str, said: str):
    refused = Machine(tmp_path).set_up(**{variable: value})

    assert refused.returncode == 1
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("text", ["", "{", "[]", '{"adress": "::1"}'])
def test_damaged_settings_are_named_with_the_remedy(tmp_path: Path, text: str):
    """An empty file is what a power cut leaves of one that was being written."""
    machine = Machine(tmp_path)
    told = machine.root / "etc/setup.json"
    told.parent.mkdir()
    told.write_text(text)

    refused = machine.set_up()

    assert refused.returncode == 1
    assert f"{told} is damaged" in refused.stderr
    assert f"rm {told} && make setup ADDRESS=" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert told.read_text() == text


@pytest.mark.parametrize("name", ["master/master", "minion/minion"])
def test_a_damaged_key_is_named_and_not_replaced(tmp_path: Path, name: str):
    machine = Machine(tmp_path)
    key = machine.config / f"pki/{name}.pem"
    key.parent.mkdir(parents=True)
    key.touch()

    refused = machine.set_up()

    assert refused.returncode == 1
    assert f"{key} is damaged" in refused.stderr
    assert "backup" in refused.stderr
    assert key.read_text() == ""


def test_clean_without_confirmation_only_lists(machine: Machine):
    asked = machine.clean()

    assert asked.returncode == 1
    assert f"{machine.root}/etc" in asked.stdout
    assert "CONFIRM=yes" in asked.stdout
    assert (machine.config / "master").exists()


def test_daemons_of_containers_are_not_taken_for_this_machines(tmp_path: Path):
    """A host of the test bed runs the same daemons under the same paths."""
    config_dir = tmp_path / "salt"
    daemon = tmp_path / "salt-minion"
    daemon.write_text("#!/bin/sh\necho up\nread line\n")
    daemon.chmod(0o755)
    command = [str(daemon), f"--config-dir={config_dir}"]
    look = "import sys; from pathlib import Path; from steps import processes; "
    look += "print(processes.salt(Path(sys.argv[1]), 'minion'))"

    def found() -> str:
        looking = [sys.executable, "-c", look, str(config_dir)]
        return subprocess.check_output(looking, text=True, cwd=CHECKOUT / "setup").strip()

    for prefix, ours in (([], True), (["unshare", "--pid", "--fork"], False)):
        with subprocess.Popen(
            [*prefix, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            process.stdout.readline()
            assert (found() == f"[{process.pid}]") is ours
            process.communicate("\n")
