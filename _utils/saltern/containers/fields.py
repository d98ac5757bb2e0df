"""Parsers of the single fields of a container's spec.

Each parser takes what an operator wrote and returns its normal form (hashable, order removed where
order means nothing). It raises `RefusedError` with what is allowed; `spec.py` adds field and container.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

# Linux capabilities in the kernel's order: the index is the bit in CapBnd (capabilities(7)).
_CAPABILITIES = """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
    NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO
    SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME
    SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG
    WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
CAPABILITIES = tuple(_CAPABILITIES.split())
_ULIMITS = """
    core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack
"""
ULIMITS = tuple(_ULIMITS.split())
SECURITY_OPTIONS = ("no-new-privileges", "seccomp", "apparmor", "label", "systempaths")
_PROPAGATIONS = ("shared", "slave", "private", "rshared", "rslave", "rprivate")
VOLUME_MODES = frozenset(("ro", "rw", "z", "Z", "nocopy", *_PROPAGATIONS))
HEALTH_DEFAULTS = {"interval": 30, "timeout": 10, "retries": 3, "start_period": 60}
# The labels and the tag are part of every line: the logs' collector tells by them whose it is.
LOG_DEFAULTS = {
    "driver": "json-file",
    "max-size": "10m",
    "max-file": "5",
    "labels": "saltern.prefix,saltern.service",
    "tag": "{{.Name}}",
}

_SECRET_NAME = re.compile(r"PASSWORD|PASSWD|TOKEN|SECRET", re.IGNORECASE)
_SECRET_URL = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class RefusedError(ValueError):
    """A value that a field does not take; the message says what the field allows.

    :ivar secret: The value may be a secret, so no message may show it.
    """

    def __init__(self, allowed: str, secret: bool = False) -> None:
        super().__init__(allowed)
        self.secret = secret


def nearest(found: str, known: Any) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name nearest to `found`, or nothing."""
    close = get_close_matches(str(found), list(known), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def text(value: Any) -> str:
    """Parse one string; numbers are accepted as YAML would read an unquoted one."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)) or value == "":
        raise RefusedError("a string that is not empty")
    return str(value)


def flag(value: Any) -> bool:
    """Parse a boolean."""
    if not isinstance(value, bool):
        raise RefusedError("true or false")
    return value


def words(value: Any) -> tuple[str, ...]:
    """Parse a list of strings whose order counts (a command)."""
    if not isinstance(value, (list, tuple)):
        raise RefusedError("a list of strings")
    return no_credentials(tuple(text(item) for item in value))


