"""A spec in the words of Docker's API: the body of ``POST /containers/create``.

The body is the same for API 1.41 to 1.45. Source: Docker Engine API, ContainerCreate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from saltern.containers.fields import CAPABILITIES
from saltern.containers.spec import Spec

LABEL_SERVICE = "saltern.service"
LABEL_PREFIX = "saltern.prefix"
LABEL_SPEC = "saltern.spec"
LABEL_SPEC_JSON = "saltern.spec.json"
LABEL_CONFIG = "saltern.config"
LABEL_ONCE = "saltern.once"
# Which of its two places a container has.
LABEL_PLACE = "saltern.place"
# Folder of the configuration of one that can read a new one, see live.py.
LABEL_LIVE = "saltern.live"
# A container has the labels of its image.
LABEL_RELEASE = "saltern.release"

_SECOND = 10**9
_EVERY_CAPABILITY = (1 << len(CAPABILITIES)) - 1


def to_docker(
    spec: Spec,
    service: str = "",
    *,
    bounding: int = _EVERY_CAPABILITY,
    prefix: str = "",
    generation: Mapping[str, str] | None = None,
    place: str = "",
    live: str = "",
) -> dict[str, Any]:
    """Return the body that creates a container.

    :param spec: The wanted container.
    :param service: Service that it belongs to.
    :param bounding: Bit mask of the capabilities that the host can give, see `bounding_set`.
    :param prefix: Put before the names of volumes and of other containers.
    :param generation: ``digest`` and ``path`` of the config, mounted at the spec's `config_dir`.
    :param place: The one of its places that it gets, see :func:`at_place`.
    :param live: Mounted instead of the generation.
    """
    placed = at_place(spec, place)
    binds = [_bind(volume, prefix) for volume in spec.volumes]
    if generation and spec.config_dir:
        binds.append(f"{live or generation['path']}:{spec.config_dir}:ro")
    host = {
        "Binds": binds,
        "Tmpfs": dict(entry.partition(":")[::2] for entry in spec.tmpfs),
        "NetworkMode": _namespace(spec.network_mode, prefix),
        "PidMode": _namespace(spec.pid_mode, prefix),
        "IpcMode": _namespace(spec.ipc_mode, prefix),
        "CgroupnsMode": spec.cgroupns,
        "CapAdd": list(spec.cap_add),
        "CapDrop": list(spec.cap_drop),
        "GroupAdd": list(spec.group_add),
        "Sysctls": dict(spec.sysctls),
        "Devices": [_device(device) for device in spec.devices],
        "Ulimits": [
            {"Name": name, "Soft": soft, "Hard": hard}
            for name, (soft, hard) in spec.ulimits.items()
        ],
        "Memory": spec.memory,
        "NanoCpus": None if spec.cpus is None else int(spec.cpus * _SECOND),
        "RestartPolicy": restart_policy(spec.restart_policy),
        "ReadonlyRootfs": spec.read_only,
        "Init": spec.init,
        "LogConfig": _log_config(spec.log_options, f"{prefix}{spec.name}"),
        **_security(spec),
    }
    if spec.privileged:
        host.update(privileged(host, bounding))
    body = {
        "Image": spec.image,
        "Cmd": _list(placed.command),
        "Entrypoint": _list(spec.entrypoint),
        "User": spec.user,
        "Env": [f"{name}={value}" for name, value in sorted(placed.environment.items())],
        "Hostname": spec.hostname,
        "WorkingDir": spec.working_dir,
        "Healthcheck": _healthcheck(placed.healthcheck),
        "StopSignal": spec.stop_signal,
        "StopTimeout": spec.stop_timeout,
        "Labels": {
            **spec.labels,
            **labels(spec, service, prefix, generation),
            **({LABEL_PLACE: place} if place else {}),
            **({LABEL_LIVE: live} if live else {}),
        },
        "HostConfig": _without_none(host),
    }
    return _without_none(body)


def at_place(spec: Spec, place: str) -> Spec:
    """Return the spec of a container at one of its places.

    What it is does not depend on it: ``$(PLACE)`` and ``$(OTHER_PLACE)`` stand for both in its command,
    environment and health check, and ``PLACE`` in its environment.
    """
    if not place or not spec.places:
        return spec
    other = next(one for one in spec.places if one != place)

    def put(words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(
            one.replace("$(PLACE)", place).replace("$(OTHER_PLACE)", other) for one in words
        )

    check = spec.healthcheck
    names, values = tuple(spec.environment), put(tuple(spec.environment.values()))
    return replace(
        spec,
        command=put(spec.command) if spec.command else None,
        environment={**dict(zip(names, values, strict=True)), "PLACE": place},
        healthcheck={**check, "test": put(check["test"])} if check else None,
    )


def labels(
    spec: Spec, service: str, prefix: str, generation: Mapping[str, str] | None
) -> dict[str, str]:
    """Return the labels that tell a later run what the container was made from."""
    return {
        LABEL_SERVICE: service,
        LABEL_PREFIX: prefix,
        LABEL_SPEC: spec.digest,
        LABEL_SPEC_JSON: spec.to_json(),
        LABEL_CONFIG: generation["digest"] if generation else "",
    }


def privileged(host: Mapping[str, Any], bounding: int) -> dict[str, Any]:
    """Return the part of HostConfig that makes a container privileged on this host.

    Docker refuses `Privileged` where the host lacks a capability (inside some virtual machines and
    containers). There the parts that make up `Privileged` are asked for one by one.

    :param host: HostConfig so far; its binds are kept.
    :param bounding: Bit mask of the capabilities that the host can give.
    """
    missing = [name for bit, name in enumerate(CAPABILITIES) if not bounding >> bit & 1]
    if not missing:
        return {"Privileged": True}
    targets = {bind.split(":")[1] for bind in host["Binds"]}
    unconfined = ["apparmor=unconfined", "seccomp=unconfined"]
    kept = [
        option
        for option in host["SecurityOpt"]
        if option.partition("=")[0] not in ("apparmor", "seccomp")
    ]
    return {
        "CapAdd": ["ALL"],
        "CapDrop": sorted({*host["CapDrop"], *missing}),
        "SecurityOpt": sorted([*kept, *unconfined]),
        "MaskedPaths": [],
        "ReadonlyPaths": [],
        "DeviceCgroupRules": ["a *:* rwm"],
        "Binds": host["Binds"] + [f"{one}:{one}" for one in ("/dev", "/sys") if one not in targets],
    }


def bounding_set(status: str) -> int:
    """Return the capability bounding set of a process.

    :param status: Text of ``/proc/<pid>/status``. Source: proc(5), CapBnd.
    """
    for line in status.splitlines():
        if line.startswith("CapBnd:"):
            return int(line.split()[1], 16)
    return _EVERY_CAPABILITY


def named_volumes(spec: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the names of the volumes of a spec in its normalised form."""
    sources = {volume.split(":")[0] for volume in spec.get("volumes", [])}
    return sorted(prefix + source for source in sources if not source.startswith("/"))


