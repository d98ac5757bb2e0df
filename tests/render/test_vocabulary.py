"""Services say what they need; generic code and other services' templates know none of them by name."""

from __future__ import annotations

import ast
import re

import pytest
from clouds import ROOT

from saltern.cloud import formulas
from saltern.service import tasks

CATALOG = formulas.load([ROOT / "formulas"])
GENERIC = sorted(
    path
    for folder in ("_utils", "_modules", "_states", "_runners")
    for path in (ROOT / folder).rglob("*.py")
)
# Why each may: the demonstration is the first steps with these very services; Galera is MariaDB's.
EXCEPTIONS = {"_modules/demo.py", "_modules/galera.py"}
TEMPLATES = sorted(
    path
    for pattern in ("*/service.yml", "*/files/**/*", "_common/*")
    for path in (ROOT / "formulas").glob(pattern)
    if path.is_file()
)
PORTS = {
    one["port"]: service
    for service, formula in CATALOG.items()
    for one in formula.get("ports", {}).values()
}


def words(path) -> set[str]:
    """Return the texts of a module, up to the first dot; not its docstrings."""
    tree = ast.parse(path.read_text())
    notes = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    texts = (
        node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in notes
    )
    return {one.value.partition(".")[0] for one in texts if isinstance(one.value, str)}


@pytest.mark.parametrize("path", GENERIC, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_service_is_known_by_name(path):
    if str(path.relative_to(ROOT)) not in EXCEPTIONS:
        assert words(path) & set(CATALOG) == set()


def test_the_page_says_which_phases_nothing_runs_yet():
    (said,) = re.findall(
        r"^\| (.*) \| not yet \|$", (ROOT / "docs/add-a-service.md").read_text(), re.M
    )
    assert set(re.findall(r"`(\w+)`", said)) == set(tasks.NOT_RUN_YET)
    called = "".join(path.read_text() for path in GENERIC)
    assert [one for one in tasks.NOT_RUN_YET if f'of_phase(formula, "{one}")' in called] == []


@pytest.mark.parametrize("service", CATALOG)
def test_a_command_is_a_program_and_no_shell(service):
    formula = CATALOG[service]
    parts = [*formula["containers"].values(), *formula["tasks"].values()]
    commands = [one.get(key) for one in parts for key in ("command", "entrypoint", "stop_when")]
    commands += [one.get("healthcheck", {}).get("test") for one in parts]
    commands += [
        one.get(key) for one in formula.get("leftovers", {}).values() for key in ("list", "remove")
    ]
    commands = [one for one in commands if one]
    assert [one for one in commands if not isinstance(one, list) or one[0] in ("sh", "bash")] == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_port_is_named_and_no_number(path):
    numbers = re.findall(r'[:"](\d{4,5})\b', path.read_text())
    assert [one for one in numbers if int(one) in PORTS] == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_template_patches_the_text_of_a_macro(path):
    assert re.findall(r"\w\.\w+\([^\n]*\)\s*\|\s*replace\(", path.read_text()) == []
