"""Saltern on one host: what orchestrations ask of it and have it do."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import salt.state
import salt.utils.state
import yaml
from salt.exceptions import CommandExecutionError

from saltern import files, paths, space
from saltern.containers import revisions, stops
from saltern.containers.engine import Engine
from saltern.host import clients, look, plan_cache, prechecks
from saltern.host import facts as host_facts
from saltern.host.adapter import salt_errors
from saltern.images.names import image_name
from saltern.run import code
from saltern.run import plan as plans
from saltern.run import status as status_rows
from saltern.service import certificates, generation, scope, tasks

__func_alias__ = {"plan_": "plan"}
_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9_-]*")


def facts() -> dict[str, Any]:
    """Return what a run must know of a host before it starts.

    :returns: ``code``: digest of the extension code; ``busy``: ``jid`` and ``fun`` of a state run
        under way, or None; ``time``: the host's clock in seconds since the epoch; ``short``: a sentence
        for each place with too little room for a run.

    CLI Example:

    .. code-block:: bash

        salt aio saltern.facts
    """
    running = __salt__["saltutil.is_running"]("state.*")
    busy = {key: running[0][key] for key in ("jid", "fun")} if running else None
    digest = code.digest(code.synced(__opts__["extension_modules"]))
    return {
        "code": digest,
        "busy": busy,
        "time": time.time(),
        "short": space.short(look.room(__opts__)),
    }


def plan_(services: list[str] | None = None, served: str = "") -> dict[str, Any]:
    """Return what a state run would change, changing nothing; secrets are hidden.

    :param services: Names of services; None is all of this host.
    :param served: Digest of what the master serves, if that, the pillar and this host alone decide the
        plan: then a host on which nothing of it is different since a plan without changes says so
        without running states.
    :returns: :func:`facts`; ``services``: service to its states that would change, fail, cannot know it
        or are not up (see :func:`saltern.run.plan.kind`), each with ``state`` (its ID), ``result``,
        ``comment`` and ``changes``; ``leftovers``: containers that no service of this host wants, which
        nothing removes by itself. Empty while the host is busy or short of room.
    :raises CommandExecutionError: The states do not render.

    CLI Example:

    .. code-block:: bash

        salt aio saltern.plan
    """
    answer = facts() | {"leftovers": []}
    if answer["busy"] or answer["short"]:
        return answer | {"services": {}}
    names = _services(services)
    answer["leftovers"] = status_rows.leftovers(_rows(names))
    if not names:
        return answer | {"services": {}}
    marker = Path(paths.root("var", __opts__), "planned")
    decided_by = _decided_by(names, answer["code"], served)
    if decided_by and plan_cache.same(marker, decided_by):
        return answer | {"services": {}}
    found = plans.of_states(_in_test_mode(names), __pillar__["cloud"].get("secrets", {}))
    # A host that has changed meanwhile has not been planned as it was.
    if decided_by and not found and decided_by == _decided_by(names, answer["code"], served):
        with salt_errors():
            plan_cache.remember(marker, decided_by)
    return answer | {"services": found}


def status(services: list[str] | None = None, records: list[str] | None = None) -> dict[str, Any]:
    """Return the containers of this host's services, also those that are missing or left over.

    :param services: Names of services; all of this host also takes what others have left here.
    :param records: Services whose API is asked, by their client here, for what they hold for down.
    :returns: ``containers``: see :func:`saltern.run.status.rows`, and ``said``, what a health check that
        fails now has said; ``instances``: the ids of those that libvirt runs here, None if it does not
        run here or cannot be asked; ``records``: ``down``, ``errors`` and ``instances`` (host to the ids
        of those that should run, None if Nova was not asked or did not answer), None if none were asked for.

    CLI Example:

    .. code-block:: bash

        salt aio saltern.status
    """
    names = _services(services)
    rows = _rows(names)
    # What Docker knows is as old as the last check, and nothing after a start.
    doubtful = [one for one in rows if one["kind"] in ("starting", "unhealthy")]
    checks = __salt__["container.checks"]([one["name"] for one in doubtful])
    for one in doubtful:
        check = checks[one["name"]]
        one.update({"kind": "", "health": "healthy"} if check["healthy"] else {})
        one["said"] = check["output"]
    return {
        "containers": rows,
        "instances": _instances(names),
        "records": _records(records) if records else None,
    }


def images(services: list[str] | None = None) -> dict[str, Any]:
    """Return which images this host's services need.

    :returns: :func:`facts` and ``images``: full name to whether it is here.

    CLI Example:

    .. code-block:: bash

        salt aio saltern.images
    """
    with salt_errors():
        names = prechecks.image_names(_cloud(), _services(services))
        image_id = Engine().image_id
        return facts() | {"images": {name: bool(image_id(name)) for name in sorted(names)}}


def digests(images: list[str], services: list[str] | None = None) -> dict[str, str]:
    """Return what the registry holds now under the names of images: the digests of their manifests.

    :param images: Full names.
    :param services: Unused; passed by ``rollout.called``.
    :raises CommandExecutionError: The registry does not answer or lacks an image.

    CLI Example:

    .. code-block:: bash

        salt aio saltern.digests '[registry.example.org:5000/saltern/keystone:2026.2]'
    """
    with salt_errors():
        engine = Engine()
        return {name: engine.digest(name) for name in images}


def pull(digests: dict[str, str], services: list[str] | None = None) -> dict[str, str]:
    """Pull images by their digests, so that every host has the same bytes under the same name.

    :param digests: Full name to digest; names that this host's services do not use are left out.
    :returns: Image to ``pulled``; images that are current are left out.
    :raises CommandExecutionError: A pull fails.

    CLI Example:

    .. code-block:: bash

        salt aio saltern.pull '{"registry.example.org:5000/saltern/keystone:2026.2": "sha256:..."}'
    """
    done = {}
    with salt_errors():
        engine = Engine()
        wanted = prechecks.image_names(_cloud(), _services(services))
        for name in sorted(wanted & set(digests)):
            exact = f"{name.rpartition(':')[0]}@{digests[name]}"
            here = engine.image_id(exact)
            if here and here == engine.image_id(name):
                continue
            if not here:
                engine.pull(exact)
            engine.tag(exact, name)
            done[name] = "pulled"
    return done


def genconfig(services: list[str] | None = None) -> dict[str, dict[str, Any]]:
    """Write the wanted configuration; containers take it when they are replaced.

    :returns: Service to ``path`` and ``diff`` (secrets hidden) of what was written; services whose
        configuration was there already are left out.

    CLI Example:

    .. code-block:: bash

        salt aio saltern.genconfig
    """
    written = {}
    formulas = _cloud()["formulas"]
    for name in _services(services):
        if formulas[name].get("config") and not __salt__["generation.present"](name):
            diff = __salt__["generation.diff"](name)
            written[name] = {"path": __salt__["generation.write"](name), "diff": diff}
    return written


def post_deploy(services: list[str] | None = None) -> dict[str, str]:
    """Write what people need to use the cloud: clouds.yaml, openrc and the command ``openstack``.

    The command is left alone if there is another one in its place.

    :param services: Unused; passed by ``rollout.called``.
    :returns: Path to ``written``, for what has changed.

    CLI Example:

    .. code-block:: bash

        salt aio saltern.post_deploy
    """
    cloud, client, etc = _cloud(), _client(), paths.root("etc", __opts__)
    generated = Path(__salt__["generation.write"](client), "clouds.yaml").read_text()
    formula = cloud["formulas"][client]
    image = image_name(cloud, formula["containers"][client]["image"])
    prefix = __opts__.get("saltern", {}).get("prefix", "")
    mounted = formula["containers"][client].get("volumes", [])
    volumes = [prefix + one for one in mounted if not one.startswith("/")]
    credentials, openrc, command, bundle = _for_people()
    trusted = {}
    if "certificates" in formula:
        trusted = {bundle: certificates.delivery(cloud, client)[bundle.name]}
        volumes.append(f"{bundle}:{paths.TLS}/{bundle.name}:ro")
    wanted = {
        **trusted,
        credentials: (generated, 0o600),
        openrc: (clients.openrc(yaml.safe_load(generated)), 0o600),
        command: (clients.wrapper(image, etc, volumes), 0o755),
    }
    if command.exists() and not _is_ours(command):
        del wanted[command]
    changed = {}
    for path, (text, mode) in wanted.items():
        if _write(path, text, mode):
            changed[str(path)] = "written"
    return changed


def stop(services: list[str] | None = None) -> dict[str, str]:
    """Stop the containers of this host's services, those that others require last.

    :returns: Container to ``stopped``, for those that ran.

    CLI Example:

    .. code-block:: bash

        salt aio saltern.stop services='[glance]'
    """
    found = __salt__["container.list"]()
    order = [*reversed(_services(services))]
    chosen = [
        (order.index(one["service"]), name)
        for name, one in found.items()
        if one["service"] in order
    ]
    return {name: "stopped" for _, name in sorted(chosen) if __salt__["container.stopped"](name)}


def forget_host(host: str, services: list[str] | None = None) -> dict[str, str]:
    """Delete what services such as Nova keep of a host that is gone; runs where their client does.

    :param host: Minion id.
    :param services: Unused; passed by ``rollout.called``.
    :raises CommandExecutionError: A record is refused, such as that of a compute host with instances.

    CLI Example:

    .. code-block:: bash

        salt control1 saltern.forget_host control3
    """
    done = __salt__["container.exec"](
        _client(), ["forget-host", host, *_cloud()["services"]], timeout=200
    )
    if done["retcode"] != 0:
        raise CommandExecutionError(done["stderr"].strip()[-2000:])
    return {line.partition(":")[0]: "deleted" for line in done["stdout"].splitlines()}


def holdings(services: list[str] | None = None) -> dict[str, list[str]]:
    """Return what :py:func:`destroy` would remove, by kind: containers, volumes, folders, files.

    :param services: As for :py:func:`destroy`.
    :raises CommandExecutionError: A name cannot be that of a service.

    CLI Example:

    .. code-block:: bash

        salt aio saltern.holdings services='[glance]'
    """
    formulas = _cloud()["formulas"]
    chosen = [*formulas] if services is None else services
    for name in chosen:
        if not _NAME.fullmatch(name):
            raise CommandExecutionError(f"{name!r} is no name of a service")
    # Of a host without services, named ones are not all that it has.
    whole = set(formulas) <= set(chosen) and bool(formulas or not chosen)
    etc, var = Path(paths.root("etc", __opts__)), Path(paths.root("var", __opts__))
    credentials, openrc, command, bundle = _for_people()
    held = {
        "containers": [
            one["name"]
            for one in __salt__["container.snapshot"]()
            if whole or one["service"] in chosen
        ],
        "volumes": [
            name
            for name, one in __salt__["container.volumes"]().items()
            if whole or one["service"] in chosen
        ],
        "folders": [
            str(parent / name)
            for parent in (etc / "services", etc / "live", var / "keyrings", var / "certificates")
            for name in chosen
            if (parent / name).is_dir()
        ],
        "files": [
            str(path)
            for path in ((credentials, openrc, command, bundle) if whole else ())
            if path.exists() and (path in (credentials, bundle) or _is_ours(path))
        ],
    }
    return {kind: list(dict.fromkeys(names)) for kind, names in held.items() if names}


def destroy(services: list[str] | None = None) -> dict[str, list[str]]:
    """Remove containers, their volumes with all data, configuration and markers; nothing else.

    Only what bears the label ``saltern.service`` and this cloud's prefix can be hit.

    :param services: Names of services, also of such as do not run here any more, disabled, moved or gone;
        all of this host also takes what those have left.
    :returns: What was removed, by kind.
    :raises CommandExecutionError: A name cannot be that of a service.

    CLI Example:

    .. code-block:: bash

        salt aio saltern.destroy services='[glance]'
    """
    held = holdings(services)
    formulas = _cloud()["formulas"]
    # First, so that nobody misses what goes: without containers there is no way back to them either.
    var, prefix = paths.root("var", __opts__), __opts__.get("saltern", {}).get("prefix", "")
    for name in formulas if services is None else services:
        for path in (revisions.file(var, name), generation.note(var, name)):
            path.unlink(missing_ok=True)
    for name in held.get("containers", []):
        __salt__["container.absent"](name)
    for name in held.get("volumes", []):
        __salt__["container.remove_volume"](name)
    # Of a service that is gone nobody knows the tasks; its database, which they made, stays as well.
    for name in formulas if services is None else services:
        for task in tasks.of_phase(formulas.get(name, {}), "deploy"):
            __salt__["once.forget"](tasks.container_name(name, task))
    for folder in held.get("folders", []):
        shutil.rmtree(folder)
    for path in held.get("files", []):
        Path(path).unlink()
    for name in held.get("containers", []):
        stops.forget(stops.folder(var), prefix + name)
    return held


def _rows(names: list[str]) -> list[dict[str, Any]]:
    """Return the rows of the containers of services; those of all services are all that are here."""
    formulas = _cloud()["formulas"]
    chosen = None if len(names) == len(formulas) else names
    return status_rows.rows(__salt__["container.snapshot"](), formulas, chosen)


def _client() -> str:
    """Return the container that has the programs which ask the cloud's APIs."""
    return scope.provider(_cloud(), "client")


