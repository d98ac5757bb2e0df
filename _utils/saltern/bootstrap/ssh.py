"""Bare hosts, spoken to through salt-ssh: they need SSH and nothing else."""

from __future__ import annotations

import shlex
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import salt.client.ssh.client
import salt.config

from saltern.bootstrap import hosts as bootstrap
from saltern.cloud.model import Cloud
from saltern.errors import Failure
from saltern.run.fleet import stop_for
from saltern.run.progress import Phase

# As root, also where one logs in as somebody else.
_AS_ROOT = '[ "$(id -u)" = 0 ] || exec sudo -n "$@"; exec "$@"'


@dataclass(frozen=True)
class _Answer:
    """What a host said.

    :ivar ok: It did what was asked.
    :ivar value: Output of a command, or states by tag; if it failed, states or the reason as text.
    """

    host: str
    ok: bool
    value: Any
    seconds: float


class Remote:
    """Speaks to the hosts of a cloud that have ``ssh`` in the pillar.

    :param opts: ``__opts__`` of a runner or of a state in an orchestration.
    """

    def __init__(self, opts: Mapping[str, Any], cloud: Cloud) -> None:
        script = bootstrap.preflight(opts["file_roots"]["base"])
        self._opts = {
            **salt.config.client_config(opts["conf_file"]),
            "roster": "saltern",
            bootstrap.ROSTER: bootstrap.roster(cloud, script),
            # salt-ssh would leave the whole pillar, with its secrets, on each host.
            "ext_pillar": [],
            "pillar_roots": {"base": []},
        }

    def command(self, phase: Phase, hosts: Sequence[str], *words: str) -> dict[str, str]:
        """Run a command as root on hosts; return host to its output.

        :raises RolloutError: With every host that failed.
        """
        return _heard(phase, hosts, self._command(hosts, words))

    def states(
        self,
        phase: Phase,
        hosts: Sequence[str],
        sls: str,
        pillar: Mapping[str, Any],
        test: bool = False,
    ) -> dict[str, dict[str, Any]]:
        """Apply states to hosts, all at once; return host to its states by tag.

        :param pillar: The pillar that the states see, and nothing else.
        :raises RolloutError: With every host that failed.
        """
        return _heard(phase, hosts, self._states(hosts, sls, pillar, test))

    def _command(self, hosts: Sequence[str], words: Sequence[str]) -> Iterator[_Answer]:
        # Salt quotes for its own shell only, this is for the host's.
        arguments = [shlex.quote(word) for word in ("-c", _AS_ROOT, "sh", *words)]
        for host, said, seconds in self._each(hosts, "sh", arguments, raw_shell=True):
            ok = isinstance(said, Mapping) and said.get("retcode") == 0
            yield _Answer(host, ok, said["stdout"] if ok else bootstrap.reason(said), seconds)

    def _states(
        self, hosts: Sequence[str], sls: str, pillar: Mapping[str, Any], test: bool
    ) -> Iterator[_Answer]:
        kwargs = {"pillar": dict(pillar), "test": test}
        for host, said, seconds in self._each(hosts, "state.sls", [sls], kwarg=kwargs):
            done = said.get("return") if isinstance(said, Mapping) else None
            if isinstance(done, Mapping) and done:
                ok = all(one.get("result") is not False for one in done.values())
                yield _Answer(host, ok, done, seconds)
            else:
                yield _Answer(host, False, bootstrap.reason(said), seconds)

    def _each(
        self, hosts: Sequence[str], fun: str, arguments: Sequence[str], **options: Any
    ) -> Iterator[tuple[str, Any, float]]:
        began = time.monotonic()
        client = salt.client.ssh.client.SSHClient(mopts=self._opts)
        with warnings.catch_warnings():
            # A process a host, in which Salt warns at length about the connections of this one.
            warnings.simplefilter("ignore")
            answers = client.cmd_iter(list(hosts), fun, list(arguments), tgt_type="list", **options)
            for answer in answers:
                for host, said in answer.items():
                    yield host, said, time.monotonic() - began


def _heard(phase: Phase, hosts: Sequence[str], answers: Iterable[_Answer]) -> dict[str, Any]:
    """Tell each host's answer as it comes; return host to value.

    :raises RolloutError: With every host that failed.
    """
    values: dict[str, Any] = {}
    failures: list[Failure] = []
    for number, one in enumerate(answers, 1):
        wrong = [] if one.ok else bootstrap.failures(one.host, one.value)
        failures += wrong
        values[one.host] = one.value
        text = wrong[0].reason if wrong else "done"
        phase.host(one.host, text, one.ok, one.seconds, 100 * number // len(hosts))
    failures += [Failure("did not answer", one) for one in hosts if one not in values]
    stop_for(failures)
    return {host: values[host] for host in hosts}
