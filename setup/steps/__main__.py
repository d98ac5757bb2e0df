"""The entry point: the steps as a table, and the lines they print."""

from __future__ import annotations

import logging
import os
import sys
import time

from saltern.errors import SalternError
from steps import Outcome, SetupError, docker, packages, processes, settings, virtualenv

# A step that changed nothing in less than this is no news.
NEWS_SECONDS = 1.0

# What runs on any Python >= 3.11 ...
HOST = (
    ("Docker's settings", docker.configure),
    ("Debian packages", packages.install),
    ("Mounts", docker.share),
    ("Docker daemon", docker.start),
    ("Virtualenv", virtualenv.build),
)


# ... and what needs the virtualenv's Salt.
def salt_steps():
    """The second half of the table; imported late because it imports Salt's own library."""
    # Salt's library talks of its retries on stderr; what fails for good is said by the steps.
    logging.disable(logging.ERROR)
    from steps import answer, code, daemons, keys, saltconfig

    return (
        ("Salt configuration", saltconfig.write_config),
        ("Salt master", daemons.master),
        ("Minion's key", keys.accept),
        ("Extension modules", code.sync),
        ("Salt minion", daemons.minion),
        ("Answer", answer.answer),
    )


def run(steps, config: settings.Settings) -> int:
    """Run steps in order, a line for each that changes something; returns how many did."""
    changes = 0
    for title, step in steps:
        began = time.monotonic()
        if sys.stdout.isatty():
            print(f"  {title:<20} ...", end="\r", flush=True)
        outcome: Outcome = step(config)
        changes += outcome.changed
        took = time.monotonic() - began
        if outcome.changed or took >= NEWS_SECONDS:
            print(f"  {title:<20} {outcome.text}  ({took:.1f} s)", flush=True)
        elif sys.stdout.isatty():
            print(" " * 26, end="\r", flush=True)
    return changes


def main(argv: list[str]) -> int:
    """Run what was asked for: everything, `virtualenv`, or (internally) `salt`."""
    config = settings.load()
    what = argv[0] if argv else "all"
    if what == "virtualenv":
        run(HOST[-1:], config)
        return 0
    if what == "all":
        if os.geteuid() != 0:
            raise SetupError("set-up installs packages and starts daemons: run it as root")
        began = time.monotonic()
        os.environ["SALTERN_SETUP_CHANGES"] = str(run(HOST, config))
        os.environ["SALTERN_SETUP_BEGAN"] = str(began)
        python = str(config.virtualenv / "bin" / "python")
        sys.stdout.flush()
        os.execv(python, [python, "-B", "-m", "steps", "salt"])
    if what != "salt":
        raise SetupError(f"unknown part {what!r}: nothing for all of it, or 'virtualenv'")
    began = float(os.environ.get("SALTERN_SETUP_BEGAN", time.monotonic()))
    changes = int(os.environ.get("SALTERN_SETUP_CHANGES", "0")) + run(salt_steps(), config)
    took = time.monotonic() - began
    done = f"{changes} steps changed something" if changes else "nothing to change"
    print(f"Set-up from {config.checkout}: {done} ({took:.1f} s).", flush=True)
    if changes and not processes.systemd():
        print("No systemd here: after a boot, `make setup` starts Docker, master and minion again.")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (SetupError, SalternError) as error:
        sys.exit(f"\nset-up: {error}")
