"""Keys that are parsed once sign as Salt's own do, and a broken one fails as Salt's own does."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys, pathlib, salt.crypt, salt.exceptions
from saltern import keys
folder = pathlib.Path(sys.argv[1])
salt.crypt.write_keys(str(folder), "one", 2048)
salt.crypt.write_keys(str(folder), "two", 2048)
sign = lambda name: salt.crypt.sign_message(folder / f"{name}.pem", b"text")
before = [sign("one"), sign("two")]
keys.parse_once()
keys.parse_once()
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
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert done.stdout == "as Salt's own\n", done.stderr
