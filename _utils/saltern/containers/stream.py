"""Talking to a process in a container: Docker's hijacked connections.

The SDK hands out the raw socket of a hijacked connection after its HTTP reader may already have
buffered the first bytes of the stream, and cannot bound a read in time. So the few requests that
hijack (attach, exec start) are made here. Source: Docker Engine API, ContainerAttach, "stream
format".
"""

from __future__ import annotations

import json
import select
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

_BLOCK = 65536


class TimedOutError(Exception):
    """The stream did not end in time."""


@dataclass
class Output:
    """What a process wrote."""

    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)


class Stream:
    """One hijacked connection: stdin goes in, stdout and stderr come out.

    :param path: Docker's unix socket.
    :param url: Path and query of the request.
    :param body: JSON body of the request.
    :param timeout: Seconds to wait for Docker's answer.
    :raises OSError: Docker does not answer or refuses; the text is Docker's message.
    """

    def __init__(self, path: str, url: str, body: dict[str, Any] | None, timeout: float) -> None:
        self.output = Output()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(timeout)
            self._socket.connect(path)
            self._socket.sendall(_request(url, body))
            self._pending = bytearray(self._read_head())
        except BaseException:
            self._socket.close()
            raise

    def exchange(self, stdin: bytes | None, timeout: float) -> Output:
        """Write `stdin`, close it, and read until the process has closed its output.

        :raises TimedOutError: That took longer than `timeout` seconds; `output` holds what came.
        """
        deadline = time.monotonic() + timeout
        unsent = memoryview(stdin or b"")
        self._socket.setblocking(False)
        poll = select.poll()
        poll.register(self._socket, select.POLLIN | (select.POLLOUT if unsent else 0))
        if stdin == b"":
            self._close_stdin()
        try:
            while True:
                self._demultiplex()
                left = deadline - time.monotonic()
                ready = poll.poll(max(left, 0) * 1000)
                if not ready:
                    raise TimedOutError
                events = ready[0][1]
                if unsent and events & select.POLLOUT:
                    unsent = self._send(unsent)
                    if not unsent:
                        self._close_stdin()
                        poll.modify(self._socket, select.POLLIN)
                if events & (select.POLLIN | select.POLLHUP | select.POLLERR):
                    block = self._receive()
                    if block == b"":
                        self._demultiplex()
                        return self.output
                    self._pending += block or b""
        finally:
            self._socket.close()

    def _send(self, unsent: memoryview) -> memoryview:
        try:
            return unsent[self._socket.send(unsent[:_BLOCK]) :]
        except BlockingIOError:
            return unsent
        except (BrokenPipeError, ConnectionResetError):
            return unsent[:0]  # the process does not want the rest

    def _receive(self) -> bytes | None:
        try:
            return self._socket.recv(_BLOCK)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            return b""

    def _close_stdin(self) -> None:
        with suppress(OSError):  # the process may be gone already
            self._socket.shutdown(socket.SHUT_WR)

    def _demultiplex(self) -> None:
        """Move complete frames from the buffer to the output: 1 byte stream, 3 unused, 4 length."""
        while len(self._pending) >= 8:
            end = 8 + int.from_bytes(self._pending[4:8], "big")
            if len(self._pending) < end:
                return
            target = self.output.stderr if self._pending[0] == 2 else self.output.stdout
            target += self._pending[8:end]
            del self._pending[:end]

    def _read_head(self) -> bytes:
        """Read the answer's head; return what already came of the stream."""
        head = b""
        while b"\r\n\r\n" not in head:
            block = self._socket.recv(_BLOCK)
            if not block:
                raise OSError("Docker closed the connection")
            head += block
        head, _, rest = head.partition(b"\r\n\r\n")
        status = int(head.split(None, 2)[1])
        if status in (101, 200):
            return rest
        length = next(
            (
                int(line.split(b":")[1])
                for line in head.lower().splitlines()
                if line.startswith(b"content-length")
            ),
            0,
        )
        while len(rest) < length:
            rest += self._socket.recv(_BLOCK)
        try:
            message = json.loads(rest)["message"]
        except (ValueError, KeyError):
            message = rest.decode(errors="replace") or f"HTTP status {status}"
        raise OSError(message)


def _request(url: str, body: dict[str, Any] | None) -> bytes:
    content = json.dumps(body).encode() if body is not None else b""
    head = (
        f"POST {url} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content
