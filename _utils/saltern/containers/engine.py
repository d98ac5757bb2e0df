"""The Docker daemon of this host: the few calls that Saltern makes, with errors for people."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

try:
    import docker
    import docker.errors
    import requests.exceptions
except ImportError:  # told when somebody wants a container, not when Salt loads its modules
    docker = None

from saltern.containers.dockerapi import LABEL_PREFIX, LABEL_SERVICE, bounding_set, restart_policy
from saltern.containers.stream import Output, Stream, TimedOutError
from saltern.errors import SalternError

_SOCKET = "/var/run/docker.sock"
_PID_FILES = ("/var/run/docker.pid", "/run/docker.pid")
# Seconds for an API call that does not wait for a container.
_CALL_TIMEOUT = 60
# What Docker says when containerd still holds the process of a container that Docker takes for stopped, as after a
# crash of both; it ends by itself once that process has ended.
_STALE = re.compile(r"task \S+ already exists|id already in use")
# Seconds for that.
_STALE_TIMEOUT = 30
# Events that say that a container or an image may not be as it was.
_EVENTS = [
    *("create", "start", "die", "kill", "stop", "oom", "pause", "unpause", "rename", "update"),
    *("destroy", "health_status", "delete", "untag"),
]


class NotFoundError(SalternError):
    """The container, image or volume does not exist."""


class ConflictError(SalternError):
    """Docker refuses because of the object's state: name taken, volume in use, not running."""


@dataclass(frozen=True)
class Result:
    """How a process in a container ended.

    :ivar retcode: Exit code; None if it was not waited for until its end.
    """

    retcode: int | None
    stdout: str
    stderr: str


