"""The checkout's extension modules: what they are now, and bringing them to the minion."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import salt.client
import salt.config
import salt.exceptions
import salt.fileserver
import salt.utils.extmods

from saltern.run import code
from steps import Outcome, SetupError, answer, processes
from steps.settings import Settings, write

FOLDERS = (
    "_modules", "_states", "_utils", "_runners", "_pillar", "_renderers", "_grains", "_engines",
    "_output", "_beacons",
)  # fmt: skip


PATIENCE = 120  # seconds for an answer of the minion
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
    """Copy the modules into the minion's cache if they changed; one that runs learns their names."""
    note = config.stamps / "code.stamp"
    wanted = digest(config)
    if note.exists() and note.read_text() == wanted and _cache(config).is_dir():
        return Outcome(f"in place, {wanted[:12]}")
    master = salt.config.master_config(str(config.config_dir / "master"))
    # New files stay invisible for up to 20 s while the master's old file list is cached.
    # None is every environment; a load without the key clears nothing.
    salt.fileserver.Fileserver(master).clear_file_list_cache({"saltenv": None})
    _copy(config, master)
    if processes.salt(config.config_dir, "minion"):
        _refresh(config)
    write(note, wanted, 0o640)
    return Outcome(f"synchronised, {wanted[:12]}", changed=True)


def _copy(config: Settings, master: Mapping[str, Any]) -> None:
    """What `saltutil.sync_all` does, with the files that lie on this host.

    Through the master each file costs three messages, and Salt reads the minion's private key anew to
    sign each of them (40 ms): 20 s in all.
    """
    roots = master["file_roots"]["base"]
    served = ("file_roots", "file_ignore_glob", "fileserver_followsymlinks")
    with tempfile.TemporaryDirectory() as cache:
        minion = {
            **salt.config.minion_config(str(config.config_dir / "minion")),
            **{key: master[key] for key in served},
            "file_client": "local",
            "cachedir": cache,
        }
        for kind in code.KINDS:
            salt.utils.extmods.sync(minion, kind)
    # It only logs what goes wrong.
    if code.digest(code.synced(str(_cache(config)))) != code.digest(code.served(roots)):
        raise SetupError(f"the extension modules cannot be copied to {_cache(config)}")
    (config.var / "cache/minion/grains.cache.p").unlink(missing_ok=True)


def _refresh(config: Settings) -> None:
    answer.answer(config)
    client = salt.client.LocalClient(str(config.config_dir / "master"))
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


def _cache(config: Settings) -> Path:
    return config.var / "cache/minion/extmods"
