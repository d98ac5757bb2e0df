"""Container images: the tree of `images/`, rendered, built, pushed, pulled and measured.

Options come from the pillar (`saltern:images`); any of them can be given to a function by name,
such as ``base=ubuntu``. docs/images.md describes them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import salt.utils.args
from salt.exceptions import CommandExecutionError

from saltern.errors import SalternError
from saltern.images import workshop
from saltern.images.display import Display, fan_out
from saltern.images.events import Event
from saltern.images.options import Options


def tree(**options: Any) -> str:
    """Return the images as a tree of what starts from what.

    CLI Example:

    .. code-block:: bash

        salt-call image.tree
    """
    return _call(lambda shop: shop.tree(), options)


def render(*names: str, directory: str | None = None, **options: Any) -> dict[str, str]:
    """Render Dockerfiles.

    :param names: Images; none is all.
    :param directory: Write them to ``<directory>/<image>/Dockerfile`` instead of returning them.
    :returns: Image to Dockerfile, or to the path written.

    CLI Example:

    .. code-block:: bash

        salt-call image.render keystone base=rocky install_type=binary
        salt-call image.render directory=/tmp/dockerfiles
    """

    def act(shop: workshop.Workshop) -> dict[str, str]:
        return shop.write(Path(directory), names) if directory else shop.render(names)

    return _call(act, options)


def build(
    *names: str, force: bool = False, nocache: bool = False, **options: Any
) -> dict[str, str]:
    """Build images and what they need, if they are not current. Progress is shown on stderr.

    :param names: Images; none is all.
    :param force: Build the named images even if they are current.
    :param nocache: As ``force``, and take nothing from Docker's build cache.
    :returns: Image to what was done, seconds and size: ``built in 4.6 s, 183.6 MB``, ``current, ...``.
    :raises CommandExecutionError: An image failed: its name, step and last lines.

    CLI Example:

    .. code-block:: bash

        salt-call image.build
        salt-call image.build keystone glance jobs=4
    """

    def act(shop: workshop.Workshop) -> dict[str, str]:
        display = Display()
        results = shop.build(names, fan_out(display, _fire), force, nocache, display.tick)
        display.end(results)
        if failed := workshop.failure(results):
            raise CommandExecutionError(failed)
        return workshop.table(results)

    return _call(act, options)


def plan(*names: str, **options: Any) -> dict[str, str]:
    """Return what ``build`` would build, and why.

    :returns: Image to ``missing`` or ``changed``; current images are left out.

    CLI Example:

    .. code-block:: bash

        salt-call image.plan
    """
    return _call(lambda shop: dict(shop.plan(names).todo), options)


def push(*names: str, **options: Any) -> dict[str, str]:
    """Push images to the registry of the options.

    :returns: Image to digest.

    CLI Example:

    .. code-block:: bash

        salt-call image.push registry=registry.example.org:5000
    """
    return _call(lambda shop: shop.push(names), options)


def pull(*names: str, **options: Any) -> dict[str, str]:
    """Pull images from the registry of the options.

    :returns: Image to image id.

    CLI Example:

    .. code-block:: bash

        salt-call image.pull keystone
    """
    return _call(lambda shop: shop.pull(names), options)


def sizes(*names: str, **options: Any) -> dict[str, Any]:
    """Return sizes in bytes, shared layers counted once.

    :param names: Images; none is all that are deployed.
    :returns: ``total``; ``images``: image to ``size`` and ``own`` (layers no other image has);
        ``missing``: images that are not built.

    CLI Example:

    .. code-block:: bash

        salt-call image.sizes
    """
    return _call(lambda shop: shop.sizes(names), options)


def name(image: str, **options: Any) -> str:
    """Return the full name of an image: ``[registry/]namespace/image:tag``.

    CLI Example:

    .. code-block:: bash

        salt-call image.name keystone
    """
    return _call(lambda shop: shop.options.name(shop.catalog.folder(image).name), options)


def _call(act: Any, options: dict[str, Any]) -> Any:
    changes = salt.utils.args.clean_kwargs(**options)
    try:
        root = workshop.find_root(__opts__, changes.pop("root", None))
        chosen = Options.from_pillar(__pillar__, changes, workshop.defaults(__opts__))
        return act(workshop.Workshop(root, chosen))
    except SalternError as error:
        raise CommandExecutionError(str(error)) from error


def _fire(event: Event) -> None:
    # A masterless call has no bus to send to, and would log a warning for every event.
    if __opts__.get("local") or __opts__.get("file_client") == "local":
        return
    data = {"step": event.step, "steps": event.steps, "seconds": round(event.seconds, 1)}
    data |= {"text": event.text, "percent": event.percent}
    __salt__["event.send"](f"saltern/image/{event.image}/{event.phase}", data)