def no_credentials(items: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse strings with `user:password@` in a URL: `docker inspect` and `ps` show them."""
    if any(_SECRET_URL.search(item) for item in items):
        raise RefusedError("no URL with a password: put it into a config file", secret=True)
    return items


def unordered(parse: Callable[[Any], str]) -> Callable[[Any], tuple[str, ...]]:
    """Return a parser of a list whose order means nothing: sorted, each item once."""

    def parser(value: Any) -> tuple[str, ...]:
        if not isinstance(value, (list, tuple, set, frozenset)):
            raise RefusedError("a list")
        return tuple(sorted({parse(item) for item in value}))

    return parser


def capability(value: Any) -> str:
    """Parse a capability's name, with or without ``CAP_``; ``ALL`` stands for every one."""
    name = str(value).upper().removeprefix("CAP_")
    if name != "ALL" and name not in CAPABILITIES:
        raise RefusedError(
            f"capabilities of Linux, such as NET_ADMIN, or ALL{nearest(name, CAPABILITIES)}"
        )
    return name


def security_option(value: Any) -> str:
    """Parse one of Docker's security options, such as ``apparmor=unconfined``."""
    option = text(value).replace(":", "=", 1)
    name, _, setting = option.partition("=")
    if name not in SECURITY_OPTIONS or (name == "systempaths" and setting != "unconfined"):
        raise RefusedError(
            f"{', '.join(SECURITY_OPTIONS)} (=value){nearest(name, SECURITY_OPTIONS)}"
        )
    return name if name == "no-new-privileges" and setting in ("", "true") else option


def volume(value: Any) -> str:
    """Parse ``source:target[:mode]``; the source is a volume's name or an absolute path."""
    source, _, rest = text(value).partition(":")
    target, _, mode = rest.partition(":")
    modes = set(mode.split(",")) if mode else set()
    named = re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", source)
    if not (named or source.startswith("/")) or not target.startswith("/") or modes - VOLUME_MODES:
        raise RefusedError(
            '"source:target[:mode]" with a volume name or an absolute path as source, an absolute '
            f"path as target and modes of {', '.join(sorted(VOLUME_MODES))}"
        )
    modes.discard("rw")  # the default: written or not, it means the same
    return ":".join(filter(None, (source, target.rstrip("/") or "/", ",".join(sorted(modes)))))


def volumes(value: Any) -> tuple[str, ...]:
    """Parse a list of volumes; no two of them may have the same target."""
    parsed = unordered(volume)(value)
    targets = [item.split(":")[1] for item in parsed]
    for target in targets:
        if targets.count(target) > 1:
            raise RefusedError(f"one volume for each target ({target} is there twice)")
    return parsed


def tmpfs(value: Any) -> str:
    """Parse ``path[:options]`` of a tmpfs mount, e.g. ``/tmp:size=64m``."""
    path, _, options = text(value).partition(":")
    if not path.startswith("/"):
        raise RefusedError('"path[:options]" with an absolute path')
    return f"{path}:{options}" if options else path


def directory(value: Any) -> str:
    """Parse an absolute path."""
    path = text(value)
    if not path.startswith("/"):
        raise RefusedError("an absolute path")
    return path


def device(value: Any) -> str:
    """Parse ``host[:container[:permissions]]``, e.g. ``/dev/kvm`` or ``/dev/net/tun::rw``."""
    host, _, rest = text(value).partition(":")
    inside, _, permissions = rest.partition(":")
    if not host.startswith("/") or set(permissions) - set("rwm"):
        raise RefusedError('"host[:container[:rwm]]" with absolute paths')
    return f"{host}:{inside or host}:{permissions or 'rwm'}"


def size(value: Any) -> int:
    """Parse a size in bytes, or with one of the units k, m, g, t (binary)."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([bkmgt]?)b?", str(value).strip().lower())
    if isinstance(value, bool) or not match:
        raise RefusedError("bytes, or a number with a unit of k, m, g, t, such as 512m")
    return int(float(match[1]) * _UNITS[match[2]])


def number(minimum: float, unit: str, kind: type = float) -> Callable[[Any], Any]:
    """Return a parser of a number of at least `minimum`."""

    def parser(value: Any) -> Any:
        try:
            parsed = kind(value)
        except (TypeError, ValueError):
            parsed = None
        if isinstance(value, bool) or parsed is None or parsed < minimum:
            raise RefusedError(f"a number of {unit}, {minimum} or more")
        return parsed

    return parser


def choice(*allowed: str, prefix: str = "") -> Callable[[Any], str]:
    """Return a parser of one of `allowed` words, or of anything that begins with `prefix`."""

    def parser(value: Any) -> str:
        if value in allowed or (prefix and str(value).startswith(prefix) and value != prefix):
            return str(value)
        also = f" or {prefix}<name>" if prefix else ""
        raise RefusedError(f"{', '.join(allowed)}{also}{nearest(value, allowed)}")

    return parser


def restart_policy(value: Any) -> str:
    """Parse the restart policy; YAML reads an unquoted ``no`` as false."""
    if value is False:
        return "no"
    if value == "always":
        raise RefusedError(
            "no, on-failure or unless-stopped: `always` would start a container again that an "
            "operator has stopped"
        )
    if re.fullmatch(r"on-failure(:\d+)?", str(value)):
        return str(value)
    return choice("no", "on-failure", "unless-stopped")(value)


def stop_signal(value: Any) -> str:
    """Parse a signal's name, e.g. ``SIGQUIT`` or ``QUIT``."""
    name = "SIG" + str(value).upper().removeprefix("SIG")
    if name not in signal.Signals.__members__ and not name.startswith("SIGRTMIN+"):
        raise RefusedError(f"a signal such as SIGTERM{nearest(name, signal.Signals.__members__)}")
    return name


def mapping(value: Any, entry: Callable[[str, Any], Any]) -> Mapping[str, Any]:
    """Parse a map, each value by `entry(key, value)`; the order of the keys is lost."""
    if not isinstance(value, Mapping):
        raise RefusedError("a map of names to values")
    return {str(key): entry(str(key), value[key]) for key in sorted(value, key=str)}


def _scalar(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, (str, int, float)):
        raise RefusedError(f"strings and numbers as values ({key} has {type(value).__name__})")
    return str(value)


def environment(value: Any) -> Mapping[str, str]:
    """Parse the environment; a name or value that looks secret is refused."""

    def entry(key: str, item: Any) -> str:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key):
            raise RefusedError(f"names of letters, digits and _ ({key})")
        secret = _SECRET_NAME.search(key) and not key.upper().endswith(("_FILE", "_PATH"))
        parsed = _scalar(key, item)
        if (secret and parsed) or _SECRET_URL.search(parsed):
            # The value itself must not reach the message.
            raise RefusedError(
                f"no secrets: {key} looks like one, and `docker inspect` would show it; "
                "put it into a config file",
                secret=True,
            )
        return parsed

    return mapping(value, entry)


