"""The checkout's extension modules: what they are now, and bringing them to the minion."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import salt.client
import salt.config
import salt.exceptions
import salt.fileserver

from steps import Outcome, SetupError, answer, processes
from steps.settings import Settings, write

FOLDERS = (
    "_modules", "_states", "_utils", "_runners", "_pillar", "_renderers", "_grains", "_engines",
    "_output", "_beacons",
)  # fmt: skip


PATIENCE = 120  # seconds for copying the modules
# What a minion's parent process loads, besides the jobs that it forks. It must import nothing of the library, which
# the jobs would then have as it was.
PARENT = ("_grains", "_engines", "_beacons")


def digest(config: Settings, folders: tuple[str, ...] = FOLDERS) -> str:
    """A hash of the code that Salt loads from these folders of the checkout."""
    total = hashlib.sha256()
    for folder in folders:
        for path in sorted((config.checkout / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                total.update(f"{path.relative_to(config.checkout)}\0".encode())
                total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def loaded_by_parent(config: Settings) -> str:
    """A hash of the code that a minion keeps in memory until it is restarted."""
    return digest(config, PARENT)


def sync(config: Settings) -> Outcome:
    """Copy the modules into the minion's cache if they changed."""
    note = config.stamps / "code.stamp"
    wanted = digest(config)
    if note.exists() and note.read_text() == wanted and _cache(config).is_dir():
        return Outcome(f"in place, {wanted[:12]}")
    # New files stay invisible for up to 20 s while the master's old file list is cached.
    # None is every environment; a load without the key clears nothing.
    opts = salt.config.master_config(str(config.config_dir / "master"))
    salt.fileserver.Fileserver(opts).clear_file_list_cache({"saltenv": None})
    if processes.salt(config.config_dir, "minion"):
        _through_master(config)
    else:
        _by_itself(config)
    write(note, wanted, 0o640)
    return Outcome(f"synchronised, {wanted[:12]}", changed=True)


def _through_master(config: Settings) -> None:
    # so that the running minion also learns the names of new modules
    answer.answer(config)
    client = salt.client.LocalClient(str(config.config_dir / "master"))
    _call(client, config, "saltutil.sync_all", refresh=False)
    wanted = {path.stem for path in (config.checkout / "_modules").glob("*.py")}
    # A refresh is an event: a busy minion may be late, and then says nothing of it.
    for _ in range(5):
        _call(client, config, "saltutil.refresh_modules", **{"async": False})
        missing = wanted - set(_call(client, config, "sys.list_modules"))
        if not missing:
            return
    raise SetupError(
        f"the minion {config.id} does not load the modules {', '.join(sorted(missing))}: read its log"
    )


def _call(client: salt.client.LocalClient, config: Settings, function: str, **options: Any) -> Any:
    try:
        said = client.cmd(config.id, function, kwarg=options, timeout=PATIENCE, full_return=True)
    except salt.exceptions.SaltClientError as error:
        raise SetupError(f"salt {config.id} {function} failed: {error}") from error
    one = said.get(config.id, {})
    if one.get("retcode") != 0:
        raise SetupError(f"salt {config.id} {function} failed: {said or 'no answer'}")
    return one["ret"]


def _by_itself(config: Settings) -> None:
    # before the minion starts, so that it starts with them
    command = [
        str(config.virtualenv / "bin" / "salt-call"),
        f"--config-dir={config.config_dir}",
        "--out=json",
        "--retcode-passthrough",
        "saltutil.sync_all",
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, check=False, cwd="/"
    )
    if done.returncode or not _cache(config).is_dir():
        last = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise SetupError(f"{' '.join(command)} failed:\n{last}")


def _cache(config: Settings) -> Path:
    return config.var / "cache/minion/extmods"
