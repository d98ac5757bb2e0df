"""The checkout's extension modules: what they are now, and bringing them to the minion."""

from __future__ import annotations

import hashlib
import subprocess

import salt.config
import salt.fileserver

from steps import Outcome, SetupError
from steps.settings import Settings

FOLDERS = (
    "_modules", "_states", "_utils", "_runners", "_pillar", "_renderers", "_grains", "_engines",
    "_output",
)  # fmt: skip


def digest(config: Settings) -> str:
    """A hash of all code that Salt loads from the checkout."""
    total = hashlib.sha256()
    for folder in FOLDERS:
        for path in sorted((config.checkout / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                total.update(f"{path.relative_to(config.checkout)}\0".encode())
                total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def sync(config: Settings) -> Outcome:
    """Copy the modules into the minion's cache if they changed, before the minion starts."""
    note = config.stamps / "code.stamp"
    wanted = digest(config)
    if note.exists() and note.read_text() == wanted and _cache(config).is_dir():
        return Outcome(f"in place, {wanted[:12]}")
    # New files stay invisible for up to 20 s while the master's old file list is cached.
    opts = salt.config.master_config(str(config.config_dir / "master"))
    salt.fileserver.Fileserver(opts).clear_file_list_cache({})
    command = [
        str(config.virtualenv / "bin" / "salt-call"),
        f"--config-dir={config.config_dir}",
        "--out=quiet",
        "--retcode-passthrough",
        "saltutil.sync_all",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode or not _cache(config).is_dir():
        last = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise SetupError(f"{' '.join(command)} failed:\n{last}")
    note.write_text(wanted)
    return Outcome(f"synchronised, {wanted[:12]}", changed=True)


def _cache(config: Settings):
    return config.var / "cache/minion/extmods"
