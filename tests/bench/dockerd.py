"""A stand-in for dockerd: its API on many unix sockets, one host's containers behind each.

It answers what ``_utils/saltern/containers`` and the Docker SDK ask and keeps each host's state, but runs
nothing: a started container is healthy, a one-shot one has ended well. A benchmark of a hundred hosts
cannot have a hundred Docker daemons on one machine; that is the only use of this file.

    python dockerd.py IMAGES.json < sockets, one a line
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

_ONCE = "saltern.once"
Answer = tuple[int, Any]
# What commands that are run in a container write; nothing, if they do not stand here.
_OUTPUT = {"register": b'{"changes": {}}'}


class RefusedError(Exception):
    """The daemon's own error: an HTTP status and a message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Host:
    """The containers, volumes and images of one host.

    :param images: Names of the images it has.
    """

    def __init__(self, images: list[str]) -> None:
        self.images = {name: _id(name) for name in images}
        self.containers: dict[str, dict[str, Any]] = {}
        self.volumes: dict[str, dict[str, Any]] = {}
        self.commands: dict[str, list[str]] = {}
        self.ended: dict[str, asyncio.Event] = {}
        self._numbers = itertools.count(1)

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Answer:
        """Return the status and the JSON of a request; a path is without its version."""
        for verb, pattern, handle in _ROUTES:
            found = re.fullmatch(pattern, path)
            if verb == method and found:
                return handle(self, *found.groups(), query=query, body=body)
        raise RefusedError(501, f"the stand-in for dockerd does not know {method} {path}")

    def get(self, name: str) -> dict[str, Any]:
        """Return a container by its id or its name."""
        for one in self.containers.values():
            if one["Id"] == name or one["Name"] == f"/{name}":
                return one
        raise RefusedError(404, f"No such container: {name}")

    def version(self, query: Any, body: Any) -> Answer:
        """Answer ``GET /version``."""
        return 200, {"ApiVersion": "1.45", "MinAPIVersion": "1.24", "Version": "26.1.5"}

    def list(self, query: Any, body: Any) -> Answer:
        """Answer ``GET /containers/json``."""
        return 200, [
            {
                "Id": one["Id"],
                "Names": [one["Name"]],
                "Image": one["Config"]["Image"],
                "ImageID": one["Image"],
                "Created": one["Created"],
                "State": one["State"]["Status"],
                "Status": _status(one),
                "Labels": one["Config"]["Labels"],
            }
            for one in self.containers.values()
        ]

    def inspect_image(self, name: str, query: Any, body: Any) -> Answer:
        """Answer ``GET /images/<name>/json``."""
        if name not in self.images:
            raise RefusedError(404, f"No such image: {name}")
        return 200, {"Id": self.images[name]}

    def inspect(self, name: str, query: Any, body: Any) -> Answer:
        """Answer ``GET /containers/<name>/json``."""
        return 200, self.get(name)

    def create(self, query: dict[str, str], body: Any) -> Answer:
        """Answer ``POST /containers/create``."""
        name, image = f"/{query['name']}", body["Image"]
        if any(one["Name"] == name for one in self.containers.values()):
            raise RefusedError(409, f"the name {name} is in use")
        if image not in self.images:
            raise RefusedError(404, f"No such image: {image}")
        id_ = _id(f"{name} {next(self._numbers)}").removeprefix("sha256:")
        state = {"Status": "created", "Running": False, "Restarting": False, "ExitCode": 0}
        self.containers[id_] = {
            "Id": id_,
            "Name": name,
            "Image": self.images[image],
            "Created": int(time.time()),
            "Config": {"Labels": {}, **body},
            "State": {**state, "Paused": False, "OOMKilled": False, "Error": "", "StartedAt": ""},
            "RestartCount": 0,
        }
        self.ended[id_] = asyncio.Event()
        return 201, {"Id": id_, "Warnings": []}

    def start(self, name: str, query: Any, body: Any) -> Answer:
        """Answer ``POST /containers/<name>/start``."""
        one = self.get(name)
        if one["State"]["Running"]:
            return 304, None
        once = _ONCE in one["Config"]["Labels"]
        one["State"].update(Status="exited" if once else "running", Running=not once)
        if once:
            self.ended[one["Id"]].set()
        return 204, None

    def stop(self, name: str, query: Any, body: Any) -> Answer:
        """Answer ``POST /containers/<name>/stop``."""
        one = self.get(name)
        one["State"].update(Status="exited", Running=False)
        return 204, None

    def rename(self, name: str, query: dict[str, str], body: Any) -> Answer:
        """Answer ``POST /containers/<name>/rename``."""
        self.get(name)["Name"] = f"/{query['name']}"
        return 204, None

    def remove(self, name: str, query: Any, body: Any) -> Answer:
        """Answer ``DELETE /containers/<name>``."""
        del self.containers[self.get(name)["Id"]]
        return 204, None

    def list_volumes(self, query: Any, body: Any) -> Answer:
        """Answer ``GET /volumes``."""
        return 200, {"Volumes": list(self.volumes.values())}

    def create_volume(self, query: Any, body: Any) -> Answer:
        """Answer ``POST /volumes/create``."""
        mountpoint = f"/var/lib/docker/volumes/{body['Name']}/_data"
        self.volumes.setdefault(body["Name"], {**body, "Mountpoint": mountpoint})
        return 201, self.volumes[body["Name"]]

    def create_exec(self, name: str, query: Any, body: Any) -> Answer:
        """Answer ``POST /containers/<name>/exec``."""
        self.get(name)
        id_ = str(next(self._numbers))
        self.commands[id_] = body["Cmd"]
        return 201, {"Id": id_}

    def inspect_exec(self, id_: str, query: Any, body: Any) -> Answer:
        """Answer ``GET /exec/<id>/json``, the last question about it."""
        self.commands.pop(id_)
        return 200, {"ExitCode": 0, "Running": False}

    def wait(self, name: str, query: Any, body: Any) -> Answer:
        """Answer ``POST /containers/<name>/wait``: only what has ended is waited for."""
        self.get(name)
        return 200, {"StatusCode": 0}