def _instances(names: list[str]) -> list[str] | None:
    """Return the ids of the instances that run here, None if no chosen service runs any."""
    runs = scope.provider(_cloud(), "instances")
    if runs not in names:
        return None
    try:
        found = __salt__["container.exec"](runs, ["list-instances"], timeout=20)
    except CommandExecutionError:
        return None  # its container is a finding of its own
    return found["stdout"].split() if found["retcode"] == 0 else None


def _records(services: list[str]) -> dict[str, Any]:
    """Return what services of OpenStack hold for down, as their client here hears it."""
    client = _client()
    try:
        done = __salt__["container.exec"](client, ["list-down", *services], timeout=40)
        if done["retcode"] == 0:
            return json.loads(done["stdout"])
        # What cannot be started has Docker's word on its standard output.
        text = (done["stderr"].strip() or done["stdout"].strip())[-1000:]
    except CommandExecutionError as error:
        text = str(error)
    return {"down": [], "errors": {client: text}, "instances": None}


def _in_test_mode(names: list[str]) -> dict[str, dict[str, Any]]:
    """Return what ``state.sls`` in test mode would return, with the pillar that is here already.

    :raises CommandExecutionError: The states do not render.
    """
    opts = salt.utils.state.get_sls_opts(__opts__)
    opts.update(test=True, state_events=False)
    pillar = __pillar__.value()
    with salt.state.HighState(opts, context=dict(__context__), initial_pillar=pillar) as states:
        states.push_active()
        try:
            high, errors = states.render_highstate({opts["saltenv"] or "base": names})
            running = errors or states.state.call_high(high)
        finally:
            states.pop_active()
    if not isinstance(running, dict):
        hidden = pillar["cloud"].get("secrets", {})
        raise CommandExecutionError("\n".join(plans.hide([str(one) for one in running], hidden)))
    return running


