"""Give each host the pillar key ``cloud``: its services, the cloud's facts and its own secrets."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

from saltern import paths, yamlfile
from saltern.cloud import formulas as catalogs
from saltern.cloud import loading as clouds
from saltern.cloud import secrets as store
from saltern.cloud.view import host_view
from saltern.errors import SalternError
from saltern.images.options import Options, folders
from saltern.images.tags import tags
from saltern.run import inventory
from saltern.tls import store as certificate_store

log = logging.getLogger(__name__)


def ext_pillar(
    minion_id: str,
    pillar: dict[str, Any],
    formulas: list[str],
    images: str,
    secrets: str = paths.SECRETS,
    certificates: str = paths.CERTIFICATES,
) -> dict[str, Any]:
    """Return the pillar key ``cloud`` of a host of the inventory, nothing for other minions.

    The cloud is what the master's own pillar describes. What a minion's pillar says of it besides, such as what a
    minion has asked for (``pillar=``) or a top file gives to all of them, is not heard, and is taken away.

    :param formulas: Folders that hold ``<service>/service.yml``, most important first.
    :param images: The folder ``images/``: user ids, the releases that can be built, the names of images.
    :param secrets: The secrets file that ``saltern.genpwd`` makes.
    :param certificates: The folder that ``orch.certificates`` fills.
    :returns: ``{"cloud": view}``, or ``{"cloud": {"errors": [text, ...]}}`` if the pillar is wrong,
        so that every state refuses to run.
    """
    hidden: dict[str, Any] = {}
    # Without an argument `salt-run pillar.show_pillar` shows the pillar of "*".
    if minion_id not in (__opts__["id"], "*"):
        hidden = dict.fromkeys(key for key in pillar if _describes(key, formulas))
    return hidden | _cloud(minion_id, formulas, images, secrets, certificates)


def _describes(key: Any, formulas: list[str]) -> bool:
    """Return whether a key of the pillar belongs to the description of the cloud."""
    return key == "saltern" or any(Path(one, str(key), "service.yml").is_file() for one in formulas)


def _cloud(
    minion_id: str, formulas: list[str], images: str, secrets: str, certificates: str
) -> dict[str, Any]:
    try:
        described = inventory.kept_pillar(__opts__)
        if "saltern" not in described:
            return {}
        cloud = clouds.KEPT.load(described, catalogs.load(formulas), clouds.releases(images))
        errors = [str(problem) for problem in cloud.problems]
        if not errors and minion_id in cloud.hosts:
            users = yamlfile.read(Path(images, "users.yml"))
            stored = store.read(secrets)
            errors = [str(one) for one in store.problems(cloud.catalog, stored, secrets)]
            if not errors:
                own = certificate_store.read(certificates, minion_id)
                options = Options.from_pillar(described, defaults=folders(__opts__))
                view = host_view(
                    cloud,
                    minion_id,
                    {**stored, "certificates": own},
                    users,
                    tags(Path(images), options),
                )
                # A copy: Salt merges other pillars into it, and the cloud is kept for the next host.
                return {"cloud": pickle.loads(pickle.dumps(view))}
    except SalternError as error:
        errors = [str(error)]
    for error in errors:
        log.error("pillar of %s: %s", minion_id, error)
    return {"cloud": {"errors": errors}} if errors else {}