def _bind(volume: str, prefix: str) -> str:
    return volume if volume.startswith("/") else prefix + volume


def _namespace(mode: str | None, prefix: str) -> str | None:
    kind, _, name = (mode or "").partition(":")
    return f"container:{prefix}{name}" if kind == "container" else mode


def _device(device: str) -> dict[str, str]:
    host, inside, permissions = device.split(":")
    return {"PathOnHost": host, "PathInContainer": inside, "CgroupPermissions": permissions}


def restart_policy(policy: str) -> dict[str, Any]:
    """Return a restart policy such as ``on-failure:3`` in Docker's words."""
    name, _, times = policy.partition(":")
    return {"Name": name, "MaximumRetryCount": int(times or 0)}


def _log_config(options: Mapping[str, str], name: str) -> dict[str, Any]:
    # Docker would take the name of its start, which of one that starts beside another is NAME.next.
    config = {
        key: value.replace("{{.Name}}", name) for key, value in options.items() if key != "driver"
    }
    return {"Type": options["driver"], "Config": config}


def _security(spec: Spec) -> dict[str, Any]:
    options = [option for option in spec.security_opt if not option.startswith("systempaths")]
    security: dict[str, Any] = {"SecurityOpt": options}
    if len(options) != len(spec.security_opt):
        # `systempaths=unconfined` is a word of the command line; the API knows these two.
        security.update(MaskedPaths=[], ReadonlyPaths=[])
    return security


def _healthcheck(check: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if check is None:
        return None
    return {
        "Test": list(check["test"]),
        "Interval": check["interval"] * _SECOND,
        "Timeout": check["timeout"] * _SECOND,
        "StartPeriod": check["start_period"] * _SECOND,
        "Retries": check["retries"],
    }


def _list(words: tuple[str, ...] | None) -> list[str] | None:
    return None if words is None else list(words)


def _without_none(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if value is not None}
