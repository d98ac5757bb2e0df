"""The image module and state as Salt loads them."""

import pytest
from salt.exceptions import CommandExecutionError

pytestmark = pytest.mark.docker
NAMESPACE = "saltern-test-never-built"


def test_the_tree_starts_with_the_root_file_system(call):
    lines = call("image.tree").splitlines()
    assert lines[0] == "rootfs"
    assert any("keystone" in line for line in lines)


def test_dockerfiles_are_returned_or_written(call, tmp_path):
    text = call("image.render", "keystone", base="rocky", install_type="binary")["keystone"]
    assert "dnf" in text
    written = call("image.render", "keystone", directory=str(tmp_path / "out"))
    assert (tmp_path / "out/keystone/Dockerfile").read_text().startswith("FROM ")
    assert set(written) == {"keystone"}


def test_a_mistake_is_one_clear_message(call):
    with pytest.raises(CommandExecutionError, match="Did you mean 'base'"):
        call("image.build", bse="ubuntu")
    with pytest.raises(CommandExecutionError, match="Did you mean 'keystone'"):
        call("image.build", "keyston")


def test_in_test_mode_the_state_says_what_it_would_build_and_builds_nothing(salt_loaded):
    salt_loaded.opts["test"] = True
    result = salt_loaded.states["image.built"]("base", namespace=NAMESPACE)
    assert result["result"] is None
    assert result["comment"] == "Would build base, rootfs"
    assert result["changes"]["base"] == {"old": "missing", "new": "built"}
    assert set(salt_loaded.modules["image.plan"]("base", namespace=NAMESPACE)) == {"base", "rootfs"}


def test_the_state_fails_with_the_modules_message(salt_loaded):
    result = salt_loaded.states["image.built"]("keyston")
    assert result["result"] is False
    assert "Did you mean 'keystone'" in result["comment"]
