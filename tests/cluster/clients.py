"""Clients that write and read all the time and remember what was acknowledged."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pika
import pika.exceptions
import pymysql
import requests

# Seconds a client waits for an answer of the database, of an API, between two writes, and between two tries after
# a failure. Without a pause the clients would need more of this machine than the hosts.
_PATIENCE = 3
_API_PATIENCE = 10
_PAUSE = 0.05
_AGAIN = 0.1
_FAILURES = (OSError, pymysql.Error, requests.RequestException, pika.exceptions.AMQPError)

# It tells every connection that a fault ends, at length.
logging.getLogger("pika").setLevel(logging.CRITICAL)


class Client(threading.Thread):
    """Writes something new, reads it back, and so on until :meth:`stop`.

    :ivar acknowledged: What the cloud has confirmed to have written.
    :ivar stale: What was confirmed and then not to be read.
    :ivar outage: Seconds of the longest time without a confirmed write.
    :ivar errors: Texts of the failures between.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.acknowledged: list[Any] = []
        self.stale: list[Any] = []
        self.errors: list[str] = []
        self.outage = 0.0
        self._end = threading.Event()

    def run(self) -> None:
        """Work until :meth:`stop`."""
        last = time.monotonic()
        number = 0
        while not self._end.is_set():
            number += 1
            try:
                written = self.write(number)
                now = time.monotonic()
                self.outage, last = max(self.outage, now - last), now
                self.acknowledged.append(written)
                if not self.reads(written):
                    self.stale.append(written)
                self._end.wait(_PAUSE)
            except _FAILURES as error:
                self.errors.append(f"{type(error).__name__}: {error}")
                self.forget()
                self._end.wait(_AGAIN)
        self.outage = max(self.outage, time.monotonic() - last)

    def stop(self) -> None:
        """End after the write under way."""
        self._end.set()
        self.join()

    def waits_for(self, more: int, until: Callable[..., Any]) -> None:
        """Wait until some more writes have been acknowledged."""
        wanted = len(self.acknowledged) + more
        until(lambda: len(self.acknowledged) >= wanted, f"{more} more writes")

    def write(self, number: int) -> Any:
        """Write something new and return by what it can be read."""
        raise NotImplementedError

    def reads(self, written: Any) -> bool:
        """Return whether what was written is there."""
        raise NotImplementedError

    def forget(self) -> None:
        """Forget the connection."""

    def lost(self) -> list[Any]:
        """Return what was acknowledged and is not there any more."""
        raise NotImplementedError


class Database(Client):
    """Adds rows to a table of its own, ``written`` in the database ``ha``.

    :param host: The virtual address.
    """

    def __init__(self, host: str, user: str, password: str) -> None:
        super().__init__()
        self._where = {"host": host, "user": user, "password": password, "database": "ha"}
        self._connection: Any = None
        self._do("CREATE OR REPLACE TABLE written (n INT PRIMARY KEY)")

    def write(self, number: int) -> int:
        """Insert a row."""
        self._do(f"INSERT INTO written VALUES ({number})")
        return number

    def reads(self, written: int) -> bool:
        """Return whether the row is there, asked by a connection of its own as another process would."""
        with self._connect() as other, other.cursor() as cursor:
            return bool(cursor.execute(f"SELECT n FROM written WHERE n = {written}"))

    def forget(self) -> None:
        """Open a new connection for the next statement."""
        self._connection = None

    def lost(self) -> list[int]:
        """Return the rows that are missing."""
        with self._connect() as other, other.cursor() as cursor:
            cursor.execute("SELECT n FROM written")
            return sorted({*self.acknowledged} - {row[0] for row in cursor.fetchall()})

    def _do(self, statement: str) -> None:
        self._connection = self._connection or self._connect()
        with self._connection.cursor() as cursor:
            cursor.execute(statement)

    def _connect(self) -> Any:
        patience = dict.fromkeys(("connect_timeout", "read_timeout", "write_timeout"), _PATIENCE)
        return pymysql.connect(autocommit=True, **self._where, **patience)


