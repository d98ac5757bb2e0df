"""The configuration of a container that can read a new one while it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from saltern.containers import live
from saltern.containers.plan import Action, decide
from saltern.containers.spec import Spec

from .test_container_decide import IMAGES, actual, listed

WEB = {"name": "web", "image": "web:1", "config_dir": "/etc/web"}
SPEC = Spec.from_dict({**WEB, "reload": ["reread"]})


@pytest.fixture
def generations(tmp_path: Path) -> Path:
    """Return the folder of a service's generations, of which there are two."""
    parent = tmp_path / "services/web"
    for digest, names in (
        ("one", ["web.conf", "more/old.conf"]),
        ("two", ["web.conf", "new.conf"]),
    ):
        for name in names:
            path = parent / digest / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{digest} {name}")
            path.chmod(0o640)
    (parent / "two/linked").symlink_to("/opt/file")
    return parent


def content(folder: Path) -> dict[str, str]:
    files = (one for one in folder.rglob("*") if one.is_symlink() or one.is_file())
    found = {one.relative_to(folder): one for one in files if one.name != ".read"}
    return {
        str(name): str(one.readlink()) if one.is_symlink() else one.read_text()
        for name, one in found.items()
    }


def test_a_folder_holds_one_generation_after_the_other(generations: Path, tmp_path: Path) -> None:
    folder = live.folder(generations / "one", "web", "")
    assert folder == tmp_path / "live/web/web-a"
    assert live.folder(generations / "one", "web", str(folder)) == tmp_path / "live/web/web-b"
    for digest in ("one", "two", "one"):
        live.fill(folder, generations / digest)
        assert content(folder) == content(generations / digest)
        assert (folder / "web.conf").stat().st_mode & 0o777 == 0o640


def test_what_was_read_is_known_only_when_it_was(generations: Path) -> None:
    folder = live.folder(generations / "one", "web", "")
    assert live.digest(folder) == ""
    live.fill(folder, generations / "one")
    assert live.digest(folder) == ""
    live.confirm(folder, "one")
    live.fill(folder, generations / "two")
    assert live.digest(folder) == "one"


def plan(spec: Spec = SPEC, config: str = "one", **found: str) -> Action:
    """Return what a container needs that has read the configuration `one`, where `two` is wanted."""
    container = listed(SPEC, **found)
    container["Labels"] |= {"saltern.live": "/live", "saltern.config": "zero"}
    taken = actual.snapshot([container], IMAGES.get).with_config(lambda one: config)
    decided = decide(taken, spec, "web", {"digest": "two", "path": "/two"})
    if decided.action is Action.RELOAD:
        # The plan says so.
        assert decided.shown() == {"config": {"old": "one", "new": "two, without a restart"}}
    return decided.action


def test_a_new_configuration_alone_is_read_by_a_container_that_can() -> None:
    assert plan() is Action.RELOAD
    assert plan(config="two") is Action.NOTHING
    assert plan(Spec.from_dict({**WEB, "reload": ["reread"], "init": True})) is Action.REPLACE
    assert plan(Spec.from_dict(WEB)) is Action.REPLACE
    assert plan(state="exited") is Action.REPLACE
