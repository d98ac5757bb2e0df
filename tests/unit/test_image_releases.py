"""Which release may follow which: the table of the checkout, and tables that are wrong."""

from pathlib import Path

import pytest

from saltern.errors import SalternError
from saltern.images.releases import read, upgrade_path

ROOT = Path(__file__).parents[2] / "images"
RELEASES = read(ROOT / "releases.yml")


def test_every_release_that_can_be_built_is_in_the_table():
    assert {path.stem for path in ROOT.glob("locks/*.txt")} <= set(RELEASES)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2025.1", "2025.2"),
        ("2025.1", "2026.1"),
        ("2025.2", "2026.1"),
        ("2026.1", "2026.2"),
        ("2026.2", "2026.2"),
    ],
)
def test_an_upgrade_leads_to_the_next_release_or_skips_one(old, new):
    upgrade_path(old, new, RELEASES)


@pytest.mark.parametrize(
    ("old", "new", "reason", "remedy"),
    [
        ("2025.1", "2026.2", "which follows 2026.1", 'Upgrade to 2026.1 first: .* to "2026.1"'),
        ("2025.2", "2026.2", "which follows 2026.1", "Upgrade to 2026.1 first"),
        ("2026.2", "2026.1", "2026.1 is older than 2026.2", 'Set saltern:release to "2026.2"'),
        ("2026.1", "2025.1", "no upgrade leads back", 'Set saltern:release to "2026.1"'),
        ("2026.1", "2026.3", "unknown release '2026.3'", "Did you mean '2026.[12]'"),
        ("2024.2", "2026.1", "unknown release '2024.2'", "Did you mean"),
    ],
)
def test_any_other_pair_is_refused_with_the_way_to_go(old, new, reason, remedy):
    with pytest.raises(SalternError, match=f"{reason}.*{remedy}"):
        upgrade_path(old, new, RELEASES)


@pytest.fixture
def table(tmp_path):
    """Return a function that reads a table of this text."""

    def read_text(text: str):
        (tmp_path / "releases.yml").write_text(text)
        return read(tmp_path / "releases.yml")

    return read_text


LONG = """
"1": {codename: one, upgrade_from: []}
"2": {codename: two, upgrade_from: ["1"]}
"3": {codename: three, upgrade_from: ["1", "2"]}
"4": {codename: four, upgrade_from: ["3"]}
"5": {codename: five, upgrade_from: ["4"]}
"6": {codename: six, upgrade_from: []}
"""


def test_of_a_long_way_the_first_step_of_the_shortest_is_named(table):
    with pytest.raises(SalternError, match="Upgrade to 3 first"):
        upgrade_path("1", "5", table(LONG))


def test_a_release_that_nothing_leads_to_is_told(table):
    with pytest.raises(SalternError, match="follows no release. No other release leads there"):
        upgrade_path("5", "6", table(LONG))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('"1": {codename: one}', "1.*upgrade_from"),
        ('"1": {codename: one, upgrade_from: [], frm: []}', "frm"),
        ('"2": {codename: two, upgrade_from: ["1"]}', "unknown older release '1'"),
    ],
)
def test_a_mistake_in_the_table_is_named_with_its_file(table, text, says):
    with pytest.raises(SalternError, match=says) as refused:
        table(text)
    assert "releases.yml" in str(refused.value)
