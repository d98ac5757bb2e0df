"""The databases of services: each with a user of its own, in MariaDB behind HAProxy."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from typing import Any

from salt.exceptions import CommandExecutionError

from saltern import host
from saltern.errors import SalternError

try:
    import pymysql

    MISSING = ""
except ImportError:
    MISSING = "PyMySQL is not installed beside the Salt minion: pip install PyMySQL"


def __virtual__() -> bool | tuple[bool, str]:
    return (False, MISSING) if MISSING else True


def present(service: str) -> bool:
    """Return whether a service's user can use its databases with the wanted password, and by TLS if so wanted.

    :param service: Name of the formula.
    :raises CommandExecutionError: The database server does not answer.

    CLI Example:

    .. code-block:: bash

        salt aio database.present keystone
    """
    names, user, password = _wanted(service)
    try:
        for name in names:
            with _connection(user, password, name) as connection, connection.cursor() as cursor:
                cursor.execute("SHOW CREATE USER")
                (account,) = cursor.fetchone()
                if ("REQUIRE SSL" in account) != _tls():
                    return False
        return True
    except pymysql.MySQLError as error:
        # 1044/1045/1698: access denied to the database or the server; 1049: no such database.
        if error.args and error.args[0] in (1044, 1045, 1049, 1698):
            return False
        raise CommandExecutionError(_explain(error)) from error


def create(service: str) -> None:
    """Create the databases of a service and its user, or give the user its present password.

    :param service: Name of the formula.
    :raises CommandExecutionError: The database server does not answer or refuses.

    CLI Example:

    .. code-block:: bash

        salt aio database.create keystone
    """
    names, user, password = _wanted(service)
    try:
        root = _context(service).secret("mariadb.root_password")
        with _connection("root", root) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE USER IF NOT EXISTS %s@'%%' IDENTIFIED BY %s", (user, password))
            required = "SSL" if _tls() else "NONE"
            cursor.execute(
                f"ALTER USER %s@'%%' IDENTIFIED BY %s REQUIRE {required}", (user, password)
            )
            for name in names:
                cursor.execute(f"CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4")
                cursor.execute(f"GRANT ALL PRIVILEGES ON `{name}`.* TO %s@'%%'", (user,))
    except pymysql.MySQLError as error:
        raise CommandExecutionError(_explain(error)) from error
    except SalternError as error:
        raise CommandExecutionError(str(error)) from error


def _wanted(service: str) -> tuple[list[str], str, str]:
    """Return the names of a service's databases, their user and that one's password."""
    try:
        database = host.cloud(__pillar__, __opts__)["formulas"][service]["database"]
        password = _context(service).secret(f"{service}.database_password")
    except (SalternError, KeyError) as error:
        raise CommandExecutionError(f"database of {service}: {error}") from error
    name = database["name"]
    return [name, *database.get("also", [])], database.get("user", name), password


def _tls() -> bool:
    return host.cloud(__pillar__, __opts__)["services"]["mariadb"]["options"]["tls"]


def _context(service: str) -> Any:
    return host.context(service, __pillar__, __opts__, __grains__)


@contextlib.contextmanager
def _connection(user: str, password: str, database: str | None = None) -> Iterator[Any]:
    cloud = host.cloud(__pillar__, __opts__)
    # The certificate names the internal address.
    trusted = (
        ssl.create_default_context(cadata=cloud["secrets"]["certificates"]["ca"])
        if _tls()
        else None
    )
    connection = pymysql.connect(
        host=cloud["internal_address"],
        port=cloud["services"]["mariadb"]["ports"]["mariadb"]["port"],
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
    return f"MariaDB behind {host.cloud(__pillar__, __opts__)['internal_address']}: {error}"
