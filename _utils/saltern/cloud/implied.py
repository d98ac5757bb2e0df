"""What the words of a ``service.yml`` imply: ports, containers and secrets that nobody has to write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Formula = dict[str, Any]
# What an API has in the catalogue and what it has as a port.
_IN_CATALOGUE = ("type", "description", "path", "interfaces")
_OF_A_PORT = ("check", "active_passive", "timeout", "maxconn")
# From the port of an API to its spare one, for the server beside the one that it replaces.
_SPARE = 10000
# While this file exists, an API tells balancers that it wants no more requests.
_LEAVING = "/tmp/leaving"
# Said in other words in the result.
_CONSUMED = ("container_defaults",)
# What has a word needs who provides it. A balancer is asked for by name: few need one to start.
_PROVIDED = ("database", "broker", "identity")
# Fields of a container that its tasks do not share: they are about a server.
_OF_A_SERVER = (
    "healthcheck",
    "restart_policy",
    "stop_timeout",
    "teardown",
    "deadline",
    "stop_when",
    "balanced",
    "leave",
    "stay",
    "drain",
    "reload",
)
# Lists of names, whose order means nothing: joined where data are laid over others.
_JOINED = {"requires", "after", "uses_secrets", "namespaces", "exclude_groups", "volumes", "tmpfs"}


def merged(base: Any, over: Any, key: str = "") -> Any:
    """Return data laid over others: maps are merged, null removes, lists of names are joined."""
    if isinstance(base, list) and isinstance(over, list) and key in _JOINED:
        return list(dict.fromkeys([*base, *over]))
    if not isinstance(base, Mapping) or not isinstance(over, Mapping):
        return over
    result = {
        name: merged(base[name], over[name], name) if name in over else base[name] for name in base
    }
    result |= {name: value for name, value in over.items() if name not in base}
    return {name: value for name, value in result.items() if value is not None}


def filled(data: Any, names: Mapping[str, str]) -> Any:
    """Return data with each ``{name}`` in its keys and texts replaced.

    :param names: Name to what stands for it.
    """
    if isinstance(data, Mapping):
        return {filled(key, names): filled(value, names) for key, value in data.items()}
    if isinstance(data, list):
        return [filled(one, names) for one in data]
    if isinstance(data, str):
        for name, value in names.items():
            data = data.replace(f"{{{name}}}", value)
    return data


def complete(service: str, formula: Mapping[str, Any]) -> Formula:
    """Return a service's data with all that they imply.

    :param service: Its name.
    :param formula: What :func:`saltern.cloud.formulas.load` has read and checked.
    """
    folder = formula.get("config_dir", f"/etc/{service}")
    result: Formula = {}
    for name, api in formula.get("apis", {}).items():
        result = merged(result, _of_api(name, api, folder))
    result = merged(result, {key: value for key, value in formula.items() if key not in _CONSUMED})
    result["config_dir"] = folder
    result["requires"] = [one for one in formula.get("requires", []) if one != service]
    result["secrets"] = dict(_secrets(result)) | result.get("secrets", {})
    defaults = {"image": service, **formula.get("container_defaults", {})}
    # An API talks to the others, and so comes after them, in an upgrade above all, unless the service says otherwise.
    order = [*formula.get("containers", {}), *result.get("containers", {})]
    result["containers"] = {
        name: merged(defaults, result["containers"][name]) for name in dict.fromkeys(order)
    }
    of_a_task = {key: value for key, value in defaults.items() if key not in _OF_A_SERVER}
    result["tasks"] = {}
    for name, task in formula.get("tasks", {}).items():
        result["tasks"][name] = _task(service, name, task, of_a_task, formula.get("oslo", {}))
        ended = result["containers"].get(task.get("container", ""))
        if task["phase"] == "teardown" and ended:
            # Kept by the container itself: it is run also when nobody knows the service any more.
            ended["teardown"] = task["command"]
    return result


def connect(catalog: Mapping[str, Formula]) -> dict[str, Formula]:
    """Return the catalogue in which each service requires who provides what it has words for.

    :param catalog: Every known service, complete.
    """
    providers = {
        what: service for service, one in catalog.items() for what in one.get("provides", [])
    }
    connected = {}
    for service, formula in catalog.items():
        wanted = [providers[word] for word in _PROVIDED if word in formula and word in providers]
        requires = [*formula["requires"], *(one for one in wanted if one != service)]
        used = list(formula.get("uses_secrets", []))
        if "broker" in formula and "broker" in providers:
            used.append(f"{providers['broker']}.password")
        connected[service] = {
            **formula,
            "requires": list(dict.fromkeys(requires)),
            "uses_secrets": list(dict.fromkeys(used)),
        }
    return connected


def _of_api(name: str, api: Mapping[str, Any], config_dir: str) -> Formula:
    """Return the port, the container, the configuration and the entry in the catalogue of an API."""
    config = api.get("config", "uwsgi.ini")
    port = {
        "port": api["port"],
        "spare": api.get("spare", api["port"] + _SPARE),
        "frontend": "http",
        "tls": True,
        "external": api.get("external", True),
    }
    url = f"{{{{ own_url('{name}', '$(PLACE)') }}}}{api.get('health', api.get('check', '/'))}"
    container = {
        "command": ["uwsgi", "--ini", f"{config_dir}/{config}"],
        "environment": {"MODULE": api["module"], "LEAVING": _LEAVING},
        "healthcheck": {"test": ["healthcheck", "http", url], "interval": 30},
        "balanced": name,
        "leave": ["touch", _LEAVING],
        "stay": ["rm", "-f", _LEAVING],
        **({"drain": api["drain"]} if "drain" in api else {}),
    }
    entry = {key: api[key] for key in _IN_CATALOGUE if key in api} | {"port": name}
    return {
        "ports": {
            name: port | {"check": "/"} | {key: api[key] for key in _OF_A_PORT if key in api}
        },
        "containers": {api.get("container", f"{name}-api"): container},
        "config": {
            config: {"format": "uwsgi", "template": api.get("template", "uwsgi.ini.j2")},
            "serving.py": {"format": "raw", "template": "serving.py.j2"},
        },
        **({"identity": {"services": {name: entry}}} if "type" in api else {}),
    }


def _secrets(formula: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    if "database" in formula:
        yield "database_password", {"rotate": {"what": "database", "by": "two_passwords"}}
    for user in formula.get("identity", {}).get("users", {}).values():
        yield (
            user.get("password", "keystone_password"),
            {
                # Keystone ends all tokens of a user who gets another password.
                "rotate": {"what": "identity", "by": "two_accounts"}
            },
        )


def _task(
    service: str,
    name: str,
    task: Mapping[str, Any],
    defaults: Mapping[str, Any],
    oslo: Mapping[str, Any],
) -> Formula:
    command = list(task["command"])
    if task["phase"] == "check":
        command += [f"--namespace={one}" for one in oslo.get("namespaces", [])]
        command += [f"--exclude-group={one}" for one in oslo.get("exclude_groups", [])]
    said = {"name": f"Run {name} of {service}", "where": "first"}
    return {**said, **({} if "container" in task else defaults), **task, "command": command}
