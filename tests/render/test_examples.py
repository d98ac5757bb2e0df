"""Examples work: those of docstrings, and the commands that messages and pages tell people to run."""

from __future__ import annotations

import subprocess
from pathlib import Path

import adapters
import clouds
import pytest
from adapters import MODULES, RUNNERS, STATES
from clouds import ROOT

from saltern.containers.spec import Spec
from saltern.host import clients

SOURCES = [
    path
    for pattern in (
        "_*/**/*.py",
        "setup/**/*.py",
        "salt/**/*.sls",
        "Makefile",
        "**/*.md",
        "formulas/**/*",
    )
    for path in sorted(ROOT.glob(pattern))
    if path.is_file() and ".venv" not in path.parts
]
HEALTHCHECK = ROOT / "images/base/healthcheck"


@pytest.mark.parametrize(
    ("folder", "name"),
    [(folder, name) for folder in (MODULES, RUNNERS) for name in adapters.functions(folder)],
)
def test_every_function_has_an_example_that_works(folder: str, name: str) -> None:
    text = adapters.examples(adapters.functions(folder)[name], "bash")
    found = list(adapters.commands(text))
    assert (folder, name) in [(one.folder, one.function) for one in found]
    assert [why for one in found if (why := one.wrong())] == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_that_people_are_told_exist_and_take_what_is_given(path: Path) -> None:
    told = adapters.commands(path.read_text(errors="replace"))
    found = [(one, one.wrong(prose=path.suffix != ".md")) for one in told]
    assert [f"{one.function} {one.arguments}: {why}" for one, why in found if why] == []


@pytest.mark.parametrize(
    "name",
    [name for name, one in adapters.functions(STATES).items() if "code-block" in str(one.__doc__)],
)
def test_the_example_of_a_state_is_one(name: str) -> None:
    found = list(adapters.states(adapters.examples(adapters.functions(STATES)[name], "yaml")))
    assert name in [function for function, _ in found]
    for function, arguments in found:
        assert not adapters.state_wrong(function, arguments)
        if function not in ("container.running", "container.ran"):
            continue
        given = {key: one for key, one in arguments.items() if key not in ("service", "config_dir")}
        spec = Spec.from_dict(given)
        test = (spec.healthcheck or {}).get("test", ())
        if test[:2] == ("CMD", "healthcheck"):
            done = subprocess.run([HEALTHCHECK, *test[2:]], capture_output=True, check=False)
            assert done.returncode != 2, done.stderr.decode()


def test_a_new_cloud_is_introduced_with_dashboard_credentials_and_commands():
    cloud = clouds.load("all-in-one")
    said = clients.introduction(cloud, "/etc/saltern", cloud.placement["toolbox"], "horizon")
    commands = ("make demo", "openstack catalog list", "salt-run saltern.status")
    wanted = ("http://127.0.0.2:8008/", "/etc/saltern/clouds.yaml and openrc on aio", *commands)
    assert [one for one in wanted if one not in said] == []
