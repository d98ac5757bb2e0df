"""What is on the host: one listing of all its containers, and how each differs from its spec."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from saltern.containers import dockerapi
from saltern.containers.spec import Change, Spec, diff

# Names that a container has besides its own one, see replace.py.
NEXT, PREVIOUS, FAILED = "next", "previous", "failed"
_RELEASE = re.compile(r":(\d{4}\.\d)$")
_HEALTH = re.compile(r"\((healthy|unhealthy|health: starting)\)")


@dataclass(frozen=True)
class Container:
    """A container of Saltern as Docker lists it.

    :ivar name: Its name without the prefix and without ``.next``, ``.previous``, ``.failed``.
    :ivar part: ``next``, ``previous``, ``failed`` or nothing for the one that serves.
    :ivar state: Docker's word: created, running, paused, restarting, exited, dead.
    :ivar health: healthy, unhealthy, starting or nothing if it has no health check.
    :ivar release: OpenStack release of the image that it was made from; empty if that does not say.
    :ivar live: Folder of the configuration that it can read anew; empty if it cannot.
    :ivar place: Which of its two places it has; empty if it knows none.
    """

    id: str
    name: str
    part: str
    full_name: str
    service: str
    state: str
    status: str
    health: str
    image: str
    image_id: str
    created: int
    spec_digest: str
    spec_json: str
    config: str
    once: bool
    release: str = ""
    place: str = ""
    live: str = ""

    @property
    def spec(self) -> dict[str, Any]:
        """Return the normalised spec that the container was made from."""
        return json.loads(self.spec_json or "{}")


@dataclass(frozen=True)
class Snapshot:
    """All containers and images of a host at one time.

    :ivar images: Returns the id of an image by its name (with tag or digest) or id, None if it is not there.
    :ivar taken: `time.monotonic()` of the listing.
    """

    containers: Mapping[tuple[str, str], Container]
    images: Callable[[str], str | None]
    taken: float = field(default_factory=time.monotonic)

    def get(self, name: str, part: str = "") -> Container | None:
        """Return a container by its name and part."""
        return self.containers.get((name, part))

    def current(self) -> dict[str, Container]:
        """Return the containers that serve, by name."""
        return {name: one for (name, part), one in sorted(self.containers.items()) if not part}

    def digest(self, images: Iterable[str]) -> str:
        """Return hex digits that name all containers, but what time alone changes, and some images.

        :param images: Names of the images that matter.
        """
        found = sorted(str(replace(one, status="")) for one in self.containers.values())
        ids = [(image, self.image_id(image)) for image in sorted(images)]
        return hashlib.sha256(repr((found, ids)).encode()).hexdigest()

    def with_config(self, config: Callable[[Container], str]) -> Snapshot:
        """Return the same with the digests of the configuration that containers have read.

        :param config: Returns that of a container.
        """
        found = {key: replace(one, config=config(one)) for key, one in self.containers.items()}
        return Snapshot(found, self.images, self.taken)

    def image_id(self, image: str) -> str | None:
        """Return the id of an image, None if it is not on the host."""
        return self.images(full_image_name(image))


def full_image_name(image: str) -> str:
    """Return an image's name as Docker lists it: ``latest`` is the tag where none is given."""
    last = image.rpartition("/")[2]
    return image if ":" in last or "@" in last else f"{image}:latest"


def has_registry(image: str) -> bool:
    """Return whether an image's name says from which registry to pull it."""
    first, slash, _ = image.partition("/")
    return bool(slash) and ("." in first or ":" in first or first == "localhost")


def snapshot(
    listing: Iterable[Mapping[str, Any]], ask: Callable[[str], str | None], prefix: str = ""
) -> Snapshot:
    """Return the snapshot of a listing; containers of another prefix are left out.

    :param ask: Returns the id of an image, by its name or id. It is called for what the listing does not say:
        that names an image only as long as this is the container's (refreshImage of moby's daemon/list.go).
    """
    listed = list(listing)
    named = (one for one in listed if one["Image"] != one["ImageID"])
    known: dict[str, str | None] = {one["Image"]: one["ImageID"] for one in named}

    def images(name: str) -> str | None:
        if name not in known:
            known[name] = ask(name)
        return known[name]

    found = (_container(one, prefix) for one in listed)
    return Snapshot({(one.name, one.part): one for one in found if one}, images)


def _container(one: Mapping[str, Any], prefix: str) -> Container | None:
    labels = one.get("Labels") or {}
    names = [name.lstrip("/") for name in one.get("Names") or []]
    if not names or labels.get(dockerapi.LABEL_PREFIX, "") != prefix:
        return None
    name, _, part = names[0].removeprefix(prefix).partition(".")
    health = _HEALTH.search(one.get("Status", ""))
    return Container(
        id=one["Id"],
        name=name,
        part=part,
        full_name=names[0],
        service=labels[dockerapi.LABEL_SERVICE],
        state=one["State"],
        status=one.get("Status", ""),
        health=health[1].removeprefix("health: ") if health else "",
        image=one["Image"],
        image_id=one["ImageID"],
        created=one["Created"],
        spec_digest=labels.get(dockerapi.LABEL_SPEC, ""),
        spec_json=labels.get(dockerapi.LABEL_SPEC_JSON, ""),
        config=labels.get(dockerapi.LABEL_CONFIG, ""),
        once=dockerapi.LABEL_ONCE in labels,
        release=labels.get(dockerapi.LABEL_RELEASE) or _release(one["Image"]),
        place=labels.get(dockerapi.LABEL_PLACE, ""),
        live=labels.get(dockerapi.LABEL_LIVE, ""),
    )


def _release(image: str) -> str:
    """Return the release that an image's tag names: images of before had no label for it."""
    found = _RELEASE.search(image)
    return found[1] if found else ""


def compare(
    container: Container, spec: Spec, service: str, image_id: str | None, config: str
) -> list[Change]:
    """Return what of a container must change; nothing if it was made from this very spec.

    :param image_id: Id of the wanted image, None if it is not on the host.
    :param config: Digest of the wanted config generation, empty if there is none.
    """
    changes = []
    if container.image_id != image_id:
        new = f"{spec.image} ({_short(image_id)})" if image_id else f"{spec.image} (not here yet)"
        # Its name is another image's now, or nobody's: Docker tells the id alone.
        name = "" if container.image == container.image_id else f"{container.image} "
        changes.append(Change("image", f"{name}({_short(container.image_id)})", new))
    if container.config != config:
        changes.append(Change("config", container.config or None, config or None))
    if container.service != service:
        changes.append(Change("service", container.service, service))
    if container.spec_digest != spec.digest:
        changes += diff(container.spec, spec)
    return changes


def _short(image_id: str) -> str:
    return image_id.removeprefix("sha256:")[:12]
