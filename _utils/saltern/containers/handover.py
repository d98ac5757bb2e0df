"""From a container to its successor beside it: the balancers move first, and the old one ends idle.

What has two places (ports, sockets) can run twice. Nothing is lost then, as no request is on its way to
a server that stops: HAProxy counts a request to a server that listens and does not answer as failed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from saltern.containers import balancer
from saltern.containers.actual import Container
from saltern.containers.balancer import Server
from saltern.containers.dockerapi import LABEL_PLACE
from saltern.containers.engine import Engine
from saltern.containers.spec import Spec
from saltern.errors import SalternError

_EVERY = 0.5
# Seconds for balancers to see that a server is well which has just come up.
_SEEN = 30
# What balancers say, by their address.
_Answers = Mapping[str, balancer.Servers]


class HandOver:
    """Lets the container beside another one take its work.

    :param engine: Docker.
    :param spec: The wanted container.
    :param progress: Told the name of each step when it is done.
    """

    def __init__(
        self, engine: Engine, spec: Spec, progress: Callable[[str], None] = lambda step: None
    ) -> None:
        self._engine = engine
        self._spec = spec
        self._done = progress
        # Balancers that have answered: one that falls silent may go on as it was.
        self._heard: set[str] = set()

    def can_be_beside(self, old: Container | None) -> bool:
        """Return whether a container can run beside the old one: all balancers know both places.

        Waits until they use the old one, if it is well: those that see no good server try both, also one
        that listens before it can answer.
        """
        if not old or old.state != "running" or old.place not in (self._spec.places or ()):
            return False
        told = self._spec.balancer
        if not told:
            return True
        known = [set(servers) for servers in self._ask().values()]
        if not known or not all(one.issuperset(told["servers"]) for one in known):
            return False
        if old.health != "unhealthy":
            self._wait(_SEEN, lambda: self._wrong(old.full_name, Server.is_used, "does not use it"))
        return True

    def place(self, old: Container | None, beside: bool) -> str:
        """Return the place of a new container; empty if it knows none.

        :param beside: It runs beside the old one. If not, balancers may know the first place only.
        """
        places = self._spec.places
        if not places:
            return ""
        free = [one for one in places if not old or one != old.place]
        return free[0] if beside or not self._spec.balancer else places[0]

    def run(self, new: str, old: str) -> str:
        """Wait until the new container gets what comes, and the old one has done what it has.

        :param new: Name of a healthy container.
        :param old: Name of the one that is to stop.
        :returns: Why the old one may not stop; nothing if it may.
        """
        self._tell(new, self._spec.stay)
        refused = self._wait(
            self._spec.deadline, lambda: self._wrong(new, Server.is_used, "does not use it")
        )
        if refused:
            return refused
        self._done("used")
        # One that ends by itself when it has nothing left to do must not come back.
        self._engine.restart_by(old, "no")
        self._tell(old, self._spec.leave)
        self._done("told to leave")
        refused = self._wait(self._spec.deadline, lambda: self._not_left(new, old))
        if refused:
            return refused
        # What takes longer is cut off.
        self._wait(self._spec.drain, lambda: self._busy(old))
        self._done("left")
        return ""

    def undo(self, old: str) -> None:
        """Let the old container have its work again, running or not."""
        self._engine.restart_by(old, self._spec.restart_policy)
        self._tell(old, self._spec.stay)

    def _wait(self, seconds: float, why_not: Callable[[], str]) -> str:
        """Wait until nothing is in the way any more; return what still is after so many seconds."""
        end = time.monotonic() + seconds
        while (found := why_not()) and time.monotonic() < end:
            time.sleep(_EVERY)
        return found

    def _not_left(self, new: str, old: str) -> str:
        """Return which balancers still use the old container or not the new one; nothing if none."""
        if not self._spec.balancer or not self._runs(old):
            return ""
        lost = self._wrong(new, Server.is_up, "does not use it any more")
        return lost or self._wrong(old, lambda one: not one.is_up(), "still uses the old one")

    def _busy(self, old: str) -> str:
        """Return why the old container should go on for a while; nothing if it has nothing to do."""
        if not self._runs(old):
            return ""
        if not self._spec.balancer:
            # One that was told to leave ends by itself; another one does at a stop.
            return "it runs" if self._spec.leave else ""
        return self._wrong(old, lambda one: not one.sessions, "waits for it")

    def _wrong(self, container: str, right: Callable[[Server], bool], what: str) -> str:
        """Return which balancers do not see a container as they should; nothing if all do."""
        answers, server = self._ask(), self._server(container)
        seen = {host: one[server] for host, one in answers.items() if server in one}
        wrong = [
            f"{host}: {one.status}, {one.check}" for host, one in seen.items() if not right(one)
        ]
        wrong += [f"{host}: no answer any more" for host in sorted(self._heard - answers.keys())]
        return f"is healthy, but HAProxy {what} ({'; '.join(wrong)})" if wrong else ""

    def _runs(self, container: str) -> bool:
        return self._engine.inspect(container)["State"]["Running"]

    def _ask(self) -> _Answers:
        told = self._spec.balancer
        answers = balancer.ask(told["urls"], told["backend"], told["source"]) if told else {}
        self._heard.update(answers)
        return answers

    def _server(self, container: str) -> str:
        """Return the name that balancers have for a container: that of its place."""
        place = self._engine.inspect(container)["Config"]["Labels"].get(LABEL_PLACE)
        places, told = self._spec.places or (), self._spec.balancer
        return told["servers"][places.index(place)] if told and place in places else ""

    def _tell(self, container: str, command: tuple[str, ...] | None) -> None:
        """Run a command in a container; one that cannot is stopped without."""
        if not command:
            return
        try:
            self._engine.execute(container, list(command))
        except SalternError:
            return
