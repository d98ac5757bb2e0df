"""Watch the containers of this host, and tell the master what is wrong until it is gone. docs/remediation.md.

Salt's parent process imports this module, and every job is forked from that: nothing of the library stands at its top.
"""

from __future__ import annotations

import base64
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

_TAG = "saltern/faults"
_log = logging.getLogger(__name__)


def start() -> None:
    """Watch until the minion ends, or until its extension code is another one: then Salt starts this anew."""
    # Every file is replaced at once: there is nothing to tidy up, and Salt waits for its engines when it stops.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    parent = os.getppid()
    folders = [Path(__opts__["extension_modules"], kind) for kind in ("utils", "engines")]
    sys.path.insert(0, str(folders[0]))
    from salt.crypt import PrivateKey

    from saltern import files, paths
    from saltern.host import look, watch
    from saltern.run import words

    code = [files.stamp(folder, "*.py") for folder in folders]
    # Read once: that takes 40 ms.
    key = PrivateKey.from_file(str(Path(__opts__["pki_dir"], "minion.pem")))
    is_running, fire = __salt__["saltutil.is_running"], __salt__["event.send"]

    def send(serial: int, when: float, found: Any) -> None:
        text = watch.message(__opts__["id"], serial, when, found)
        signature = base64.b64encode(key.sign(text.encode(), words.ALGORITHM)).decode()
        # Its value says nothing: Salt drops what it cannot deliver. It is sent again until the fault is gone.
        fire(_TAG, {"signed": text, "signature": signature})

    def ended() -> bool:
        if os.getppid() != parent:
            return True
        return code != [files.stamp(folder, "*.py") for folder in folders]

    eyes = look.Eyes(__opts__, lambda: bool(is_running("state.*")))
    watch.Watch(eyes, watch.file(paths.root("var", __opts__)), send).run(watch.seldom(ended))
    _log.info("the watch of containers ends: other code, or no minion any more")
    os._exit(0)
