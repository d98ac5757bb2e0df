"""Container images: the tree of `images/`, rendered, built, pushed, pulled and measured.

Options come from the pillar (`saltern:images`); any of them can be given by name, such as ``base=ubuntu``.
docs/images.md describes them. Images are built on the master's host; others pull them. Where a verb takes names, none means the images that the cloud of the pillar runs, and ``all`` every
image there is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import salt.utils.args
import salt.utils.event

from saltern.errors import SalternError
from saltern.images import workshop
from saltern.images.display import Display, fan_out
from saltern.images.events import Event
from saltern.images.options import Options, folders
from saltern.run import inventory, screen


def tree(**options: Any) -> str:
    """Return the images as a tree of what starts from what.

    CLI Example:

    .. code-block:: bash

        salt-run image.tree
    """
    return _call(lambda shop: shop.tree(), options)


def render(*names: str, directory: str | None = None, **options: Any) -> dict[str, str]:
    """Render Dockerfiles; returned, or written below ``directory``.

    CLI Example:

    .. code-block:: bash

        salt-run image.render directory=/tmp/dockerfiles base=ubuntu
    """

    def act(shop: workshop.Workshop) -> dict[str, str]:
        return shop.write(Path(directory), names) if directory else shop.render(names)

    return _call(act, options)


def build(
    *names: str, force: bool = False, nocache: bool = False, **options: Any
) -> dict[str, Any]:
    """Build images and what they need, if they are not current. Progress is shown on stderr.

    Events ``saltern/image/<name>/<begin|step|end>`` go to the master's bus.

    :param names: Images; none is those of the cloud, ``all`` is every image.
    :returns: ``images``: image to what was done, seconds and size: ``built in 4.6 s, 183.6 MB``, ``current, ...``;
        ``--out json`` prints it as data.
    A failed image's name, step and last lines are shown, and the exit code is 1.

    CLI Example:

    .. code-block:: bash

        salt-run image.build
        salt-run image.build all
        salt-run image.build keystone nocache=True
    """

    def act(shop: workshop.Workshop) -> dict[str, str]:
        display = Display()
        with salt.utils.event.get_master_event(__opts__, __opts__["sock_dir"], listen=False) as bus:

            def fire(event: Event) -> None:
                data = {
                    "step": event.step,
                    "steps": event.steps,
                    "seconds": round(event.seconds, 1),
                }
                data |= {"text": event.text, "percent": event.percent}
                bus.fire_event(data, f"saltern/image/{event.image}/{event.phase}")

            results = shop.build(
                _chosen(names), fan_out(display, fire), force, nocache, display.tick
            )
        if failed := workshop.failure(results):
            raise SalternError(failed)
        return {"outputter": "saltern", "data": {"images": workshop.table(results)}}

    return _call(act, options)


def plan(*names: str, **options: Any) -> dict[str, str]:
    """Return what ``build`` would build, and why.

    :param names: Images; none is those of the cloud, ``all`` is every image.
    :returns: Image to ``missing``, ``changed``, or ``named otherwise`` (it is here under another name, and gets
        its own without being built); current images are left out.

    CLI Example:

    .. code-block:: bash

        salt-run image.plan
    """

    def act(shop: workshop.Workshop) -> dict[str, str]:
        made = shop.plan(_chosen(names))
        return {**made.todo, **dict.fromkeys(made.elsewhere, "named otherwise")}

    return _call(act, options)


def push(*names: str, **options: Any) -> dict[str, str]:
    """Push images to the registry; return image to digest.

    CLI Example:

    .. code-block:: bash

        salt-run image.push
    """
    return _call(lambda shop: shop.push(_chosen(names)), options)


def pull(*names: str, **options: Any) -> dict[str, str]:
    """Pull images from the registry to the master's host; return image to id.

    CLI Example:

    .. code-block:: bash

        salt-run image.pull
    """
    return _call(lambda shop: shop.pull(_chosen(names)), options)


def sizes(*names: str, **options: Any) -> dict[str, Any]:
    """Return sizes in bytes, shared layers counted once.

    CLI Example:

    .. code-block:: bash

        salt-run image.sizes
    """
    return _call(lambda shop: shop.sizes(_chosen(names)), options)


def _call(act: Any, options: dict[str, Any]) -> Any:
    screen.end_quietly()
    changes = salt.utils.args.clean_kwargs(**options)
    try:
        root = workshop.find_root(__opts__, changes.pop("root", None))
        chosen = Options.from_pillar(inventory.pillar(__opts__), changes, folders(__opts__))
        return act(workshop.Workshop(root, chosen))
    except SalternError as error:
        # An exception would be shown as a traceback.
        return {"outputter": "saltern", "data": {"failed": f"FAILED\n{error}"}, "retcode": 1}


def _chosen(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the images that names mean; nothing is every image there is."""
    if names:
        return () if names == ("all",) else names
    return tuple(inventory.cloud(inventory.pillar(__opts__), __opts__).images)
