"""Images brought to the hosts of a run: who lacks which, and the same bytes for all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from saltern.errors import Failure
from saltern.run import pins
from saltern.run.fleet import Run
from saltern.run.progress import Phase

_BUILD = "salt-run image.build, or name a registry in the pillar: saltern:images:registry"


def wanted(run: Run, phase: Phase) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return host to the images of its services, and host to those of them that it lacks.

    :raises RolloutError: A host is silent or fails.
    """
    answers = run.fleet.ask(phase, "saltern.images", run.calls(), 60)
    found = {host: answer["images"] for host, answer in answers.items()}
    lacking = {host: [one for one in images if not images[one]] for host, images in found.items()}
    return {host: list(images) for host, images in found.items()}, lacking


def failures(lacking: Mapping[str, Iterable[str]]) -> list[Failure]:
    """Return what is wrong with hosts that lack images where no registry has them."""
    return [
        Failure(f"not here: {', '.join(images)}", host, remedy=_BUILD)
        for host, images in lacking.items()
        if images
    ]


def names(images: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the images of all hosts, each once."""
    return sorted({name for names in images.values() for name in names})


def digests(
    run: Run, phase: Phase, path: str | Path, images: Iterable[str], again: bool
) -> pins.Pins:
    """Return full image names to digests, which one host has asked the registry for.

    :param path: The file in which they are kept.
    :param again: Ask also for those that are kept already.
    :raises RolloutError: The host is silent or fails.
    """
    kept = pins.read(path)
    unknown = [image for image in images if again or image not in kept]
    if unknown:
        first = run.hosts[0]
        kept |= run.fleet.call(phase, "saltern.digests", {first: {"images": unknown}}, 120)[first]
        pins.write(path, kept)
    return kept


def pull(
    run: Run,
    phase: Phase,
    images: Mapping[str, Iterable[str]],
    digests: pins.Pins,
    deadline: float,
    serial: int,
) -> dict[str, Any]:
    """Pull images by their digests; return host to what it has got, without those that got nothing.

    :param images: Host to full image names.
    :param deadline: Seconds a host has.
    :param serial: Hosts that pull together.
    :raises RolloutError: A host is silent or fails.
    """
    calls = {
        host: {**call, "digests": {image: digests[image] for image in images[host]}}
        for host, call in run.calls().items()
        if images[host]
    }
    answers = run.fleet.call(phase, "saltern.pull", calls, deadline, serial)
    return {host: done for host, done in answers.items() if done}
