"""Images to and from a registry, through Docker's API."""

from __future__ import annotations

import time
from collections.abc import Callable

import docker
import docker.errors

from saltern.errors import SalternError


def push(
    docker_client: docker.APIClient, full_name: str, retries: int = 3, built_as: str = ""
) -> str:
    """Push one image.

    :param full_name: ``registry/namespace/image:tag``.
    :param built_as: The image's name where it was built for no registry; it is taken if there is
        none of the full name, which then is given to it for the push alone.
    :returns: The digest the registry gave it, ``sha256:...``.
    :raises SalternError: The registry refuses, or does not answer.
    """
    repository, _, tag = full_name.rpartition(":")
    if built_as and built_as != full_name and not docker_client.images(full_name):
        if not docker_client.images(built_as):
            raise SalternError(f"neither {full_name} nor {built_as} is here. Was it built?")
        docker_client.tag(built_as, repository, tag)
        try:
            return push(docker_client, full_name, retries)
        finally:
            docker_client.remove_image(full_name, noprune=True)

    def once() -> str:
        digest = ""
        for chunk in docker_client.push(repository, tag, stream=True, decode=True):
            if "error" in chunk:
                raise SalternError(
                    f"{full_name}: {chunk['error']}. Is saltern:images:registry right?"
                )
            digest = chunk.get("aux", {}).get("Digest", digest)
        return digest

    return _retry(once, full_name, retries)


def pull(docker_client: docker.APIClient, full_name: str, retries: int = 3) -> str:
    """Pull one image.

    :returns: The image's id, ``sha256:...``.
    :raises SalternError: The registry does not have it, or does not answer.
    """
    repository, _, tag = full_name.rpartition(":")

    def once() -> str:
        for chunk in docker_client.pull(repository, tag, stream=True, decode=True):
            if "error" in chunk:
                raise SalternError(f"{full_name}: {chunk['error']}. Was it pushed?")
        return docker_client.inspect_image(full_name)["Id"]

    return _retry(once, full_name, retries)


def _retry(once: Callable[[], str], full_name: str, retries: int) -> str:
    for attempt in range(retries + 1):
        try:
            return once()
        except (SalternError, docker.errors.APIError) as error:
            final = isinstance(error, docker.errors.NotFound) or "not found" in str(error)
            if final or attempt == retries:
                if isinstance(error, SalternError):
                    raise
                raise SalternError(f"{full_name}: {error.explanation or error}") from error
            time.sleep(min(2**attempt, 30))
    raise AssertionError("unreachable")