class Engine:
    """A connection to the Docker daemon.

    :param url: Docker's unix socket; default: ``DOCKER_HOST`` or Docker's own default.
    :raises SalternError: The daemon does not answer.
    """

    def __init__(self, url: str | None = None) -> None:
        if docker is None:
            raise SalternError(
                "the Python package docker is missing in Salt's Python: install it with pip"
            )
        url = url or os.environ.get("DOCKER_HOST") or f"unix://{_SOCKET}"
        if not url.startswith("unix://"):
            raise SalternError(
                f"Docker at {url}: only the host's own daemon (unix://...) is managed"
            )
        self._path = "/" + url.removeprefix("unix://").lstrip("/")
        with self._errors():
            self._api = docker.APIClient(base_url=url, version="auto", timeout=_CALL_TIMEOUT)

    # -- what is there -------------------------------------------------------------------------

    def containers(self) -> list[dict[str, Any]]:
        """Return every container of Saltern, in the words of ``GET /containers/json``."""
        with self._errors():
            return self._api.containers(all=True, filters={"label": LABEL_SERVICE})

    def image_id(self, name: str) -> str | None:
        """Return the id of an image, None if it is not here.

        A listing of all would read each from the disk, a builder's layers too: half a second for 850.

        :param name: Its name, its digest or its id.
        """
        try:
            with self._errors():
                return self._api.inspect_image(name)["Id"]
        except NotFoundError:
            return None

    def image_usage(self) -> tuple[list[dict[str, Any]], set[str]]:
        """Return all images in the words of ``GET /system/df``, and the ids of those of any container."""
        with self._errors():
            used = {one["ImageID"] for one in self._api.containers(all=True)}
            return self._api.df()["Images"] or [], used

    def image_bytes(self) -> int:
        """Return how much room all images take, each layer once."""
        with self._errors():
            return self._api.df()["LayersSize"]

    def remove_image(self, name: str) -> None:
        """Remove a name of an image, and the image with its last one.

        :raises ConflictError: A container or another image needs it.
        """
        with self._errors():
            self._api.remove_image(name)

    def root(self) -> str:
        """Return the folder in which Docker keeps images, volumes and logs."""
        with self._errors():
            return self._api.info()["DockerRootDir"]

    def inspect(self, container: str) -> dict[str, Any]:
        """Return all of one container."""
        with self._errors():
            return self._api.inspect_container(container)

    def exists(self, container: str) -> bool:
        """Return whether a container of that name or id exists, of Saltern or not."""
        try:
            self.inspect(container)
        except NotFoundError:
            return False
        return True

    def logs(self, container: str, tail: int, since: int | None = None, times: bool = False) -> str:
        """Return the last `tail` lines that a container wrote."""
        with self._errors():
            raw = self._api.logs(container, tail=tail, since=since, timestamps=times)
        return raw.decode(errors="replace")

    def deaths(self, container: str, since: float) -> list[dict[str, str]]:
        """Return the attributes of every `die` and `oom` event of a container, oldest first."""
        filters = {"container": container, "event": ["die", "oom"]}
        with self._errors():
            events = list(
                self._api.events(
                    since=int(since), until=int(time.time()) + 1, filters=filters, decode=True
                )
            )
        return [{"event": one["Action"], **one["Actor"]["Attributes"]} for one in events]

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield what happens to containers and images from now on, until the connection ends.

        What was missed is nowhere: Docker keeps the last 256 events, most of them of health checks.
        """
        filters = {"type": ["container", "image"], "event": _EVENTS}
        with self._errors():
            # Quiet for hours: no timeout.
            self._api.timeout = None
            yield from self._api.events(filters=filters, decode=True)

    def bounding_set(self) -> int:
        """Return the capabilities that the daemon can give, as a bit mask."""
        for pid in daemons():
            with suppress(OSError):
                return bounding_set(Path(f"/proc/{pid}/status").read_text())
        return bounding_set(Path("/proc/self/status").read_text())

    # -- changing containers -------------------------------------------------------------------

    def create(self, name: str, body: Mapping[str, Any]) -> str:
        """Create a container; return its id."""
        with self._errors():
            return self._api.create_container_from_config(dict(body), name)["Id"]

    def start(self, container: str) -> None:
        """Start a container; one that runs stays as it is.

        :raises SalternError: It cannot be started.
        """
        end = time.monotonic() + _STALE_TIMEOUT
        while True:
            try:
                with self._errors():
                    return self._api.start(container)
            except SalternError as error:
                if not _STALE.search(str(error)):
                    raise
                if time.monotonic() > end:
                    raise SalternError(
                        f"{error}: containerd holds a process of it from before a crash of Docker. Restart "
                        "Docker; with live-restore the other containers go on running"
                    ) from error
            time.sleep(0.5)

    def stop(self, container: str) -> None:
        """Stop a container, giving it its own stop timeout; one that is stopped stays so."""
        with self._errors():
            # The SDK would send its own default (10 s) and wait for that long only.
            wait = self._api.inspect_container(container)["Config"].get("StopTimeout") or 10
            self._api.stop(container, timeout=wait)

    def unpause(self, container: str) -> None:
        """Let a paused container go on."""
        with self._errors():
            self._api.unpause(container)

    def restart_by(self, container: str, policy: str) -> None:
        """Give a container another restart policy, in the words of a spec; it goes on as it is."""
        with self._errors():
            self._api.update_container(container, restart_policy=restart_policy(policy))

    def rename(self, container: str, name: str) -> None:
        """Give a container another name."""
        with self._errors():
            self._api.rename(container, name)

    def remove(self, container: str) -> None:
        """Kill and remove a container; volumes stay. One that is gone already is no error."""
        try:
            with self._errors():
                self._api.remove_container(container, force=True)
        except NotFoundError:
            pass

    def pull(self, image: str) -> None:
        """Pull an image from its registry."""
        with self._errors():
            for event in self._api.pull(image, stream=True, decode=True):
                if "error" in event:
                    raise SalternError(f"image {image} cannot be pulled: {event['error']}")

    def digest(self, image: str) -> str:
        """Return what the registry holds under an image's name: the digest of its manifest."""
        with self._errors():
            return self._api.inspect_distribution(image)["Descriptor"]["digest"]

    def tag(self, image: str, name: str) -> None:
        """Give an image one more name, which any other image loses.

        :param name: With a tag.
        """
        repository, _, tag = name.rpartition(":")
        with self._errors():
            self._api.tag(image, repository, tag)

    # -- processes in containers ---------------------------------------------------------------

    def execute(
        self,
        container: str,
        command: list[str],
        *,
        stdin: bytes | None = None,
        user: str | None = None,
        timeout: float = _CALL_TIMEOUT,
    ) -> Result:
        """Run a command in a running container and wait for its end.

        :param stdin: Given to the command; it appears neither in argv nor in the environment.
        :param timeout: Seconds until the result is given up; the command itself goes on.
        :raises TimedOutError: The command took longer.
        """
        with self._errors():
            created = self._api.exec_create(
                container, command, stdin=stdin is not None, user=user or ""
            )
            url = f"/exec/{created['Id']}/start"
            stream = self._stream(url, {"Detach": False, "Tty": False})
            output = stream.exchange(stdin, timeout)
            code = self._api.exec_inspect(created["Id"])["ExitCode"]
        return _result(code, output)

    def run_to_end(self, container: str, stdin: bytes | None, timeout: float) -> Result:
        """Start a created container, give it its input, return how it ended.

        :param timeout: Seconds that the container may take; it is stopped after that.
        """
        query = {"stream": 1, "stdout": 1, "stderr": 1, "stdin": int(stdin is not None)}
        deadline = time.monotonic() + timeout
        stream = self._stream(f"/containers/{container}/attach?{urlencode(query)}", None)
        self.start(container)
        try:
            stream.exchange(stdin, timeout)
            return _result(self.wait(container, deadline - time.monotonic()), stream.output)
        except TimedOutError:
            self.stop(container)
            return _result(None, stream.output)

    def wait(self, container: str, timeout: float) -> int:
        """Wait for a container's end; return its exit code.

        :raises TimedOutError: It still runs after `timeout` seconds.
        """
        with self._errors():
            try:
                return self._api.wait(container, timeout=max(timeout, 1))["StatusCode"]
            except requests.exceptions.Timeout:
                raise TimedOutError from None

    # -- volumes -------------------------------------------------------------------------------

    def volumes(self) -> list[dict[str, Any]]:
        """Return every volume of Saltern."""
        with self._errors():
            found = self._api.volumes(filters={"label": LABEL_SERVICE})
        return found["Volumes"] or []

    def create_volume(self, name: str, service: str, prefix: str) -> None:
        """Create a volume that Saltern can tell from others; an existing one stays as it is."""
        with self._errors():
            self._api.create_volume(name, labels={LABEL_SERVICE: service, LABEL_PREFIX: prefix})

    def remove_volume(self, name: str) -> None:
        """Remove a volume and what it holds."""
        with self._errors():
            self._api.remove_volume(name)

    def _stream(self, url: str, body: dict[str, Any] | None) -> Stream:
        version = self._api.api_version
        with self._errors():
            return Stream(self._path, f"/v{version}{url}", body, _CALL_TIMEOUT)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn the SDK's errors into ones with a remedy."""
        try:
            yield
        except docker.errors.NotFound as error:
            raise NotFoundError(f"Docker: {error.explanation}") from error
        except docker.errors.APIError as error:
            kind = ConflictError if error.status_code == 409 else SalternError
            raise kind(f"Docker: {error.explanation or error}") from error
        except requests.exceptions.Timeout as error:
            raise SalternError(f"Docker on {self._path} did not answer in time") from error
        except (requests.exceptions.ConnectionError, docker.errors.DockerException) as error:
            raise SalternError(
                f"Docker does not answer on {self._path}: is it installed and does dockerd run? "
                "(systemctl status docker)"
            ) from error
        except OSError as error:
            raise SalternError(f"Docker: {error}") from error


def daemons() -> Iterator[int]:
    """Yield what files say is the process id of this host's dockerd."""
    for name in _PID_FILES:
        try:
            pid = int(Path(name).read_text())
        except (OSError, ValueError):
            continue
        yield pid


def _result(code: int | None, output: Output) -> Result:
    return Result(
        code, output.stdout.decode(errors="replace"), output.stderr.decode(errors="replace")
    )
