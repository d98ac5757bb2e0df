"""Names of images: which ones a service needs, and how one is called in full."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saltern.images.options import Options


def image_name(cloud: Mapping[str, Any], image: str) -> str:
    """Return the full name of an image folder in a cloud.

    :param cloud: Pillar key ``cloud``.
    """
    named = {key: one for key, one in cloud["images"].items() if key != "tags"}
    tag = cloud["images"].get("tags", {}).get(image, "")
    return Options(release=cloud["release"], **named).name(image, tag)


def is_image_name(cloud: Mapping[str, Any], name: str) -> bool:
    """Return whether a cloud calls one of its images so now.

    :param cloud: Pillar key ``cloud``.
    :param name: A full name.
    """
    folder = name.rpartition(":")[0].rpartition("/")[2]
    return image_name(cloud, folder) == name


def images_of(formula: Mapping[str, Any]) -> list[str]:
    """Return the images of a service's containers and tasks, by folder name."""
    parts = [*formula.get("containers", {}).values(), *formula.get("tasks", {}).values()]
    return sorted({part["image"] for part in parts if "image" in part})
