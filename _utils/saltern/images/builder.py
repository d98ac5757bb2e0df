"""Builds one image: a Dockerfile through Docker's API, or a root file system by its script."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import docker
import docker.errors
import requests

from saltern.errors import SalternError
from saltern.images.context import Context, write_tar
from saltern.images.events import Emit, Event, Result
from saltern.images.options import NAME_LABEL, Options
from saltern.images.render import Image
from saltern.images.sources import masked

HASH_LABEL = "saltern.hash"
RELEASE_LABEL = "saltern.release"
LAST_LINES = 20
# What a build prints when the network, not the image, is at fault.
_NETWORK = re.compile(
    r"temporary failure|could not resolve|name resolution|failed to fetch|connection (reset|refused|timed"
    r" out|broken)|timed out|error sending request|tls handshake|unexpected eof|503 service|502 bad|429 too",
    re.IGNORECASE,
)
_STEP = re.compile(r"Step (\d+)/(\d+) : (.*)")
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def client() -> docker.APIClient:
    """Return a connection to the local Docker daemon.

    :raises SalternError: It does not answer.
    """
    try:
        # A step may be silent for long: compiling, resolving.
        return docker.APIClient(version="auto", timeout=3600, **docker.utils.kwargs_from_env())
    except docker.errors.DockerException as error:
        raise SalternError(f"Docker does not answer: {error}. Start dockerd") from error


@dataclass
class Builder:
    """Builds images one after another; one per thread."""

    options: Options
    emit: Emit
    nocache: bool = False

    def build(self, image: Image, made: Context, digest: str) -> Result:
        """Build one image and tag it.

        :returns: A result with status ``built`` or ``failed``; never raises for a failed build.
        """
        began = time.monotonic()
        log = Path(self.options.log_dir) / f"{image.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        self.emit(Event(image.name, "begin", steps=image.steps, text=image.full_name))
        result = Result(image.name, "failed", image.full_name, log=str(log))
        with log.open("w") as out:
            for attempt in range(self.options.retries + 1):
                if attempt:
                    out.write(f"The network failed; attempt {attempt + 1}.\n")
                    time.sleep(min(2**attempt, 30))
                run = _Run(image, made, digest, self, out)
                failure = run.attempt()
                if not failure or not _NETWORK.search(
                    "\n".join([failure, *run.lines[-LAST_LINES:]])
                ):
                    break
        seconds = time.monotonic() - began
        if failure:
            lines = run.lines[-LAST_LINES:]
            comment = "\n".join(
                [f"{image.name} failed in {run.step}", failure, *lines, f"Log: {log}"]
            )
            result = replace(result, comment=comment, lines=lines)
        else:
            result = replace(result, status="built", size=run.size)
        self.emit(Event(image.name, "end", image.steps, image.steps, seconds, result.status))
        return replace(result, seconds=seconds)

    def build_arguments(self, image: Image) -> dict[str, str]:
        """Return proxies and indexes: known while building, not part of the image."""
        options = self.options
        values = options.proxies() | {
            key: options.pip_index
            for key in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX")
            if f"ARG {key}" in image.text
        }
        return {key: value for key, value in values.items() if value}


@dataclass
class _Run:
    """One attempt: keeps the step it is in and the lines it printed."""

    image: Image
    made: Context
    digest: str
    builder: Builder
    out: IO[str]

    def __post_init__(self) -> None:
        self.lines: list[str] = []
        self.step = "step 0 (preparing)"
        self.size = 0
        self.began = time.monotonic()

    def attempt(self) -> str:
        """Build; return what failed, or an empty string."""
        state = Path(self.builder.options.state_dir)
        state.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f"{self.image.name}-", dir=state))
        docker_client = client()
        try:
            if self.image.folder.bootstrap:
                self._bootstrap(docker_client, work)
            else:
                self._dockerfile(docker_client, work)
            self.size = docker_client.inspect_image(self.image.full_name)["Size"]
        except (SalternError, docker.errors.DockerException, OSError) as error:
            return str(error)
        except requests.exceptions.RequestException as error:
            return f"lost the connection to Docker: {error}"
        finally:
            docker_client.close()
            shutil.rmtree(work, ignore_errors=True)
        return ""

    def _dockerfile(self, docker_client: docker.APIClient, work: Path) -> None:
        trees = {}
        for key, source in self.made.sources.items():
            self._enter(0, self.image.steps, f"Fetch the source of {source.name}")
            trees[key] = source.fetch(Path(self.builder.options.state_dir), work / key)
        with (work / "context.tar").open("w+b") as archive:
            write_tar(self.image, self.made, trees, archive)
            output = docker_client.build(
                fileobj=archive,
                custom_context=True,
                tag=self.image.full_name,
                labels=self._labels(),
                buildargs=self.builder.build_arguments(self.image),
                network_mode="host",
                nocache=self.builder.nocache,
                rm=True,
                forcerm=True,
                decode=True,
            )
            for chunk in output:
                self._chunk(chunk)

    def _labels(self) -> dict[str, str]:
        return {
            HASH_LABEL: self.digest,
            # Also if empty: a parent of before may have one.
            RELEASE_LABEL: self.image.release,
            "saltern.image": self.image.name,
            NAME_LABEL: self.image.full_name,
        }

    def _chunk(self, chunk: dict[str, Any]) -> None:
        for line in _lines(chunk.get("stream", "")):
            self.out.write(line + "\n")
            match = _STEP.match(line)
            if match:
                self._enter(int(match[1]), int(match[2]), match[3])
            else:
                self.lines.append(line)
        self.out.flush()
        if "error" in chunk:
            error = masked(chunk["error"])
            self.out.write(error + "\n")
            raise SalternError(error.strip())

    def _enter(self, step: int, steps: int, text: str) -> None:
        self.step = f"step {step}/{steps}: {text}"
        self.lines.clear()
        seconds = time.monotonic() - self.began
        self.builder.emit(Event(self.image.name, "step", step, steps, seconds, text))

    def _bootstrap(self, docker_client: docker.APIClient, work: Path) -> None:
        self._enter(1, 2, "Make the root file system")
        script = work / "bootstrap"
        script.write_text(self.image.text)
        target = work / "rootfs"
        # Its own mount namespace: what the script mounts below the target is gone when it ends.
        command = ["unshare", "--mount", "bash", str(script), str(target)]
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=os.environ | self.builder.options.proxies(),
        ) as process:
            assert process.stdout
            for line in map(masked, process.stdout):
                self.out.write(line)
                self.lines.append(line.rstrip())
        if process.returncode:
            raise SalternError(f"the script returned a non-zero code: {process.returncode}")
        self._enter(2, 2, "Import it")
        repository, _, tag = self.image.full_name.rpartition(":")
        with subprocess.Popen(
            ["tar", "--numeric-owner", "-C", str(target), "-c", "."], stdout=subprocess.PIPE
        ) as tar:
            docker_client.import_image_from_stream(
                tar.stdout,
                repository=repository,
                tag=tag,
                changes=[f"LABEL {name}={value}" for name, value in self._labels().items()],
            )
        if tar.returncode:
            raise SalternError(f"tar returned a non-zero code: {tar.returncode}")


def _lines(text: str) -> Iterator[str]:
    for line in text.replace("\r", "\n").splitlines():
        clean = masked(_ESCAPES.sub("", line).rstrip())
        if clean:
            yield clean
