"""What a service's own upgrade check says no to."""

from __future__ import annotations

from saltern.host.checks import failed_rows

LINE = "+--------------------------------+"
ROWS = {
    "| Upgrade Check Results          |": "",
    "| Check: Removed Drivers         |": "| Result: Success                |",
    "| Check: Service UUIDs           |": "| Result: Failure                |",
    "| Check: Service UUIDs of Backup |": "| Result: Failure                |",
}
TABLE = "\n".join([LINE, *(f"{name}\n{result}\n{LINE}" for name, result in ROWS.items()), "noise"])
UUIDS, BACKUP = list(ROWS)[2:]


def failure(name: str) -> str:
    return f"{name}\n{ROWS[name]}"


def test_the_rows_that_failed_are_told():
    assert failed_rows(TABLE) == [failure(UUIDS), failure(BACKUP)]


def test_excused_rows_are_none_and_others_of_a_longer_name_stay():
    assert failed_rows(TABLE, ["Service UUIDs"]) == [failure(BACKUP)]
    assert failed_rows(TABLE, ["Service UUIDs", "Service UUIDs of Backup"]) == []


def test_a_crash_is_no_table_and_never_excused():
    assert failed_rows("Traceback: it broke", ["Service UUIDs"]) is None
    assert failed_rows(TABLE.replace("Failure", "Success"), ["Service UUIDs"]) is None
