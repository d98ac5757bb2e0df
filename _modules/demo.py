"""First steps in the cloud: an instance with all that it needs, made by the image ``demo``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from salt.exceptions import CommandExecutionError

from saltern import files, paths
from saltern.containers import actual
from saltern.containers.engine import Engine
from saltern.errors import SalternError
from saltern.host import facts as host
from saltern.host.adapter import salt_errors
from saltern.images.names import image_name
from saltern.service import scope, states

_NEEDED = ("glance", "nova", "nova-compute", "neutron", "openvswitch")


def step(step: str, services: list[str] | None = None) -> dict[str, Any]:
    """Do one step of the demo on this host, which runs the toolbox; what is there is left alone.

    :param step: ``image``, ``network``, ``machine``, ``page`` or ``destroy``, in this order; see
        ``images/demo/demo``.
    :param services: Unused; passed by ``rollout.called``.
    :returns: ``changes``: what it made or removed; ``facts``: of the machine, such as ``vm_active_s``;
        ``text``: for people. What is empty is left out.
    :raises CommandExecutionError: A service or the image is missing, or the step failed.

    CLI Example:

    .. code-block:: bash

        salt aio demo.step image
    """
    with salt_errors():
        cloud = host.fresh_cloud(__pillar__, __opts__, __grains__, __context__)
        _check(cloud)
        toolbox = cloud["formulas"]["toolbox"]
        context = host.context("toolbox", __pillar__, __opts__, __grains__)
        one = states.trusting(toolbox["containers"]["toolbox"], "toolbox", toolbox, context)
        done = __salt__["container.run"](
            f"demo-{step}",
            service="toolbox",
            image=image_name(cloud, "demo"),
            command=["demo", step],
            stdin=json.dumps(_settings(cloud)),
            config_dir=toolbox["config_dir"],
            timeout=900,
            **{key: one[key] for key in ("environment", "volumes", "tmpfs")},
        )
    if done["retcode"]:
        raise CommandExecutionError(done["stderr"].strip() or done["stdout"].strip())
    answer = json.loads(done["stdout"].strip().splitlines()[-1])
    if step == "page":
        facts = answer["facts"]
        answer = {
            "text": _report(facts, cloud),
            "facts": {key: facts[key] for key in facts if key == "vm_reachable_s"},
        }
    return {key: value for key, value in answer.items() if value}


def _check(cloud: Mapping[str, Any]) -> None:
    missing = [name for name in _NEEDED if name not in cloud["services"]]
    if missing:
        raise SalternError(
            f"the demo needs {', '.join(missing)}: enable them in the pillar, "
            f"saltern:services:{missing[0]}:enabled, and run orch.deploy"
        )
    image = image_name(cloud, "demo")
    # One from a registry is pulled by the container that uses it.
    if not Engine().image_id(image) and not actual.has_registry(image):
        raise SalternError(f"no image {image} here: salt-run image.build demo")


def _settings(cloud: Mapping[str, Any]) -> dict[str, Any]:
    switch = cloud["services"]["openvswitch"]["options"]
    return {
        "physical_network": switch["external_network"],
        # Who lets real networks in knows their addresses; nobody else does.
        "external_cidr": "" if switch["external_interface"] else switch["external_cidr"],
        "cidr": cloud["services"]["toolbox"]["options"]["demo_cidr"],
        "public_key": _public_key(),
    }


def _key() -> Path:
    return Path(paths.root("etc", __opts__), "demo_key")


def _public_key() -> str:
    """Return the public half of the demo's SSH key, which is made if there is none."""
    path = _key()
    if path.exists():
        key = serialization.load_ssh_private_key(path.read_bytes(), None)
    else:
        key = Ed25519PrivateKey.generate()
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
        files.write(path, private.decode(), 0o600)
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return public.decode()


def _report(facts: Mapping[str, Any], cloud: Mapping[str, Any]) -> str:
    """Return what people want to know of the instance."""
    lines = [
        "",
        f"The instance demo answers at http://{facts['address']}/ :",
        *(f"    {line}" for line in facts["page"].splitlines()),
        "Its console says:",
        *(f"    {line}" for line in facts["console"].splitlines() if line.strip()),
        "Go on:",
        f"    ssh -i {_key()} root@{facts['address']}",
        "    openstack --os-cloud saltern server list",
    ]
    horizon = cloud["services"].get("horizon")
    if horizon:
        url = scope.Context(cloud, "horizon").endpoint("horizon", "public")
        lines.append(
            f"    {url}/  user admin, domain Default, password in "
            f"{paths.root('etc', __opts__)}/clouds.yaml"
        )
    lines += [f"    {facts['console_url']}  the instance's screen", ""]
    return "\n".join(lines)
