"""The cluster lock: one run at a time changes the cloud.

A lock of the kernel (flock) on a file: it is free again the moment its process dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from saltern import space
from saltern.errors import SalternError
from saltern.paths import root

# How often one that waits looks whether the lock is free.
_LOOK_SECONDS = 1
# Who mends what hosts tell of; it needs the cloud for a short time, and everybody waits so many seconds for it.
REMEDIATION = "remediation"
_REMEDIATION_SECONDS = 300


class HeldError(SalternError):
    """Another run holds the lock.

    :ivar who: Who runs it.
    """

    def __init__(self, text: str, who: str) -> None:
        super().__init__(text)
        self.who = who


class Lock:
    """A held lock.

    :param path: The lock file; it stays when the lock is released.
    :param holder: Who asks, for the message to others: ``command``, ``user``, ``who``, ``since`` (UTC).
    :raises HeldError: Another run holds the lock.
    """

    def __init__(self, path: str | Path, holder: Mapping[str, Any]) -> None:
        path = Path(path)
        self._owner = os.getpid()
        self._descriptor: int | None = None
        with space.needed(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            self._descriptor = None
            raise _held(path) from None
        text = json.dumps({**holder, "pid": os.getpid()}).encode()
        with space.needed(path):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, text, 0)

    def release(self) -> None:
        """Let others run; a second call does nothing."""
        # A forked child shares the lock: it must neither free it nor keep it from being freed.
        if self._descriptor is not None:
            if os.getpid() == self._owner:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = None

    close = __del__ = release


def take(opts: Mapping[str, Any], command: str, patience: float = 0, who: str = "") -> Lock:
    """Take the lock of the cloud.

    :param opts: ``__opts__`` of a runner or of a state in an orchestration.
    :param command: Who takes it, for the message to others.
    :param patience: Seconds to wait for a run that holds it; for remediation people wait in any case.
    :param who: Who runs it, see :func:`saltern.run.history.who`.
    :raises HeldError: Another run holds it.
    """
    began = time.monotonic()
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    holder = {"command": command, "user": opts.get("user", "?"), "who": who, "since": since}
    while True:
        try:
            return Lock(f"{root('var', opts)}/rollout.lock", holder)
        except HeldError as error:
            meant = error.who == REMEDIATION != who
            if time.monotonic() - began >= (
                max(patience, _REMEDIATION_SECONDS) if meant else patience
            ):
                raise
            time.sleep(_LOOK_SECONDS)


class Shared:
    """The lock of the cloud, held together by several threads of one process.

    :param opts: ``__opts__`` of the master.
    :param command: Who takes it, for the message to others.
    """

    def __init__(self, opts: Mapping[str, Any], command: str) -> None:
        self._opts, self._command = opts, command
        self._count, self._guard = 0, threading.Lock()
        self._lock: Lock | None = None

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Hold it; the last to leave releases it.

        :raises HeldError: A run holds the cloud.
        """
        with self._guard:
            if not self._count:
                self._lock = take(self._opts, self._command, who=REMEDIATION)
            self._count += 1
        try:
            yield
        finally:
            with self._guard:
                self._count -= 1
                if not self._count and self._lock:
                    self._lock.release()


def _held(path: Path) -> HeldError:
    try:
        holder = json.loads(path.read_text())
    except ValueError:
        holder = {}
    text = (
        "another run holds the cloud: {command} (pid {pid}, user {user}, since {since}). Follow it "
        "with salt-run saltern.watch; start again when it is done"
    )
    told = {"command": "?", "pid": "?", "user": "?", "since": "?", **holder}
    return HeldError(text.format(**told), str(holder.get("who", "")))