class Line:
    """A connection to whichever broker answers, the first ones first."""

    def __init__(self, hosts: Iterable[str], user: str, password: str) -> None:
        # A silent broker is given up after two heartbeats.
        patience = {"heartbeat": _PATIENCE, "socket_timeout": _PATIENCE}
        login = pika.PlainCredentials(user, password)
        self._brokers = [
            pika.ConnectionParameters(host, credentials=login, **patience) for host in hosts
        ]
        self._connection: Any = None
        self._channel: Any = None

    def open(self, *queues: str) -> Any:
        """Return the channel; a new one confirms messages and has declared these quorum queues."""
        if not self._connection:
            self._connection = pika.BlockingConnection(self._brokers)
            self._channel = self._connection.channel()
            self._channel.confirm_delivery()
            for queue in queues:
                arguments = {"x-queue-type": "quorum"}
                self._channel.queue_declare(queue, durable=True, arguments=arguments)
        return self._channel

    def close(self) -> None:
        """Close the connection; the next use opens another one."""
        connection, self._connection = self._connection, None
        with contextlib.suppress(*_FAILURES):
            if connection:
                connection.close()


class Broker(Client):
    """Publishes to a durable quorum queue by whichever broker answers, as OpenStack's services do.

    :param hosts: Addresses of the brokers.
    """

    QUEUE = "ha.written"

    def __init__(self, hosts: Sequence[str], user: str, password: str) -> None:
        super().__init__()
        self._line = Line(hosts, user, password)
        self._line.open().queue_delete(self.QUEUE)
        self.forget()

    def write(self, number: int) -> int:
        """Publish a message; returns once a majority of the brokers have it on disk."""
        kept = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent)
        self._line.open(self.QUEUE).basic_publish(
            "", self.QUEUE, str(number).encode(), kept, mandatory=True
        )
        return number

    def reads(self, written: int) -> bool:
        """A message is read once: at the end."""
        return True

    def forget(self) -> None:
        """Open a new connection for the next message."""
        self._line.close()

    def lost(self) -> list[int]:
        """Return the messages that the queue does not have, and empty it."""
        found = set()
        self.forget()
        channel = self._line.open(self.QUEUE)
        # Confirmed as they are sent: else a queue gives out some thousands and waits.
        messages = channel.consume(self.QUEUE, auto_ack=True, inactivity_timeout=_PATIENCE)
        for method, _, body in messages:
            if method is None:
                break
            found.add(int(body))
        channel.cancel()
        channel.queue_delete(self.QUEUE)
        self.forget()
        return sorted({*self.acknowledged} - found)


class Calls(Client):
    """Asks a service of its own by a quorum queue and waits for its reply: an RPC between two of OpenStack's.

    Each prefers another broker, the service the first host's and this client the last one's.

    :param hosts: Addresses of the brokers.
    """

    REQUESTS = "ha.requests"

    def __init__(self, hosts: Sequence[str], user: str, password: str) -> None:
        super().__init__()
        self._asking = Line(reversed(hosts), user, password)
        self._answering = Line(hosts, user, password)
        self._replies = f"ha.reply_{time.time_ns()}"
        threading.Thread(target=self._serve, daemon=True).start()

    def write(self, number: int) -> int:
        """Ask, and return once the reply is there."""
        channel = self._asking.open(self.REQUESTS, self._replies)
        asked = pika.BasicProperties(reply_to=self._replies, correlation_id=str(number))
        channel.basic_publish("", self.REQUESTS, b"?", asked, mandatory=True)
        for _, reply, _ in channel.consume(
            self._replies, auto_ack=True, inactivity_timeout=_PATIENCE
        ):
            if reply is None:
                raise TimeoutError("no reply")
            if reply.correlation_id == str(number):
                return number
        raise TimeoutError("no queue of replies")

    def reads(self, written: int) -> bool:
        """A reply is read once."""
        return True

    def forget(self) -> None:
        """Open a new connection for the next request."""
        self._asking.close()

    def lost(self) -> list[int]:
        """Return nothing: what was replied to is done."""
        return []

    def _serve(self) -> None:
        while not self._end.is_set():
            try:
                channel = self._answering.open(self.REQUESTS)
                requests = channel.consume(self.REQUESTS, inactivity_timeout=1)
                for method, request, _ in requests:
                    if self._end.is_set():
                        break
                    if method is None:
                        continue
                    channel.basic_ack(method.delivery_tag)
                    reply = pika.BasicProperties(correlation_id=request.correlation_id)
                    channel.basic_publish("", request.reply_to, b"!", reply)
            except _FAILURES:
                self._answering.close()
                self._end.wait(_AGAIN)


