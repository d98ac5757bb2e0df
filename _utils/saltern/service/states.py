"""A service's data as ordinary Salt states: what ``#!service`` means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saltern import paths
from saltern.errors import SalternError
from saltern.images.names import image_name
from saltern.service import balanced, required, scope, tasks, templates

# What of a task is not about its container.
_OF_A_TASK = ("name", "phase", "where", "accepts", "excuses", "skip_on_upgrade")
States = dict[str, dict[str, list[dict[str, Any]]]]


def states(
    service: str,
    cloud: Mapping[str, Any],
    context: Mapping[str, Any],
    more: Mapping[str, Any] | None = None,
) -> States:
    """Return the states of a service on this host, each requiring the one before.

    :param service: Name of the formula.
    :param cloud: Pillar key ``cloud``.
    :param context: Names for the strings of ``service.yml``, see :class:`saltern.service.scope.Context`.
    :param more: The body of ``init.sls``: states that follow the last one of ``service.yml``.
    :raises SalternError: The pillar is wrong or does not give this service to this host.
    """
    formula = cloud.get("formulas", {}).get(service)
    if formula is None:
        host = cloud.get("host", {}).get("id", "this host")
        raise SalternError(
            f"{host} does not run {service}: no role of saltern:hosts:{host} says so"
        )
    first = formula["first"]
    result: States = {}

    def add(sentence: str, function: str, **arguments: Any) -> None:
        if result:
            before = list(result)[-1]
            arguments["require"] = [{_module(result[before]): before}]
        result[sentence] = {function: [{key: value} for key, value in arguments.items()]}

    if formula.get("config"):
        add(f"Write the configuration of {service}", "generation.present", name=service)
    for ring in formula.get("keyrings", {}):
        add(f"Deliver the {ring} of {service}", "keyring.present", name=ring, service=service)
    if "certificates" in formula:
        add(f"Deliver the certificates of {service}", "certificates.present", name=service)
    if required.endpoints(service, cloud):
        add(f"Wait until what {service} requires answers", "required.answers", name=service)
    if first and "database" in formula:
        add(f"Create the database of {service}", "database.present", name=service)
    for name, task in tasks.of_phase(formula, "deploy").items():
        if first or task["where"] == "each":
            arguments = container_of_task(service, name, task, cloud, context)
            add(task["name"], "container.ran", **arguments)
    for name, spec in formula.get("containers", {}).items():
        arguments = container(service, name, spec, cloud, context)
        add(f"Run {name}", "container.running", **arguments)
    if tasks.of_phase(formula, "accounts"):
        add(f"Tell {service} its accounts", "accounts.present", name=service)
    if "identity" in cloud["services"][service].get("provides", ()):
        add("Register services, users and endpoints", "catalog.registered", name=service)
    if formula.get("containers"):
        add(f"Note what {service} runs", "revision.noted", name=service)
    last = list(result)[-1:]
    for sentence, body in (more or {}).items():
        result[sentence] = _follow(body, [{_module(result[one]): one} for one in last])
    return result


def container(
    service: str,
    name: str,
    spec: Mapping[str, Any],
    cloud: Mapping[str, Any],
    context: Mapping[str, Any],
) -> dict[str, Any]:
    """Return a container's arguments with its image's full name, its config, key rings and certificates."""
    formula = cloud["formulas"][service]
    arguments = templates.resolve(spec, context)
    arguments["image"] = image_name(cloud, arguments["image"])
    balancer = scope.provider(cloud, "load_balancer")
    arguments |= balanced.fields(service, arguments.pop("balanced", ""), balancer, cloud)
    volumes = list(arguments.get("volumes", []))
    for ring, declared in formula.get("keyrings", {}).items():
        volumes.append(f"{context['keyrings']}/{service}/{ring}:{declared['target']}:ro")
    if volumes:
        arguments["volumes"] = volumes
    if formula.get("config"):
        arguments["config_dir"] = formula["config_dir"]
    arguments = trusting(arguments, service, formula, context)
    return {"name": name, "service": service, **arguments}


def container_of_task(
    service: str,
    name: str,
    task: Mapping[str, Any],
    cloud: Mapping[str, Any],
    context: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the arguments of the container that a task with an image has for itself, see :func:`container`."""
    spec = {key: value for key, value in task.items() if key not in _OF_A_TASK}
    full_name = tasks.container_name(service, name)
    return container(service, full_name, spec, cloud, context)


def trusting(
    arguments: Mapping[str, Any],
    service: str,
    formula: Mapping[str, Any],
    context: Mapping[str, Any],
) -> dict[str, Any]:
    """Return a container's arguments with its service's certificates, where the cloud has any."""
    if "certificates" not in formula:
        return dict(arguments)
    mount = f"{context['certificates']}/{service}:{paths.TLS}:ro"
    # Python's own client reads one, the package requests the other.
    names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
    trusted = dict.fromkeys(names, context["certificate"]("bundle"))
    return {
        **arguments,
        "volumes": [*arguments.get("volumes", []), mount],
        "environment": {**trusted, **arguments.get("environment", {})},
    }


def _module(body: Mapping[str, Any]) -> str:
    """Return the state module of a state's body: ``container`` of ``container.running``."""
    return next(iter(body)).partition(".")[0]


def _follow(body: Any, require: list[dict[str, str]]) -> Any:
    """Return a state's body that also requires what stands before it."""
    if not require or not isinstance(body, Mapping):
        return body
    return {
        function: [*(arguments or []), {"require": require}]
        if not any("require" in one for one in arguments or [])
        else arguments
        for function, arguments in body.items()
    }
