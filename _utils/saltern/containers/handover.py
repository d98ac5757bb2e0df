"""From a container to its successor beside it: the balancers move first, and the old one ends idle.

What has two places (ports, sockets) can run twice. Nothing is lost then, as no request is on its way to
a server that stops: HAProxy counts a request to a server that listens and does not answer as failed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from saltern.containers import balancer
from saltern.containers.actual import Container
from saltern.containers.dockerapi import LABEL_PLACE
from saltern.containers.engine import Engine
from saltern.containers.spec import Spec
from saltern.errors import SalternError

_EVERY = 0.5
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

    def free_place(self, old: Container | None) -> str:
        """Return the place that a container can have beside the old one; nothing if there is none.

        :param old: It must have one of the two, and all balancers must know both.
        """
        places = self._spec.places or ()
        if not old or old.state != "running" or old.place not in places:
            return ""
        if self._spec.balancer:
            known = [set(servers) for servers in self._ask().values()]
            if not known or not all(
                one.issuperset(self._spec.balancer["servers"]) for one in known
            ):
                return ""
        return next(one for one in places if one != old.place)

    def run(self, new: str, old: str) -> str:
        """Wait until the new container gets what comes, and the old one has done what it has.

        :param new: Name of a healthy container.
        :param old: Name of the one that is to stop.
        :returns: Why the old one may not stop; nothing if it may.
        """
        self._tell(new, self._spec.stay)
        end = time.monotonic() + self._spec.deadline
        while refused := self._unused(new, self._ask()):
            if time.monotonic() > end:
                return refused
            time.sleep(_EVERY)
        self._done("used")
        self._tell(old, self._spec.leave)
        self._done("told to leave")
        end = time.monotonic() + self._spec.drain
        while not self._is_idle(new, old):
            if time.monotonic() > end:
                break
            time.sleep(_EVERY)
        refused = self._unused(new, self._ask())
        if not refused:
            self._done("left")
        return refused

    def undo(self, old: str) -> None:
        """Let the old container have its work again."""
        self._tell(old, self._spec.stay)

    def _is_idle(self, new: str, old: str) -> bool:
        if not self._engine.inspect(old)["State"]["Running"]:
            return True
        answers, server = self._ask(), self._server(old)
        if not self._spec.balancer or self._unused(new, answers):
            return False
        return all(one[server].left for one in answers.values() if server in one)

    def _unused(self, container: str, answers: _Answers) -> str:
        """Return which balancers do not use a container and why; nothing if all do."""
        server = self._server(container)
        seen = {host: one[server] for host, one in answers.items() if server in one}
        wrong = [f"{host}: {one.status}, {one.check}" for host, one in seen.items() if not one.used]
        return f"is healthy, but HAProxy does not use it ({'; '.join(wrong)})" if wrong else ""

    def _ask(self) -> _Answers:
        told = self._spec.balancer
        return balancer.ask(told["urls"], told["backend"], told["source"]) if told else {}

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