def _decided_by(names: list[str], code_: str, served: str) -> str:
    """Return a digest of all that a plan of plain services depends on; nothing if it is not known."""
    if not served:
        return ""
    try:
        images = prechecks.image_names(__pillar__["cloud"], names)
        containers = __salt__["container.digest"](sorted(images))
    except CommandExecutionError:
        return ""  # the states say what is wrong with Docker
    inputs = {
        "pillar": __pillar__.value(),
        "host": {**asdict(host_facts.machine(__grains__)), **__opts__.get("saltern", {})},
        "services": names,
        "code": code_,
        "served": served,
        "containers": containers,
    }
    etc, var = Path(paths.root("etc", __opts__)), Path(paths.root("var", __opts__))
    places = (etc / "services", etc / "live", var / "keyrings", var / "certificates")
    kept = [place / name for place in places for name in names]
    return plan_cache.digest(inputs, [*kept, var / "once"])


def _for_people() -> tuple[Path, Path, Path, Path]:
    """Return what ``post_deploy`` writes: clouds.yaml, openrc, ``openstack``, authorities to trust."""
    etc = Path(paths.root("etc", __opts__))
    programs = Path(__opts__.get("saltern", {}).get("bin", "/usr/local/bin"))
    # clouds.yaml names the authorities by the same path as in the toolbox.
    bundle = etc / "tls/bundle.pem"
    return etc / "clouds.yaml", etc / "openrc", programs / "openstack", bundle


def _is_ours(path: Path) -> bool:
    return clients.MARK in path.read_text(errors="replace")


def _write(path: Path, text: str, mode: int) -> bool:
    """Write a file unless it is there with this text and mode; return whether it changed."""
    if path.exists() and path.read_text() == text and path.stat().st_mode & 0o777 == mode:
        return False
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    files.write(path, text, mode)
    return True


@salt_errors()
def _cloud() -> Mapping[str, Any]:
    return host_facts.fresh_cloud(__pillar__, __opts__, __grains__, __context__)


def _services(chosen: list[str] | None) -> list[str]:
    """Return the host's services that were chosen, each after what it requires."""
    return [name for name in _cloud()["formulas"] if chosen is None or name in chosen]
