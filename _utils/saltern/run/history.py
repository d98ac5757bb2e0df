"""History: what each run did, a file a run, written when it begins and completed when it ends."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import psutil

from saltern import files
from saltern.cloud import secrets
from saltern.cloud.loading import schema
from saltern.errors import Failure, SalternError
from saltern.paths import root
from saltern.problems import unknown
from saltern.run import inventory, plan, screen, summary
from saltern.run.fleet import failures_of
from saltern.run.progress import count

Run = dict[str, Any]

# How a run ended; one that has not, RUNNING, was killed if its process is no more.
RUNNING, DONE, FAILED, INTERRUPTED, KILLED = "running", "done", "failed", "interrupted", "killed"
# What is kept of one run, besides services by host: characters of a text, names of a phase, failures.
_TEXT, _NAMES, _FAILURES = 2000, 100, 50
# Of all runs that are kept, those that changed nothing have at most this share.
_IDLE_SHARE = 4
# Seconds until what a host has done is written, with what other hosts have done meanwhile.
_PAUSE = 1.0

# Who runs what no person has started, see `acting`.
_ACTOR: ContextVar[str] = ContextVar("saltern.history.actor", default="the master")


@contextlib.contextmanager
def acting(actor: str) -> Iterator[None]:
    """Say who begins the runs in this block, unless a person does: ``the reactor``, ``the schedule``."""
    token = _ACTOR.set(actor)
    try:
        yield
    finally:
        _ACTOR.reset(token)


def who(opts: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> str:
    """Return who runs something: the operator by the name of the login, or what acts for nobody.

    :param opts: ``__opts__`` of a runner or of a state in an orchestration.
    """
    if not screen.looked_at(opts):
        return _ACTOR.get()
    if environment.get("SUDO_USER"):
        return environment["SUDO_USER"]
    try:
        return os.getlogin()
    except OSError:  # without a terminal
        return pwd.getpwuid(os.getuid()).pw_name


def of_states(running: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what of a host's state run is kept.

    :param running: Return of ``state.sls``: states by tag.
    :returns: ``states``: how many changed something; ``seconds``: how long all took; ``generation``: ``before`` and ``after`` (digests)
        where it was looked at; ``images``: container to ``old`` and ``new`` where they differ.
    """
    milliseconds = sum(float(one.get("duration", 0)) for one in running.values())
    kept: dict[str, Any] = {"states": 0, "seconds": round(milliseconds / 1000, 1)}
    for one in running.values():
        changes = one.get("changes") or {}
        kept["states"] += bool(changes)
        if "generation" in one:
            kept["generation"] = one["generation"]
        if isinstance(changes, Mapping) and isinstance(changes.get("image"), Mapping):
            kept.setdefault("images", {})[str(one.get("name", ""))] = dict(changes["image"])
    return kept