class Ports(Client):
    """Adds ports to a logical switch in OVN's northbound database, with Neutron's library and its settings.

    One is there once northd has brought it into the southbound database, from where hosts get it.

    :param run: Command that runs Python with that library in the cloud's network.
    :param hosts: Addresses of the databases.
    :param probe: Milliseconds after which a silent database is given up.
    """

    _PROGRAM = """
import sys, time
from ovsdbapp.backend.ovs_idl import connection
from ovsdbapp.schema.ovn_northbound import impl_idl as northbound
from ovsdbapp.schema.ovn_southbound import impl_idl as southbound
def connect(schema, port):
    servers = ",".join(f"tcp:{host}:{port}" for host in sys.argv[2:])
    idl = connection.OvsdbIdl.from_server(servers, schema, probe_interval=int(sys.argv[1]))
    return connection.Connection(idl, 180)
def bound(name):
    found = sb.db_find("Port_Binding", ("logical_port", "=", name), columns=["logical_port"])
    for _ in range(50):
        if found.execute(check_error=True):
            return True
        time.sleep(0.1)
    return False
nb = northbound.OvnNbApiIdlImpl(connect("OVN_Northbound", 6641))
sb = southbound.OvnSbApiIdlImpl(connect("OVN_Southbound", 6642))
nb.ls_add("ha", may_exist=True).execute(check_error=True)
for line in sys.stdin:
    try:
        if line.strip() == "list":
            found = [port.name for port in nb.lsp_list("ha").execute(check_error=True)]
            nb.ls_del("ha").execute(check_error=True)
            print(*found, flush=True)
        else:
            nb.lsp_add("ha", line.strip(), may_exist=True).execute(check_error=True)
            print(line.strip() if bound(line.strip()) else "failed: not bound", flush=True)
    except Exception as error:
        print("failed", repr(error), flush=True)
"""

    def __init__(self, run: Sequence[str], hosts: Sequence[str], probe: int) -> None:
        super().__init__()
        pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._neutron = subprocess.Popen([*run, "-c", self._PROGRAM, str(probe), *hosts], **pipe)

    def write(self, number: int) -> str:
        """Add a port."""
        name = self._ask(f"ha-{number}")
        # It needs a processor that the databases would need, too.
        self._end.wait(0.3)
        return name

    def reads(self, written: str) -> bool:
        """All are read at the end."""
        return True

    def lost(self) -> list[str]:
        """Return the ports that are missing, and remove the switch."""
        found = self._ask("list").split()
        self._neutron.stdin.close()
        self._neutron.wait()
        return sorted({*self.acknowledged} - {*found})

    def _ask(self, line: str) -> str:
        self._neutron.stdin.write(f"{line}\n")
        self._neutron.stdin.flush()
        answer = self._neutron.stdout.readline().strip()
        if not answer or answer.startswith("failed"):
            raise OSError(answer or "the program has ended")
        return answer


class Identity(Client):
    """Makes projects in Keystone, in a domain of its own.

    :param url: Keystone's, through the virtual address.
    """

    def __init__(self, url: str, password: str) -> None:
        super().__init__()
        self._url = f"{url}/v3"
        domain = {"id": "default"}
        user = {"name": "admin", "domain": domain, "password": password}
        self._login = {
            "auth": {
                "identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": {"name": "admin", "domain": domain}},
            }
        }
        self._token = ""
        own = {"domain": {"name": f"ha-{time.time_ns()}"}}
        self._domain = self._ask("POST", "/domains", own)["domain"]["id"]

    def write(self, number: int) -> str:
        """Make a project."""
        project = {"name": f"ha-{time.time_ns()}-{number}", "domain_id": self._domain}
        return self._ask("POST", "/projects", {"project": project})["project"]["id"]

    def reads(self, written: str) -> bool:
        """Return whether the project is there."""
        answer = self._call("GET", f"/projects/{written}")
        if answer.status_code != 404:
            answer.raise_for_status()
        return answer.status_code == 200

    def lost(self) -> list[str]:
        """Return the projects that are missing."""
        there = self._ask("GET", f"/projects?domain_id={self._domain}")["projects"]
        return sorted({*self.acknowledged} - {project["id"] for project in there})

    def _ask(self, verb: str, path: str, body: Any = None) -> Any:
        answer = self._call(verb, path, body)
        answer.raise_for_status()
        return answer.json()

    def _call(self, verb: str, path: str, body: Any = None) -> requests.Response:
        if not self._token:
            answer = requests.post(
                f"{self._url}/auth/tokens", json=self._login, timeout=_API_PATIENCE
            )
            answer.raise_for_status()
            self._token = answer.headers["X-Subject-Token"]
        headers = {"X-Auth-Token": self._token}
        url = self._url + path
        return requests.request(verb, url, json=body, headers=headers, timeout=_API_PATIENCE)
