"""Room on disks, and tracebacks of hosts whose disks are full, in words."""

from __future__ import annotations

from saltern import space

TRACEBACK = """The minion function caused an exception: Traceback (most recent call last):
  File "salt/minion.py", line 2060, in _thread_return
    fp_.write(payload)
OSError: [Errno 28] No space left on device: '/var/lib/saltern/cache/minion/proc/2026'
"""


def test_a_traceback_of_a_full_disk_becomes_a_line_with_path_and_remedy():
    said = space.of_text(TRACEBACK)
    assert said.startswith(
        "/var/lib/saltern/cache/minion/proc/2026 cannot be written: No space left"
    )
    assert "free some space there" in said
    assert "\n" not in said
    nameless = space.of_text("OSError: [Errno 30] Read-only file system\n")
    assert nameless.startswith("one of its file systems cannot be written: Read-only")
    assert space.of_text("OSError: [Errno 2] No such file or directory: '/x'") == ""


def test_what_has_too_little_room_is_named_with_what_it_needs():
    free = {"etc": ("/etc/saltern", 1e9), "var": ("/var/lib/saltern", 3e6)}
    (said,) = space.short(free)
    assert said.startswith("/var/lib/saltern: 3 MB are free, 50 are needed: free some space")