class Record:
    """The record of a run that goes on.

    :param folder: Where the files are.
    :param run: Id of the run; another one is taken if there is a record of that id.
    :param who: Who runs it.
    :param command: As it was typed; it holds no secret.
    :param hide: Masks secrets in a text.
    """

    def __init__(
        self,
        folder: Path,
        run: str,
        who: str,
        command: str,
        hide: Callable[[str], str] = lambda text: text,
    ) -> None:
        self._folder = folder
        self._hide = hide
        self._later: threading.Timer | None = None
        self._busy = threading.RLock()
        while not run.strip("0") or (folder / f"{run}.json").exists():
            run = (
                time.strftime("%Y%m%d%H%M%S", time.gmtime())
                + f"{time.time_ns() // 1000 % 10**6:06}"
            )
        self._run: Run = {
            "id": run,
            "who": who,
            "command": command,
            "started": time.time(),
            "seconds": 0.0,
            "result": RUNNING,
            "process": [os.getpid(), psutil.Process().create_time()],
            "phases": [],
            "services": {},
            "failures": [],
        }
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write()

    def command(self, text: str) -> None:
        """Note the command, once its keys are known."""
        self._run["command"] = text

    def applied(
        self, service: str, host: str, running: Mapping[str, Mapping[str, Any]] | None, ok: bool
    ) -> None:
        """Note what became of a service on a host.

        :param running: What its states have returned; None if they returned nothing.
        """
        kept = {
            **of_states(running or {}),
            "ended": self._passed(),
            **({} if ok else {"ok": False}),
        }
        with self._busy:
            self._run["services"].setdefault(service, {})[host] = kept
            if not self._later:
                self._later = threading.Timer(_PAUSE, self._update)
                self._later.daemon = True
                self._later.start()

    def phase(
        self, title: str, ok: bool, seconds: float, said: str, changes: Collection[str]
    ) -> None:
        """Note the end of a phase.

        :param changes: The names of what it has changed: hosts, or what it calls them.
        """
        names = list(map(str, changes))[:_NAMES]
        self._run["phases"].append(
            {
                "phase": title,
                "ok": ok,
                "seconds": round(seconds, 1),
                "ended": self._passed(),
                "said": self._text(said),
                "changed": names,
            }
        )
        self._update()

    def end(
        self,
        result: str,
        failures: Sequence[Failure] = (),
        settings: Mapping[str, Any] | None = None,
        left: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Complete the record; older ones that are too many go.

        :param result: :data:`DONE`, :data:`FAILED` or :data:`INTERRUPTED`.
        :param settings: ``saltern`` of the pillar; None where it is wrong.
        :param left: Service to the hosts on which it stayed as it was.
        """
        known = schema()["properties"]["history"]["properties"]
        limits = {name: one["default"] for name, one in known.items()} | (settings or {}).get(
            "history", {}
        )
        ended = {
            "result": result,
            "failures": [
                {
                    **{key: getattr(one, key) for key in ("host", "service", "state")},
                    **{key: self._text(getattr(one, key)) for key in ("reason", "remedy")},
                }
                for one in failures[:_FAILURES]
            ],
            "left": {service: list(hosts) for service, hosts in (left or {}).items()},
            "left_out": max(len(failures) - _FAILURES, 0),
        }
        with self._busy:
            self._run.update(ended)
        with contextlib.suppress(SalternError, OSError):  # the run is not the worse for it
            earlier = [one for one in read(self._folder) if one["id"] != self._run["id"]]
            with self._busy:
                same = folded(earlier, self._run)
            self._update()
            size = limits["megabytes"] * 1e6
            for one in [*same, *superfluous([*earlier, self._run], limits["runs"], size)]:
                (self._folder / f"{one}.json").unlink(missing_ok=True)

    def _passed(self) -> float:
        """Return how many seconds ago the run began."""
        return round(time.time() - self._run["started"], 1)

    def _text(self, text: str) -> str:
        text = self._hide(text)
        return text if len(text) <= _TEXT else f"{text[: _TEXT // 2]}\n...\n{text[-_TEXT // 2 :]}"

    def _update(self) -> None:
        with self._busy, contextlib.suppress(SalternError, OSError):
            if self._later:
                self._later.cancel()
                self._later = None
            self._write()

    def _write(self) -> None:
        self._run["seconds"] = self._passed()
        text = json.dumps(self._run, indent=1, default=str)
        files.write(self._folder / f"{self._run['id']}.json", text + "\n")


def folder(opts: Mapping[str, Any]) -> Path:
    """Return where the master keeps its history."""
    return Path(root("var", opts), "history")


def begin(opts: Mapping[str, Any], run: str, command: str) -> Record:
    """Return the record of a run that begins now.

    :param opts: ``__opts__`` of a runner or of a state in an orchestration.
    :param run: Its id.
    :raises SalternError: It cannot be written.
    """
    try:
        hidden = secrets.read(inventory.secrets_file(opts))
    except SalternError:
        hidden = {}  # the run says what is wrong with it
    return Record(folder(opts), run, who(opts), command, lambda text: plan.hide(text, hidden))


@contextlib.contextmanager
def recorded(
    opts: Mapping[str, Any], command: str, title: str, settings: Mapping[str, Any]
) -> Iterator[list[str]]:
    """Keep a record of what a runner does in this block, and yield what it changes: names.

    :param title: What it does, a sentence.
    :param settings: ``saltern`` of the pillar.
    """
    record = begin(opts, str(opts.get("jid") or "0"), command)
    began, changes, failures = time.monotonic(), [], []
    result = INTERRUPTED
    try:
        yield changes
        result = DONE
    except Exception as error:
        result, failures = FAILED, failures_of(error)
        raise
    finally:
        said = f"{title}: {', '.join(changes) or 'nothing had to change'}"
        record.phase(title, result == DONE, time.monotonic() - began, said, changes)
        record.end(result, failures, settings)


def read(folder: Path) -> list[Run]:
    """Return all runs that are kept, the newest last; a file that somebody has spoilt is left out."""
    runs = []
    for path in sorted(folder.glob("*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            run = json.loads(path.read_text())
            if run["result"] == RUNNING and not _lives(*run["process"]):
                run["result"] = KILLED
            runs.append(run)
    return runs


def one_of(runs: Sequence[Run], wanted: str) -> Run:
    """Return one run.

    :param wanted: Its id, or ``last``.
    :raises SalternError: There is none of that id.
    """
    if wanted == "last" and runs:
        return runs[-1]
    for run in runs:
        if run["id"] == wanted:
            return run
    raise SalternError(str(unknown("run", wanted, [one["id"] for one in runs], "run")))


def changed(run: Run) -> bool:
    """Return whether a run has changed something, or may have."""
    states = any(one["states"] for hosts in run["services"].values() for one in hosts.values())
    return states or any(one["changed"] for one in run["phases"]) or run["result"] == KILLED


def under_way(folder: Path) -> bool:
    """Return whether a run goes on."""
    return any(one["result"] == RUNNING for one in read(folder))


def last_change(runs: Sequence[Run], since: float) -> str:
    """Return the command of the newest run that has changed something after a time; nothing if none has.

    :param since: Seconds since 1970.
    """
    later = [one for one in runs if one["started"] + one["seconds"] > since and changed(one)]
    return later[-1]["command"] if later else ""


def folded(earlier: Sequence[Run], run: Run) -> list[str]:
    """Fold a run that changed nothing with the one before, if that was just like it; return its id.

    :param earlier: The others that are kept, the newest last.
    :param run: The run; it takes ``times`` and ``since`` from the other.
    """

    def like(one: Run) -> tuple[Any, ...]:
        return (*(one[key] for key in ("who", "command", "result", "failures")),)

    last = earlier[-1] if earlier else None
    if not last or RUNNING in (last["result"], run["result"]) or changed(last) or changed(run):
        return []
    if like(last) != like(run):
        return []
    run.update(times=last.get("times", 1) + 1, since=last.get("since", last["started"]))
    return [last["id"]]


def superfluous(runs: Sequence[Run], most: int, size: float) -> list[str]:
    """Return the ids of runs that are not kept any more: of those without changes sooner than of others.

    :param runs: The newest last; it is always kept, as is one that goes on.
    :param most: How many are kept.
    :param size: How many bytes they may take.
    """
    gone: dict[str, None] = {}
    over = [one for one in runs[:-1] if one["result"] != RUNNING]
    idle = [one for one in over if not changed(one)]
    gone.update(dict.fromkeys(one["id"] for one in idle[: max(len(idle) - most // _IDLE_SHARE, 0)]))
    sizes = {one["id"]: len(json.dumps(one, indent=1)) for one in runs}
    for one in over:
        left = [number for name, number in sizes.items() if name not in gone]
        if len(left) <= most and sum(left) <= size:
            break
        gone[one["id"]] = None
    return list(gone)


def _lives(process: int, since: float) -> bool:
    """Return whether a process still runs; its number may have gone to another one meanwhile."""
    try:
        one = psutil.Process(process)
        return abs(one.create_time() - since) < 1 and one.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def table(runs: Iterable[Run]) -> str:
    """Return runs as people read them: a line each, and below it what changed and what failed."""
    rows = [("run", "when (UTC)", "who", "took", "result", "command")]
    more: list[list[str]] = [[]]
    for run in runs:
        times = f", {run['times']} times since {_when(run['since'])}" if run.get("times") else ""
        what = run["result"] if changed(run) or run["result"] != DONE else "nothing to do"
        command = run["command"].removeprefix("salt-run ").removeprefix("state.orchestrate ")
        took = summary.took(run["seconds"]) if run["result"] != KILLED else "?"
        rows.append((run["id"], _when(run["started"]), run["who"], took, what, command + times))
        more.append([f"    {line}" for line in _what(run)])
    if len(rows) == 1:
        return "No run yet"
    return summary.table(rows, more)


def text(run: Run) -> str:
    """Return all that is kept of a run as people read it."""
    ended = {RUNNING: "goes on", KILLED: "was killed, after the last thing below"}
    lines = [
        f"run      {run['id']}",
        f"command  {run['command']}",
        f"who      {run['who']}",
        f"began    {_when(run['started'])} UTC",
        f"took     {summary.took(run['seconds'])}",
        f"result   {ended.get(run['result'], run['result'])}",
    ]
    if run.get("times"):
        lines.append(f"times    {run['times']} alike, since {_when(run['since'])} UTC")
    lines += ["", "phases"]
    for one in run["phases"]:
        said = one["said"].partition("\n")[0]
        mark = "" if one["ok"] else "FAILED: "
        lines.append(f"  {one['phase']} ({one['seconds']} s): {mark}{said}")
        lines += [f"    changed {', '.join(one['changed'])}"] if one["changed"] else []
    if run["services"]:
        lines += ["", "services"]
    for service, hosts in run["services"].items():
        for host, one in hosts.items():
            lines += [f"  {service} on {host}: {line}" for line in _became(one)]
    left = list(summary.places(run.get("left", {})))
    lines += ["", "as it was", *(f"  {one}" for one in left)] if left else []
    for one in run["failures"]:
        lines += ["", "FAILED"]
        for key in ("host", "service", "state", "reason", "remedy"):
            first, *rest = one[key].splitlines() or [""]
            lines += [f"  {key:8}{first}", *(f"  {'':8}{line}" for line in rest)] if first else []
    if run.get("left_out"):
        lines.append(f"and {count(run['left_out'], 'more failure')}")
    return "\n".join(lines)


def _became(one: Mapping[str, Any]) -> Iterator[str]:
    failed = "" if one.get("ok", True) else ", FAILED"
    seconds = f" in {one['seconds']} s" if "seconds" in one else ""  # older records have none
    yield f"{count(one['states'], 'state')} changed{seconds}{failed}"
    if "generation" in one:
        before, after = one["generation"]["before"], one["generation"]["after"]
        yield f"generation {before or '(none)'}" + ("" if before == after else f" -> {after}")
    for container, images in one.get("images", {}).items():
        yield f"image of {container}: {images['old']} -> {images['new']}"


def _what(run: Run) -> Iterator[str]:
    """Yield what of a run is worth a line beside its own."""
    where = {
        service: [host for host, one in hosts.items() if one["states"]]
        for service, hosts in run["services"].items()
    }
    yield from summary.places({service: hosts for service, hosts in where.items() if hosts})
    for one in run["phases"]:
        if one["changed"] and one["ok"]:
            yield one["said"].partition("\n")[0]
    for one in run["failures"][:1]:
        place = " ".join(filter(None, (one["host"], one["service"])))
        more = len(run["failures"]) - 1 + run.get("left_out", 0)
        yield (
            f"FAILED {place + ': ' if place else ''}{one['reason'].partition(chr(10))[0][:200]}"
            + (f" (and {count(more, 'more failure')})" if more else "")
        )


def _when(since: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(since))
