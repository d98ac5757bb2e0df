"""The collected logs on this host: its own and those of hosts that it keeps logs for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from saltern import masking
from saltern.errors import SalternError
from saltern.host import facts, logs
from saltern.host.adapter import salt_errors
from saltern.host.logs import Query
from saltern.service import scope


def search(
    containers: Iterable[str] = (),
    hosts: Iterable[str] = (),
    pattern: str | None = None,
    since: str | None = None,
    until: str | None = None,
    level: str | None = None,
    lines: int = 200,
) -> list[dict[str, Any]]:
    """Return what containers wrote, the newest lines that answer, newest last.

    :param containers: Names without the prefix; none is all.
    :param hosts: Minion ids; none is all whose logs are here.
    :param pattern: Regular expression, such as a request id.
    :param since: How long ago (``15m``, ``1h``, ``2d``) or a time of ISO 8601 (UTC); ``until`` alike.
    :param level: Lowest level, such as ``warning``; lines that show none are left out then.
    :param lines: Most lines to return.
    :returns: ``time``, ``host``, ``container``, ``level`` and ``text`` of each.
    :raises CommandExecutionError: An argument is wrong, or this host collects no logs.

    CLI Example:

    .. code-block:: bash

        salt aio logs.search pattern=req-3c1f since=1h
    """
    prefix = __opts__.get("saltern", {}).get("prefix", "")
    now = datetime.now(UTC)
    try:
        with salt_errors():
            cloud = facts.fresh_cloud(__pillar__, __opts__, __grains__, __context__)
            collector = scope.provider(cloud, "logs")
            if collector not in cloud["formulas"]:
                raise SalternError("this host collects no logs: it runs no service that does")
            folder = Path(cloud["services"][collector]["options"]["directory"])
            query = Query(
                containers=tuple(prefix + one for one in containers),
                hosts=tuple(hosts),
                pattern=pattern,
                since=logs.moment(since, now) if since else None,
                until=logs.moment(until, now) if until else None,
                level=level,
                lines=lines,
            )
            found = logs.search(folder, query)
    except OSError as error:
        raise CommandExecutionError(f"the collected logs cannot be read: {error}") from error
    hidden = cloud.get("secrets", {})
    return [{**asdict(one), "text": masking.mask(one.text, hidden)} for one in found]
