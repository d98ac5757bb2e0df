"""What a service of this host requires, asked through the load balancer as the service will."""

from __future__ import annotations

from saltern.host import facts
from saltern.host.adapter import salt_errors
from saltern.service import required


def missing(service: str) -> dict[str, str]:
    """Return what a service requires and does not answer behind HAProxy, with the reason.

    :param service: Name of the formula.
    :returns: For example ``{"mariadb at 10.0.0.9:3306": "the connection is closed at once"}``.
    :raises CommandExecutionError: The pillar is wrong.

    CLI Example:

    .. code-block:: bash

        salt aio required.missing keystone
    """
    with salt_errors():
        wanted = required.endpoints(service, facts.cloud(__pillar__, __opts__))
    answers = {str(one): required.why_not(one) for one in wanted}
    return {name: why for name, why in answers.items() if why}
