"""The databases of services: each with a user of its own, in MariaDB behind HAProxy."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import re
import shutil
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from salt.exceptions import CommandExecutionError

from saltern import paths, space
from saltern.errors import SalternError
from saltern.host import facts
from saltern.host.adapter import salt_errors
from saltern.images.names import image_name
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
_DENIED = 1045
# What SHOW CREATE USER tells of a password.
_HASH = re.compile(r"'(\*[0-9A-F]{40})'")
_DUMP = ("--single-transaction", "--quick", "--routines", "--triggers", "--no-tablespaces")


def __virtual__() -> bool | tuple[bool, str]:
    return (False, MISSING) if MISSING else True


def present(service: str, patience: float = 0) -> bool:
    """Return whether a service's user can use its databases with the wanted password, and by TLS if so wanted.

    While the password is rotated, the old one must be valid, too; no other one ever.

    :param service: Name of the formula.
    :param patience: Seconds in which a server that is away may come back.
    :raises CommandExecutionError: The database server does not answer.

    CLI Example:

    .. code-block:: bash

        salt aio database.present keystone
    """
    names, user, passwords = _wanted(service)
    try:
        return _patiently(lambda: _usable(names, user, passwords), patience)
    except pymysql.MySQLError as error:
        # 1044/1045/1698: access denied to the database or the server; 1049: no such database.
        if error.args and error.args[0] in (1044, 1045, 1049, 1698):
            return False
        raise CommandExecutionError(_explain(error)) from error


@salt_errors()
def create(service: str, patience: float = 300) -> None:
    """Create the databases of a service and its user, or give the user its present password, or two of them.

    :param service: Name of the formula.
    :param patience: Seconds in which a server that is away may come back.
    :raises CommandExecutionError: The database server does not answer or refuses.

    CLI Example:

    .. code-block:: bash

        salt aio database.create keystone
    """
    try:
        _patiently(lambda: _create(_root(service), *_wanted(service)), patience)
    except pymysql.MySQLError as error:
        raise CommandExecutionError(_explain(error)) from error


def dump(names: list[str], keep: int = 5) -> dict[str, str]:
    """Dump databases into files of this host, each compressed, complete, and readable by root alone.

    Runs on a host of the database server. A dump is as of one moment, and locks nothing (InnoDB).

    :param names: Names of databases.
    :param keep: How many dumps of each are kept, with the new one.
    :returns: Database to the file.
    :raises CommandExecutionError: The server does not answer, or a dump is not complete.

    CLI Example:

    .. code-block:: bash

        salt control1 database.dump '[keystone, nova]'
    """
    folder = Path(paths.root("var", __opts__), "backups")
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    done = {}
    with salt_errors(OSError), space.needed(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in names:
            done[name] = str(_dump(name, folder, stamp))
            for old in sorted(folder.glob(f"{name}.*.sql.gz"))[:-keep]:
                old.unlink()
    return done


def _dump(name: str, folder: Path, stamp: str) -> Path:
    """Write one database's dump; what is not complete is not left behind."""
    server, cloud = _server(), facts.cloud(__pillar__, __opts__)
    image = next(iter(cloud["formulas"][server]["containers"].values()))["image"]
    account = {
        "host": cloud["internal_address"],
        "port": next(iter(cloud["services"][server]["ports"].values()))["port"],
        "user": "root",
        "password": _root(server),
    }
    if not _tls():
        account["skip-ssl"] = ""
    options = "\n".join(f'{key}="{value}"' for key, value in account.items())
    plain, file = folder / f".{name}.sql", folder / f"{name}.{stamp}.sql.gz"
    part = folder / f".{file.name}"
    try:
        ran = __salt__["container.run"](
            "database-dump",
            service=server,
            image=image_name(cloud, image),
            command=[
                "mariadb-dump",
                "--defaults-extra-file=/dev/stdin",
                f"--result-file=/backups/{plain.name}",
                *_DUMP,
                name,
            ],
            stdin=f"[client]\n{options}\n",
            user="0",
            volumes=[f"{folder}:/backups"],
            timeout=6 * 3600,
        )
        if ran["retcode"] != 0:
            raise SalternError(f"mariadb-dump {name}: {ran['stderr'].strip()[-2000:]}")
        with plain.open("rb") as source, gzip.open(part, "wb", compresslevel=1) as target:
            shutil.copyfileobj(source, target, 1 << 20)
            source.seek(max(0, source.tell() - 200))
            if b"-- Dump completed" not in source.read():
                raise SalternError(f"the dump of {name} is not complete")
        part.chmod(0o600)
        part.replace(file)
    finally:
        plain.unlink(missing_ok=True)
        part.unlink(missing_ok=True)
    return file


def _usable(names: list[str], user: str, passwords: list[str]) -> bool:
    """Return whether the account is as wanted; what it may not do is an error of MariaDB's."""
    for name in names:
        with _connection(user, passwords[0], name) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW CREATE USER")
            (account,) = cursor.fetchone()
            if ("REQUIRE SSL" in account) != _tls():
                return False
            if set(_HASH.findall(account)) != set(map(_hash, passwords)):
                return False
    return True


def _create(root: str, names: list[str], user: str, passwords: list[str]) -> None:
    """Create databases and their user; may be done again at any point.

    The passwords are set by one statement, as others drop the second one.
    """
    required = "SSL" if _tls() else "NONE"
    valid = " OR ".join(["mysql_native_password USING %s"] * len(passwords))
    account = (user, *map(_hash, passwords))
    with _connection("root", root) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE USER IF NOT EXISTS %s@'%%' IDENTIFIED VIA {valid}", account)
        cursor.execute(f"ALTER USER %s@'%%' IDENTIFIED VIA {valid} REQUIRE {required}", account)
        for name in names:
            cursor.execute(f"CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4")
            cursor.execute(f"GRANT ALL PRIVILEGES ON `{name}`.* TO %s@'%%'", (user,))


def _hash(password: str) -> str:
    """Return what MariaDB keeps of a password, see PASSWORD() in its documentation."""
    once = hashlib.sha1(password.encode()).digest()
    return f"*{hashlib.sha1(once).hexdigest().upper()}"


def _root(service: str) -> str:
    """Return the administrator's password that works: while it is rotated, a server may not know the new one yet.

    :param service: One of this host that may have it.
    """
    context, name = _context(service), f"{_server()}.root_password"
    new, former = context.secret(name), context.former_secret(name)
    if former:
        try:
            with _connection("root", new):
                pass
        except pymysql.err.OperationalError as error:
            if error.args[0] == _DENIED:
                return former
            raise
    return new


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


def _wanted(service: str) -> tuple[list[str], str, list[str]]:
    """Return the names of a service's databases, their user and that one's passwords: while they change, two."""
    try:
        database = facts.cloud(__pillar__, __opts__)["formulas"][service]["database"]
        context, secret = _context(service), f"{service}.database_password"
        passwords = [context.secret(secret), context.former_secret(secret)]
    except (SalternError, KeyError) as error:
        raise CommandExecutionError(f"database of {service}: {error}") from error
    name = database["name"]
    names = [name, *database.get("also", [])]
    return names, database.get("user", name), list(filter(None, passwords))


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
