"""Jobs on hosts, followed on the event bus: an answer at once, and silence is a failure.

Salt's own ways do not fit (measured on 3008.3): ``batch`` loses failures, ``salt.function`` takes
silence for success, and ``get_iter_returns`` hides which host still works and which one is gone.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from salt.exceptions import SaltException

from saltern.errors import SalternError


@dataclass
class Job:
    """One function on some hosts.

    :ivar deadline: Seconds it may take.
    :ivar heard: Host to when it last gave a sign of life (monotonic seconds).
    """

    jid: str
    fun: str
    label: str
    pending: set[str]
    started: float
    deadline: float
    heard: dict[str, float]
    probed: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What became of a job on one host.

    :ivar ok: The host answered and its return code is 0.
    :ivar reason: Why there is no answer; empty if there is one.
    :ivar silent: Nothing was heard of the host.
    """

    job: Job
    host: str
    ok: bool
    value: Any
    seconds: float
    reason: str = ""
    silent: bool = False


@dataclass(frozen=True)
class StateDone:
    """A host has finished one state of a running job."""

    job: Job
    host: str
    state: Mapping[str, Any]
    of: int


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C end a call of Salt's client as it ends everything else.

    Inside the client it stops an event loop, which then complains of that alone.

    :raises SystemExit: Ctrl-C, as Salt tells it.
    """
    try:
        yield
    except RuntimeError as error:
        if "Event loop stopped" not in str(error):
            raise
        raise SystemExit(str(error)) from error


class Jobs:
    """Jobs under way.

    :param client: ``salt.client.LocalClient`` that listens.
    :param silence: Seconds without a sign of life after which a host is asked whether it still
        works on the job; after as many again without an answer it counts as silent.
    :param check: Raises if the master is gone: then silence says nothing of hosts.
    """

    def __init__(
        self,
        client: Any,
        silence: float = 15,
        clock: Callable[[], float] = time.monotonic,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client
        self._check = check
        self._silence = silence
        self._clock = clock
        self._jobs: dict[str, Job] = {}
        self._probes: dict[str, Job] = {}
        self._answers: list[Answer] = []

    def start(
        self,
        fun: str,
        hosts: Sequence[str],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        deadline: float = 60,
        label: str = "",
    ) -> Job:
        """Publish a job; :meth:`events` tells what becomes of it.

        :param deadline: Seconds until a host that has not finished counts as failed.
        :param label: Name of the job for the caller, such as the service.
        """
        published = self._publish(fun, hosts, args, kwargs)
        job = self.join(published.get("jid", ""), fun, hosts, deadline, label)
        for host in sorted(set(hosts) - set(published.get("minions", []))):
            reason = (
                f"key of {host} is not accepted: compare its fingerprint, then salt-key -a {host}"
            )
            self._finish(job, host, reason=reason, silent=True)
        return job

    def join(
        self, jid: str, fun: str, hosts: Sequence[str], deadline: float = 60, label: str = ""
    ) -> Job:
        """Follow a job that somebody has published."""
        now = self._clock()
        heard = dict.fromkeys(hosts, now)
        job = Job(jid, fun, label, set(hosts), now, deadline, heard)
        self._jobs[jid] = job
        return job

    def _publish(
        self,
        fun: str,
        hosts: Sequence[str],
        args: Sequence[Any],
        kwargs: Mapping[str, Any] | None,
    ) -> Mapping[str, Any]:
        self._check()
        # pub() rather than run_job(): the latter prints to the screen when a key is missing.
        arguments = list(args)
        if kwargs:
            arguments.append({"__kwarg__": True, **kwargs})
        try:
            with interruptible():
                pub = self._client.pub(list(hosts), fun, arguments, tgt_type="list", listen=True)
            return pub or {}
        except SaltException as error:
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise SalternError(
                f"the Salt master does not answer ({said[0]}): see that it runs (make setup starts it) and "
                "read its log"
            ) from error

    def events(self) -> Iterator[Answer | StateDone]:
        """Yield what happens until every job has an answer of each of its hosts.

        Jobs started between two events are followed too.
        """
        while True:
            while self._answers:
                yield self._answers.pop(0)
            if not any(job.pending for job in self._jobs.values()):
                return
            with interruptible():
                event = self._client.event.get_event(
                    wait=1, tag="salt/job/", match_type="startswith", full=True
                )
            if event:
                yield from self._take(event["tag"].split("/"), event["data"])
            self._watch_the_clock()

    def _take(self, tag: list[str], data: Mapping[str, Any]) -> Iterator[StateDone]:
        """Sort in one event: ``salt/job/<jid>/ret/<host>`` or ``salt/job/<jid>/prog/<host>/<n>``."""
        if len(tag) < 5 or tag[3] not in ("ret", "prog"):
            return
        jid, kind, host = tag[2], tag[3], tag[4]
        # Only the id that the master has authenticated says who speaks.
        if data.get("id") != host:
            return
        if jid in self._probes and kind == "ret":
            self._take_probe(self._probes[jid], host, data)
        job = self._jobs.get(jid)
        if job is None or host not in job.pending:
            return
        if kind == "ret":
            self._finish(job, host, data)
            return
        job.heard[host] = self._clock()
        inner = data.get("data", data)
        yield StateDone(job, host, inner.get("ret", {}), inner.get("len", 0))

    def _take_probe(self, job: Job, host: str, data: Mapping[str, Any]) -> None:
        """Take a host's word on whether it still works on the job."""
        if host not in job.pending or job.probed.pop(host, None) is None:
            return
        if data.get("return"):
            job.heard[host] = self._clock()
        else:
            # Its answer may be on the way: the next silence decides.
            lost = f"{host} is up but no longer works on job {job.jid} and sent no result"
            if job.heard[host] < 0:
                self._finish(job, host, reason=lost)
            else:
                job.heard[host] = -1.0

    def _watch_the_clock(self) -> None:
        self._check()
        now = self._clock()
        for job in list(self._jobs.values()):
            quiet = []
            for host in sorted(job.pending):
                if now - job.started > job.deadline:
                    reason = (
                        f"not finished within {job.deadline:g} s; job {job.jid} ({job.fun}) may "
                        f"still run there"
                    )
                    self._finish(job, host, reason=reason)
                elif host in job.probed:
                    if now - job.probed[host] > self._silence:
                        reason = "silent: its minion does not answer"
                        self._finish(job, host, reason=reason, silent=True)
                elif now - job.heard[host] > self._silence:
                    quiet.append(host)
            if quiet:
                probe = self._publish("saltutil.find_job", quiet, [job.jid], None)
                self._probes[probe.get("jid", "")] = job
                job.probed.update(dict.fromkeys(quiet, now))

    def _finish(
        self,
        job: Job,
        host: str,
        data: Mapping[str, Any] | None = None,
        reason: str = "",
        silent: bool = False,
    ) -> None:
        job.pending.discard(host)
        data = data or {}
        ok = not reason and data.get("retcode", 1) == 0
        seconds = self._clock() - job.started
        self._answers.append(Answer(job, host, ok, data.get("return"), seconds, reason, silent))
