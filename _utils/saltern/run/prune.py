"""What a host keeps of old configuration and images without need: decisions only, no I/O.

Needed is what a container uses, what the pillar wants, and what leads back from there: the configuration and the
image that were in use before, and what the last two revisions of each service name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saltern.images.options import NAME_LABEL
from saltern.run.progress import count


def generations(
    found: Mapping[str, float], used: Collection[str], needed: Collection[str]
) -> list[str]:
    """Return the generations of a service that are not needed, the oldest last.

    :param found: Digest to the time at which it was wanted last.
    :param used: Those that containers use.
    :param needed: Digests, among other names, that a way back needs.
    """
    newest = sorted(found, key=lambda digest: -found[digest])
    since = max((found[one] for one in used if one in found), default=0.0)
    # What was wanted after that in use may be wanted still; of what was before, the last is the way back.
    later = [one for one in newest if one not in used and found[one] > since][:1]
    before = [one for one in newest if one not in used and found[one] <= since][:1]
    kept = {*used, *needed, *later, *before}
    return [one for one in newest if one not in kept]


@dataclass(frozen=True)
class Image:
    """An image that is not needed.

    :ivar names: What to remove: names, or the id of an image that has none.
    :ivar bytes: What no other image has of it.
    """

    names: tuple[str, ...]
    bytes: int


def images(
    listed: Sequence[Mapping[str, Any]],
    used: Collection[str],
    repository: str,
    wanted: Callable[[str], bool],
    needed: Collection[str],
) -> list[Image]:
    """Return the images of a cloud that are not needed.

    :param listed: Images in the words of ``GET /system/df``.
    :param used: Ids of the images of all containers.
    :param repository: How the names of all images of this cloud begin; none else is looked at.
    :param wanted: Whether a name is one that the pillar wants: images that have such a name are kept.
    :param needed: Names and ids, among other words, that a way back needs.
    """
    unneeded = []
    before: set[str] = set()
    for one in sorted(listed, key=lambda image: -image["Created"]):
        tags = [name for name in one.get("RepoTags") or () if name != "<none>:<none>"]
        digests = [name for name in one.get("RepoDigests") or () if "<none>" not in name]
        said = (one.get("Labels") or {}).get(NAME_LABEL, "")
        own = [name for name in tags if name.startswith(repository)]
        of_cloud = own or [name for name in (*digests, said) if name.startswith(repository)]
        # An image without a name of this cloud that has one of another's is that one's.
        if not of_cloud or (tags and not own) or one["Id"] in used or any(map(wanted, own)):
            continue
        if needed & {*tags, *digests, one["Id"]}:
            continue
        folders = {_repository(name) for name in of_cloud}
        if not folders <= before:
            before |= folders  # the newest that is not in use: the one before
            continue
        alone = one["Size"] - max(one.get("SharedSize", 0), 0)
        unneeded.append(Image(tuple(own) or (one["Id"],), alone))
    return unneeded


def exact(digests: Mapping[str, str], wanted: Callable[[str], bool]) -> list[str]:
    """Return the names by which the registry gave the images that are wanted now, each with its digest.

    :param digests: Full image names to digests.
    :param wanted: As for :func:`images`.
    """
    return [
        f"{name.rpartition(':')[0]}@{digest}" for name, digest in digests.items() if wanted(name)
    ]


def _repository(name: str) -> str:
    """Return an image's name without its tag or digest; a port of its registry is none."""
    name = name.partition("@")[0]
    return name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name


def text(freed: Mapping[str, Mapping[str, Any]], tested: bool = False) -> str:
    """Return a line a host: what went and how much room that gave.

    :param freed: Host to ``generations`` (service to digests), ``images`` (names) and ``bytes``.
    :param tested: It is yet to be done.
    """
    return "\n".join(f"  {host}: {_line(one, tested)}" for host, one in freed.items())


def size(number: float) -> str:
    """Return bytes as people read them: ``1.2 GB``."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"


def _line(one: Mapping[str, Any], tested: bool) -> str:
    folders = sum(map(len, one["generations"].values()))
    if not folders and not one["images"]:
        return "nothing to remove"
    what = f"{count(folders, 'generation')} of configuration, {count(len(one['images']), 'image')}"
    named = [*(f"{service} {', '.join(them)}" for service, them in one["generations"].items())]
    named += one["images"]
    verb = "would free at least" if tested else "freed"
    return f"{verb} {size(one['bytes'])}: {what} ({'; '.join(named)})"
