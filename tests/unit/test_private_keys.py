"""Keys that are parsed once sign as Salt's own do, and a broken one fails as Salt's own does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

GRAINS = Path(__file__).parents[2] / "_grains/private_keys.py"
SCRIPT = """
import sys, pathlib, runpy, salt.crypt, salt.exceptions
folder = pathlib.Path(sys.argv[1])
salt.crypt.write_keys(str(folder), "one", 2048)
salt.crypt.write_keys(str(folder), "two", 2048)
sign = lambda name: salt.crypt.sign_message(folder / f"{name}.pem", b"text")
before = [sign("one"), sign("two")]
for _ in range(2):
    assert runpy.run_path(sys.argv[2])["parsed_once"]() == {}
assert [sign("one"), sign("two"), sign("one")] == [*before, before[0]]
(folder / "one.pem").write_bytes((folder / "two.pem").read_bytes())
assert sign("one") == before[1]
(folder / "broken.pem").write_text("no key")
try:
    sign("broken")
except salt.exceptions.InvalidKeyError:
    print("as Salt's own")
"""


def test_a_key_is_told_by_its_content(tmp_path):
    # A process of its own, as the change is for the rest of a process's life.
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(GRAINS)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert done.stdout == "as Salt's own\n", done.stderr
