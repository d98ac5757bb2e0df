"""The tags of images that are the same for every release: hosts, which render none, get them by their pillar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from saltern.images.catalog import Catalog, times
from saltern.images.options import Options
from saltern.images.render import render

# What the tags were last found from, and they.
_kept: tuple[Any, dict[str, str]] = (None, {})


def tags(root: Path, options: Options) -> dict[str, str]:
    """Return image to tag of all images whose build does not depend on the release.

    What an image's build depends on, only rendering it tells. It is kept for as long as no file changes: the
    pillars of many hosts are made of it.

    :param root: The folder ``images`` of the checkout.
    :returns: Nothing if the options give all images one tag. It is kept: nobody may change it.
    :raises SalternError: A template is wrong; names file and line.
    """
    global _kept
    if options.tag:
        return {}
    made_of = (options, times(root, options))
    if _kept[0] != made_of:
        images = render(Catalog(root, options), options).values()
        _kept = (
            made_of,
            {
                image.name: image.full_name.rpartition(":")[2]
                for image in images
                if not image.release
            },
        )
    return _kept[1]