_ROUTES: list[tuple[str, str, Callable[..., Answer]]] = [
    ("GET", "/version", Host.version),
    ("GET", "/containers/json", Host.list),
    ("GET", "/images/(.+)/json", Host.inspect_image),
    ("GET", "/containers/([^/]+)/json", Host.inspect),
    ("POST", "/containers/create", Host.create),
    ("POST", "/containers/([^/]+)/start", Host.start),
    ("POST", "/containers/([^/]+)/stop", Host.stop),
    ("POST", "/containers/([^/]+)/rename", Host.rename),
    ("POST", "/containers/([^/]+)/wait", Host.wait),
    ("DELETE", "/containers/([^/]+)", Host.remove),
    ("GET", "/volumes", Host.list_volumes),
    ("POST", "/volumes/create", Host.create_volume),
    ("POST", "/containers/([^/]+)/exec", Host.create_exec),
    ("GET", "/exec/([^/]+)/json", Host.inspect_exec),
]


def _id(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _status(one: dict[str, Any]) -> str:
    if not one["State"]["Running"]:
        return one["State"]["Status"].capitalize()
    return "Up 2 hours (healthy)" if "Healthcheck" in one["Config"] else "Up 2 hours"


async def serve(host: Host, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            first, *rest = head.decode().splitlines()
            method, target, _ = first.split()
            headers = dict(line.lower().split(": ", 1) for line in rest if ": " in line)
            content = await reader.readexactly(int(headers.get("content-length", 0)))
            url = urlsplit(target)
            path = re.sub(r"^/v[\d.]+", "", url.path)
            if method == "POST" and re.fullmatch("/exec/.*/start|/containers/.*/attach", path):
                await _hijacked(host, path, reader, writer)
                return
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            try:
                answer = host.answer(method, path, query, json.loads(content or "null"))
            except RefusedError as refused:
                answer = refused.status, {"message": str(refused)}
            writer.write(_response(*answer))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def _hijacked(
    host: Host, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Give a process's output on a connection that is the process's from now on."""
    _, kind, name, _ = path.split("/")
    writer.write(
        b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        b"Content-Type: application/vnd.docker.raw-stream\r\n\r\n"
    )
    if kind == "containers":
        await host.ended[host.get(name)["Id"]].wait()
        return
    output = _OUTPUT.get(host.commands[name][0], b"")
    if output:
        await reader.read()
        writer.write(b"\x01\0\0\0" + len(output).to_bytes(4, "big") + output)
    await writer.drain()


def _response(status: int, data: Any) -> bytes:
    content = b"" if data is None else json.dumps(data).encode()
    head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\n"
    # 304 and 204 have no content by definition.
    length = "" if status in (204, 304) else f"Content-Length: {len(content)}\r\n"
    return f"{head}{length}\r\n".encode() + content


async def main() -> None:
    """Open a socket for each line of standard input; end with it."""
    images = json.loads(Path(sys.argv[1]).read_text())
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    servers = []
    while line := await lines.readline():
        host = Host(images)

        async def answer(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: Host = host
        ) -> None:
            await serve(host, reader, writer)

        servers.append(await asyncio.start_unix_server(answer, line.decode().strip()))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
