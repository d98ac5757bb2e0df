"""The databases of services: each with a user of its own, in MariaDB behind HAProxy."""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from salt.exceptions import CommandExecutionError

from saltern.errors import SalternError
from saltern.host import facts
from saltern.service import scope

try:
    import pymysql

    MISSING = ""
except ImportError:
    MISSING = "PyMySQL is not installed beside the Salt minion: pip install PyMySQL"


Result = TypeVar("Result")

# The server is not there, or went away: 2002 no socket, 2003 refused, 2006 gone, 2013 cut off (by HAProxy, when it
# has no server), 1047 a Galera member without a quorum. https://mariadb.com/kb/en/mariadb-error-code-reference
_AWAY = (1047, 2002, 2003, 2006, 2013)


def __virtual__() -> bool | tuple[bool, str]:
    return (False, MISSING) if MISSING else True


def present(service: str, patience: float = 0) -> bool:
    """Return whether a service's user can use its databases with the wanted password, and by TLS if so wanted.

    :param service: Name of the formula.
    :param patience: Seconds in which a server that is away may come back.
    :raises CommandExecutionError: The database server does not answer.

    CLI Example:

    .. code-block:: bash

        salt aio database.present keystone
    """
    names, user, password = _wanted(service)
    try:
        return _patiently(lambda: _usable(names, user, password), patience)
    except pymysql.MySQLError as error:
        # 1044/1045/1698: access denied to the database or the server; 1049: no such database.
        if error.args and error.args[0] in (1044, 1045, 1049, 1698):
            return False
        raise CommandExecutionError(_explain(error)) from error


def create(service: str, patience: float = 300) -> None:
    """Create the databases of a service and its user, or give the user its present password.

    :param service: Name of the formula.
    :param patience: Seconds in which a server that is away may come back.
    :raises CommandExecutionError: The database server does not answer or refuses.

    CLI Example:

    .. code-block:: bash

        salt aio database.create keystone
    """
    try:
        root = _context(service).secret(f"{_server()}.root_password")
        _patiently(lambda: _create(root, *_wanted(service)), patience)
    except pymysql.MySQLError as error:
        raise CommandExecutionError(_explain(error)) from error
    except SalternError as error:
        raise CommandExecutionError(str(error)) from error


def _usable(names: list[str], user: str, password: str) -> bool:
    """Return whether the account is as wanted; what it may not do is an error of MariaDB's."""
    for name in names:
        with _connection(user, password, name) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW CREATE USER")
            (account,) = cursor.fetchone()
            if ("REQUIRE SSL" in account) != _tls():
                return False
    return True


def _create(root: str, names: list[str], user: str, password: str) -> None:
    """Create databases and their user; may be done again at any point."""
    required = "SSL" if _tls() else "NONE"
    with _connection("root", root) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE USER IF NOT EXISTS %s@'%%' IDENTIFIED BY %s", (user, password))
        cursor.execute(f"ALTER USER %s@'%%' IDENTIFIED BY %s REQUIRE {required}", (user, password))
        for name in names:
            cursor.execute(f"CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4")
            cursor.execute(f"GRANT ALL PRIVILEGES ON `{name}`.* TO %s@'%%'", (user,))


def _patiently(work: Callable[[], Result], patience: float) -> Result:
    """Return what some work returns, done again and again while the server is away."""
    end = time.monotonic() + patience
    while True:
        try:
            return work()
        except pymysql.MySQLError as error:
            if not error.args or error.args[0] not in _AWAY or time.monotonic() > end:
                raise
        time.sleep(1)


def _wanted(service: str) -> tuple[list[str], str, str]:
    """Return the names of a service's databases, their user and that one's password."""
    try:
        database = facts.cloud(__pillar__, __opts__)["formulas"][service]["database"]
        password = _context(service).secret(f"{service}.database_password")
    except (SalternError, KeyError) as error:
        raise CommandExecutionError(f"database of {service}: {error}") from error
    name = database["name"]
    return [name, *database.get("also", [])], database.get("user", name), password


def _tls() -> bool:
    return facts.cloud(__pillar__, __opts__)["services"][_server()]["options"]["tls"]


def _server() -> str:
    """Return the service that has the databases."""
    return scope.provider(facts.cloud(__pillar__, __opts__), "database")


def _context(service: str) -> Any:
    return facts.context(service, __pillar__, __opts__, __grains__)


@contextlib.contextmanager
def _connection(user: str, password: str, database: str | None = None) -> Iterator[Any]:
    cloud = facts.cloud(__pillar__, __opts__)
    # The certificate names the internal address.
    trusted = (
        ssl.create_default_context(cadata=cloud["secrets"]["certificates"]["ca"])
        if _tls()
        else None
    )
    connection = pymysql.connect(
        host=cloud["internal_address"],
        port=next(iter(cloud["services"][_server()]["ports"].values()))["port"],
        user=user,
        password=password,
        database=database,
        connect_timeout=10,
        read_timeout=60,
        ssl=trusted,
    )
    try:
        yield connection
    finally:
        connection.close()


def _explain(error: Exception) -> str:
    return f"MariaDB behind {facts.cloud(__pillar__, __opts__)['internal_address']}: {error}"