def places(value: Any) -> tuple[str, ...]:
    """Parse the two places of a server, such as ports: numbers or words."""
    parsed = words(value)
    if len(set(parsed)) != 2:
        raise RefusedError("two different ports or words")
    return parsed


def balancer(value: Any) -> Mapping[str, Any]:
    """Parse where load balancers tell of their servers, and those of a container."""
    keys = {"source", "urls", "backend", "servers"}
    if not isinstance(value, Mapping) or set(value) != keys:
        raise RefusedError(f"a map with {', '.join(sorted(keys))}")
    return {
        "source": text(value["source"]),
        "urls": words(value["urls"]),
        "backend": text(value["backend"]),
        "servers": places(value["servers"]),
    }


def labels(value: Any) -> Mapping[str, str]:
    """Parse labels; those of Saltern itself cannot be set."""

    def entry(key: str, item: Any) -> str:
        if key.startswith("saltern."):
            raise RefusedError(f"labels that do not begin with saltern. ({key})")
        return _scalar(key, item)

    return mapping(value, entry)


def scalars(value: Any) -> Mapping[str, str]:
    """Parse a map of names to strings or numbers (sysctls)."""
    return mapping(value, _scalar)


def ulimits(value: Any) -> Mapping[str, tuple[int, int]]:
    """Parse ``{nofile: 20000}`` or ``{nofile: {soft: 1024, hard: 20000}}``; -1 is unlimited."""

    def entry(key: str, item: Any) -> tuple[int, int]:
        if key not in ULIMITS:
            raise RefusedError(f"the limits {', '.join(ULIMITS)} ({key}){nearest(key, ULIMITS)}")
        if isinstance(item, Mapping) and set(item) == {"soft", "hard"}:
            item = (item["soft"], item["hard"])
        if not isinstance(item, (list, tuple)):
            item = (item, item)
        limit = number(-1, "the limit", int)
        return limit(item[0]), limit(item[1])

    return mapping(value, entry)


def healthcheck(value: Any) -> Mapping[str, Any]:
    """Parse a health check: the test, and interval, timeout, start_period in seconds, retries."""
    if not isinstance(value, Mapping) or "test" not in value:
        raise RefusedError(
            "a map with test and, if wished, interval, timeout, retries, start_period"
        )
    for key in value:
        if key != "test" and key not in HEALTH_DEFAULTS:
            names = ("test", *HEALTH_DEFAULTS)
            raise RefusedError(f"{', '.join(names)} ({key}){nearest(key, names)}")
    test = value["test"]
    if isinstance(test, str):
        test = ["NONE"] if test == "NONE" else ["CMD-SHELL", test]
    test = words(test)
    if not test:
        raise RefusedError("a test that is not empty")
    if test[0] not in ("CMD", "CMD-SHELL", "NONE"):
        test = ("CMD", *test)
    rest = {key: value.get(key, default) for key, default in HEALTH_DEFAULTS.items()}
    parsed = {key: number(0, "seconds or times", int)(rest[key]) for key in rest}
    return {"test": test, **parsed}


def log_options(value: Any) -> Mapping[str, str]:
    """Parse ``{driver: json-file, max-size: 10m, ...}``; json-file keeps its default limits."""
    parsed = dict(scalars(value))
    if parsed.get("driver", "json-file") == "json-file":
        parsed = {**LOG_DEFAULTS, **parsed}
    return dict(sorted(parsed.items()))
