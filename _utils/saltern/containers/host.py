"""The containers of this host: see what is there, and do what one of them needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from saltern.containers import actual, dockerapi, live, stops
from saltern.containers.actual import Container, Snapshot
from saltern.containers.engine import ConflictError, Engine, NotFoundError, Result
from saltern.containers.fields import nearest
from saltern.containers.handover import HandOver
from saltern.containers.health import gate
from saltern.containers.lock import locked
from saltern.containers.mounts import make_shared
from saltern.containers.plan import Action, Generation, Plan, decide
from saltern.containers.replace import Replacement
from saltern.containers.spec import Spec
from saltern.containers.stream import TimedOutError
from saltern.errors import SalternError

# Seconds that a teardown may take.
_TEARDOWN = 120
# Seconds that a listing is believed: within a state run others may act too (restart policies).
_FRESH = 10.0
# Docker's words for what has a process.
_UP = ("running", "restarting", "paused")
# No health check, also where the image brings one: a one-shot container's exit code tells.
_NO_CHECK = {"test": ("NONE",), "interval": 0, "timeout": 0, "retries": 0, "start_period": 0}


class Host:
    """The containers of this host that have one prefix.

    :param prefix: Put before the names of containers and volumes.
    :param progress: Told each step of a replacement, see `Replacement`.
    :param locks: Directory of lock files, so that two runs never change one container at once.
    """

    def __init__(
        self,
        engine: Engine,
        prefix: str = "",
        progress: Callable[[str], None] = lambda step: None,
        locks: Path | None = None,
    ) -> None:
        self.engine = engine
        self.prefix = prefix
        self._locks = locks
        self._progress = progress
        self._snapshot: Snapshot | None = None

    def snapshot(self) -> Snapshot:
        """Return what is there: a call of Docker's API, repeated only after changes of ours."""
        taken = self._snapshot
        if taken is None or time.monotonic() - taken.taken > _FRESH:
            listing = self.engine.containers()
            found = actual.snapshot(listing, self.engine.image_id, self.prefix)
            taken = self._snapshot = found.with_config(_config)
        return taken

    def changed(self) -> None:
        """Forget the listing: something was changed."""
        self._snapshot = None

    def full_name(self, name: str) -> str:
        """Return the name by which Docker knows a container."""
        return self.prefix + name

    def get(self, name: str) -> Container:
        """Return a container of ours.

        :raises SalternError: There is none of that name.
        """
        found = self.snapshot().get(name)
        if not found:
            near = nearest(name, self.snapshot().current())
            raise SalternError(f"there is no container {name} on this host{near}")
        return found

    def plan(self, spec: Spec, service: str, generation: Generation | None = None) -> Plan:
        """Return what `running` would do; change nothing."""
        if self.snapshot().image_id(spec.image) is None:
            self.changed()  # it may have been built or pulled since the listing
        return decide(self.snapshot(), spec, service, generation)

    def running(self, spec: Spec, service: str, generation: Generation | None = None) -> Plan:
        """Make a container run as wanted; return what was done.

        :raises SalternError: It did not come up, or something is missing on the host.
        """
        plan = self.plan(spec, service, generation)
        if plan.action is Action.NOTHING:
            return plan
        with self._changing(spec.name):
            self._on_purpose(spec.name, down=False)
            plan = self.plan(spec, service, generation)
            replacement = self._replacement(spec)
            if plan.repair:
                replacement.repair(plan.repair, plan.matches)
                self.changed()
            todo = self.plan(spec, service, generation)
            if todo.action in (Action.CREATE, Action.REPLACE):
                self._create(replacement, spec, service, generation, todo)
            elif todo.action is Action.CLEAN:
                self.engine.remove(replacement.failed)
            elif todo.action in (Action.RELOAD, Action.START, Action.CHECK):
                if todo.action is Action.RELOAD and generation:
                    self._reload(spec, service, generation)
                make_shared(spec.volumes)
                verdict = replacement.start()
                if not verdict.healthy:
                    logs = verdict.logs or "(it wrote nothing)"
                    raise SalternError(f"{spec.name} {verdict.reason}.\nIts last lines:\n{logs}")
                self.engine.remove(replacement.failed)
        return plan

    def _reload(self, spec: Spec, service: str, generation: Generation) -> None:
        """Let a container read its new configuration; if it cannot, it keeps the old one.

        :raises SalternError: It cannot; the message is what its command said.
        """
        one = self.get(spec.name)
        folder, wanted = Path(one.live), Path(generation["path"])
        _need_config(spec, wanted, service)
        live.fill(folder, wanted)
        try:
            done = self.engine.execute(one.id, list(spec.reload or ()), timeout=spec.deadline)
            said = f"{done.stdout}\n{done.stderr}".strip()
        except TimedOutError:
            done, said = Result(None, "", ""), f"no answer within {spec.deadline} s"
        if done.retcode != 0:
            live.fill(folder, wanted.parent / one.config)
            raise SalternError(
                f"{spec.name} cannot read its new configuration and goes on with the old one: {said}"
            )
        live.confirm(folder, generation["digest"])

    def absent(self, name: str, volumes: bool = False) -> list[str]:
        """Stop and remove a container and what a replacement has left of it; return their names.

        What a container has started on the host and would outlive it is ended first: its teardown.

        :param volumes: Its named volumes go, too, unless another container uses them.
        """
        removed, named = [], set()
        with self._changing(name):
            self._on_purpose(name, down=True)
            for one in self.snapshot().containers.values():
                if one.name != name:
                    continue
                if one.state == "running" and one.spec.get("teardown"):
                    self._tear_down(one)
                if one.state in _UP:
                    self.engine.stop(one.id)
                self.engine.remove(one.id)
                removed.append(one.full_name)
                named.update(dockerapi.named_volumes(one.spec, self.prefix))
            for volume in sorted(named if volumes else ()):
                try:
                    self.engine.remove_volume(volume)
                except (ConflictError, NotFoundError):
                    continue  # another container uses it, or nothing was ever written
                removed.append(volume)
        return removed

    def _tear_down(self, one: Container) -> None:
        done = self.engine.execute(one.id, one.spec["teardown"], timeout=_TEARDOWN)
        if done.retcode:
            said = (done.stdout + done.stderr).strip()
            raise SalternError(f"{one.name}: its teardown failed, nothing was removed: {said}")

    def remove_failed(self, name: str) -> bool:
        """Remove the container that a failed replacement has kept; return whether there was one."""
        with self._changing(name):
            one = self.snapshot().get(name, "failed")
            if one:
                self.engine.remove(one.id)
        return bool(one)

    def stopped(self, name: str) -> bool:
        """Stop a container, which stays, and one that a killed replacement has left beside it; return whether it ran."""
        both = [self.snapshot().get(name), self.snapshot().get(name, actual.NEXT)]
        running = [one for one in both if one and one.state in _UP]
        if any(both):
            with self._changing(name):
                # Also of one that has died: nobody is to start it.
                self._on_purpose(name, down=True)
                for one in running:
                    self.engine.stop(one.id)
        return bool(running)

    def started(self, name: str, deadline: float, restart: bool = False, wait: bool = True) -> None:
        """Start a container as it is, or stop and start it, and wait for its health.

        :raises SalternError: It did not come up.
        """
        with self._changing(name):
            one = self.get(name)
            self._on_purpose(name, down=False)
            if restart:
                self.engine.stop(one.id)
            since = None if one.state == "running" and not restart else time.time()
            self.engine.start(one.id)
            if not wait:
                return
            verdict = gate(self.engine, one.id, deadline, since)
        if not verdict.healthy:
            raise SalternError(f"{name} {verdict.reason}.\nIts last lines:\n{verdict.logs}")

    def run(
        self,
        spec: Spec,
        service: str,
        generation: Generation | None = None,
        stdin: bytes | None = None,
        timeout: float = 600,
    ) -> Result:
        """Run a container to its end and remove it; return its exit code and output.

        A container of that name that an interrupted run has left is waited for and removed first,
        so that two never do the same work at once (a schema migration).

        :param stdin: Given to its process; it appears neither in argv nor in the environment.
        :param timeout: Seconds; after that it is stopped and the exit code is None.
        """
        spec = replace(spec, restart_policy="no", healthcheck=_NO_CHECK)
        name = self.full_name(spec.name)
        deadline = time.monotonic() + timeout
        with self._changing(spec.name):
            self._wait_for_earlier(name, timeout)
            self._need(spec, service, generation)
            body = self._body(spec, service, generation)
            body["Labels"][dockerapi.LABEL_ONCE] = "true"
            body.update(OpenStdin=stdin is not None, StdinOnce=stdin is not None)
            # The output is read here; a second copy on the disk could keep a secret.
            body["HostConfig"]["LogConfig"] = {"Type": "none", "Config": {}}
            container = self.engine.create(name, body)
            try:
                left = deadline - time.monotonic()
                return self.engine.run_to_end(container, stdin, max(left, 1))
            finally:
                self.engine.remove(container)

    def _on_purpose(self, name: str, down: bool) -> None:
        """Note for remediation whether a container is to be down."""
        if self._locks is None:
            return
        folder = stops.folder(self._locks.parent)
        if down:
            stops.note(folder, self.full_name(name), stops.SALTERN)
        else:
            stops.forget(folder, self.full_name(name))

    @contextmanager
    def _changing(self, name: str) -> Iterator[None]:
        """Hold the container's lock, and see what is there before and after."""
        with locked(self._locks, self.full_name(name)):
            self.changed()
            try:
                yield
            finally:
                self.changed()

    def _wait_for_earlier(self, name: str, timeout: float) -> None:
        try:
            earlier = self.engine.inspect(name)
        except NotFoundError:
            return
        if dockerapi.LABEL_ONCE not in (earlier["Config"]["Labels"] or {}):
            raise SalternError(f"{name} is already used by a long-running container")
        try:
            if earlier["State"]["Running"]:
                self.engine.wait(earlier["Id"], timeout)
        except TimedOutError:
            raise SalternError(
                f"{name} still runs from an earlier, interrupted run: wait for its end or stop it "
                f"(docker stop {name})"
            ) from None
        self.engine.remove(earlier["Id"])

    def _replacement(self, spec: Spec) -> Replacement:
        name = self.full_name(spec.name)
        pair = HandOver(self.engine, spec, self._progress) if spec.places else None
        return Replacement(self.engine, name, spec.deadline, self._progress, spec.stop_when, pair)

    def _create(
        self,
        replacement: Replacement,
        spec: Spec,
        service: str,
        generation: Generation | None,
        todo: Plan,
    ) -> None:
        if todo.action is Action.CREATE:
            replacement.check_place()
        try:
            self._need(spec, service, generation)
        except SalternError:
            replacement.start_old()
            raise
        pair, old = HandOver(self.engine, spec), self.snapshot().get(spec.name)
        beside = pair.can_be_beside(old)
        folder = ""
        if spec.reload and spec.config_dir and generation:
            folder = self._live(spec, generation, old)
        body = self._body(spec, service, generation, pair.place(old, beside), folder)
        if beside:
            replacement.create_beside(body)
        else:
            replacement.create(body)

    def _live(self, spec: Spec, generation: Generation, old: Container | None) -> str:
        """Return the folder of a new container's configuration, filled."""
        wanted = Path(generation["path"])
        folder = live.folder(wanted, spec.name, old.live if old else "")
        live.fill(folder, wanted)
        live.confirm(folder, generation["digest"])
        return str(folder)

    def _need(self, spec: Spec, service: str, generation: Generation | None) -> None:
        """See to what a container needs before it can be created: image, config, volumes."""
        if self.snapshot().image_id(spec.image) is None:
            if not actual.has_registry(spec.image):
                raise SalternError(
                    f"image {spec.image} is not on this host: build it with "
                    "`salt-run image.build` on the master, or name a registry in saltern:images:registry"
                )
            self.engine.pull(spec.image)
        if generation:
            _need_config(spec, Path(generation["path"]), service)
        for volume in dockerapi.named_volumes(spec.normalised(), self.prefix):
            self.engine.create_volume(volume, service, self.prefix)
        make_shared(spec.volumes)

    def _body(
        self,
        spec: Spec,
        service: str,
        generation: Generation | None,
        place: str = "",
        folder: str = "",
    ) -> dict[str, Any]:
        bounding = {"bounding": self.engine.bounding_set()} if spec.privileged else {}
        return dockerapi.to_docker(
            spec,
            service,
            prefix=self.prefix,
            generation=generation,
            place=place,
            live=folder,
            **bounding,
        )


def _need_config(spec: Spec, generation: Path, service: str) -> None:
    if not generation.is_dir():
        raise SalternError(
            f"{spec.name}: the config generation {generation} does not exist: "
            f"write it with `salt-call generation.write {service}`"
        )


def _config(one: Container) -> str:
    """Return the digest of the configuration that a container has read."""
    return (live.digest(Path(one.live)) if one.live else "") or one.config
