"""The test bed's commands: up, down, status, exec and faults; docs/cluster.md."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from saltern.errors import SalternError

from .bed import Bed


def main(argv: Sequence[str]) -> int:
    """Run a command of the bed."""
    parser = argparse.ArgumentParser("python -m tests.cluster", description=__doc__)
    parser.add_argument("--cluster", help="default: $CLUSTER or tests/cluster/cluster.yml")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="bring it up, or repair it")
    up.add_argument("--no-bootstrap", action="store_true", help="leave the hosts unprepared")
    commands.add_parser("down", help="remove it")
    commands.add_parser("status", help="show its containers")
    for fault in ("kill", "start", "restart", "pause", "heal"):
        commands.add_parser(fault, help=f"{fault} a host").add_argument("host")
    cut = commands.add_parser("cut-off", help="cut a host off, from all or from some hosts")
    cut.add_argument("host")
    cut.add_argument("others", nargs="*")
    execute = commands.add_parser("exec", help="run a command on a host or on `master`, or a shell")
    execute.add_argument("host")
    execute.add_argument("words", nargs=argparse.REMAINDER)
    given = parser.parse_args(argv)
    bed = Bed(given.cluster)
    if given.command == "up":
        bed.up(not given.no_bootstrap)
    elif given.command == "down":
        print("Removed: " + (", ".join(bed.down()) or "nothing, there was none"))
    elif given.command == "status":
        for row in bed.status():
            print(f"{row['name']:<12} {row['address']:<14} {row['memory']:>8}  {row['state']}")
    elif given.command == "exec":
        terminal = ["--tty"] if sys.stdin.isatty() and sys.stdout.isatty() else []
        words = ["-c", 'exec "$@"', "bash", *given.words] if given.words else []
        name = bed.machine.full(given.host)
        command = ["docker", "exec", "--interactive", *terminal, name, "bash", "-l", *words]
        os.execvp("docker", command)
    elif given.command == "cut-off":
        bed.cut_off(given.host, *given.others)
    else:
        getattr(bed, given.command)(given.host)
    return 0


try:
    sys.exit(main(sys.argv[1:]))
except SalternError as error:
    sys.exit(f"bed: {error}")
