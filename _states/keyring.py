"""Key rings: keys that a service rereads from disk, delivered without touching its containers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from saltern.errors import SalternError
from saltern.host import facts
from saltern.service import keyring


def present(name: str, service: str) -> dict[str, Any]:
    """Keep a service's key ring as the master has it.

    :param name: Name of the ring in ``keyrings`` of the service's ``service.yml``.
    :param service: Name of the formula.

    .. code-block:: yaml

        Deliver the fernet-keys of keystone:
          keyring.present:
            - name: fernet-keys
            - service: keystone
    """
    ret: dict[str, Any] = {"name": name, "result": True, "changes": {}, "comment": "Current."}
    try:
        cloud = facts.cloud(__pillar__, __opts__)
        context = facts.context(service, __pillar__, __opts__, __grains__)
        formula = cloud["formulas"][service]
        ring = context.secret(f"{service}.{formula['keyrings'][name]['secret']}")
    except SalternError as error:
        return ret | {"result": False, "comment": str(error)}
    ring = {int(number): key for number, key in ring.items()}
    folder = Path(context["keyrings"]) / service / name
    ret["changes"] = keyring.compare(folder, ring, formula["uid"])
    if not ret["changes"]:
        return ret
    if __opts__["test"]:
        return ret | {"result": None, "comment": f"Would write {folder}."}
    keyring.write(folder, ring, formula["uid"])
    return ret | {"comment": f"Wrote {folder}."}
