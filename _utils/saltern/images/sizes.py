"""How much disk images take, with the layers that they share counted once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import docker
import docker.errors

# Steps that make a layer even if it is empty; all others only change the image's settings.
_LAYERED = ("COPY ", "ADD ", "WORKDIR ")


def sizes(docker_client: docker.APIClient, names: Mapping[str, str]) -> dict[str, Any]:
    """Return the sizes of images in bytes.

    :param names: Image to full name.
    :returns: ``total``, ``images``: image to ``size`` (as Docker shows it) and ``own`` (layers that
        no other of these images has), ``missing``: images that Docker does not have.
    """
    layers: dict[str, list[tuple[str, int]]] = {}
    found: dict[str, dict[str, int]] = {}
    missing = []
    for image, full_name in names.items():
        try:
            inspected = docker_client.inspect_image(full_name)
        except docker.errors.ImageNotFound:
            missing.append(image)
            continue
        chain = list(inspected["RootFS"].get("Layers", []))
        layers[image] = chained(chain, layer_sizes(chain, docker_client.history(full_name)))
        found[image] = {"size": inspected["Size"], "own": 0}
    users: dict[str, int] = {}
    unique: dict[str, int] = {}
    for chain in layers.values():
        for key, size in chain:
            users[key] = users.get(key, 0) + 1
            unique[key] = size
    for image, chain in layers.items():
        found[image]["own"] = sum(size for key, size in chain if users[key] == 1)
    return {"total": sum(unique.values()), "images": found, "missing": missing}


def layer_sizes(layers: list[str], history: list[Mapping[str, Any]]) -> list[int]:
    """Return the bytes of each layer, from an image's history.

    Docker's API gives sizes per step of the history, not per layer, and a step that only changes
    settings has no layer. Steps and layers are in the same order.

    :param layers: Layer digests, lowest first (``RootFS.Layers``).
    :param history: As ``GET /images/<name>/history`` answers, newest first.
    """
    steps = list(reversed(history))
    made = [step["Size"] for step in steps if step["Size"] or _is_layer(step.get("CreatedBy", ""))]
    if len(made) > len(layers):
        # More empty steps than empty layers: only the place of zeros is unknown.
        surplus = len(made) - len(layers)
        kept: list[int] = []
        for size in made:
            if size == 0 and surplus:
                surplus -= 1
            else:
                kept.append(size)
        made = kept
    return made + [0] * (len(layers) - len(made))


def chained(layers: list[str], layer_bytes: list[int]) -> list[tuple[str, int]]:
    """Return (chain id, bytes): a layer is shared only if all below it are shared too."""
    result: list[tuple[str, int]] = []
    key = ""
    for layer, size in zip(layers, layer_bytes, strict=True):
        key = f"{key}/{layer}"
        result.append((key, size))
    return result


def _is_layer(created_by: str) -> bool:
    if "#(nop)" in created_by:
        return created_by.partition("#(nop)")[2].strip().startswith(_LAYERED)
    # Without the marker it ran something (classic builder), or it is named (BuildKit).
    settings = (
        "ENV ",
        "CMD ",
        "ENTRYPOINT ",
        "LABEL ",
        "USER ",
        "ARG ",
        "EXPOSE ",
        "VOLUME ",
        "HEALTHCHECK ",
    )
    return bool(created_by) and not created_by.startswith(settings)
