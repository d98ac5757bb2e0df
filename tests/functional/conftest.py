"""Real Docker for the functional tests: a tiny image, the product's modules, and a clean end."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker
import pytest
import salt.config
import salt.loader

from .members import Members

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def api() -> docker.APIClient:
    """Return the SDK's client, to look at what the product did."""
    return docker.APIClient(version="auto")


@pytest.fixture(scope="session")
def images(api: docker.APIClient) -> Iterator[list[str]]:
    """Make two images of a static busybox; they differ in one file. No registry is asked."""
    tags = [f"{os.getpid()}-{number}" for number in (1, 2)]
    for tag in tags:
        api.import_image_from_data(busybox_root(tag), "saltern-test/busybox", tag)
    names = [f"saltern-test/busybox:{tag}" for tag in tags]
    yield names
    for name in names:
        api.remove_image(name)


@pytest.fixture(scope="session")
def image(images: list[str]) -> str:
    """Return the image that most tests use."""
    return images[0]


@pytest.fixture(scope="session")
def other_image(images: list[str]) -> str:
    """Return another image."""
    return images[1]


def busybox_root(name: str) -> bytes:
    """Return a tar of a root file system with a static busybox.

    :param name: Stands in one of its files.
    """
    busybox = Path("/bin/busybox")
    if not busybox.exists():
        subprocess.run(["apt-get", "install", "-y", "-q", "busybox-static"], check=True)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in ("tmp", "data", "etc"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
            tar.addfile(entry)
        tar.add(busybox, "bin/busybox")
        for applet in (
            "sh",
            "cat",
            "sleep",
            "id",
            "echo",
            "test",
            "true",
            "false",
            "head",
            "tail",
            "rm",
        ):
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
        text = f"root:x:0:0::/:/bin/sh\nguest:x:4242:4242:{name}:/:/bin/sh\n".encode()
        entry = tarfile.TarInfo("etc/passwd")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    return buffer.getvalue()


@pytest.fixture
def prefix(api: docker.APIClient, request: pytest.FixtureRequest) -> Iterator[str]:
    """Return a prefix of this test's own; what has it is removed at the end."""
    own = f"salterntest-{os.getpid()}-"
    yield own
    for one in api.containers(all=True, filters={"name": f"^/{own}"}):
        api.remove_container(one["Id"], force=True, v=True)
    for volume in api.volumes(filters={"name": f"^{own}"})["Volumes"] or []:
        api.remove_volume(volume["Name"])


@pytest.fixture
def minion_opts(tmp_path: Path, prefix: str) -> dict[str, Any]:
    """Return a minion's configuration that loads modules and states from the checkout."""
    opts = salt.config.minion_config(None)
    opts.update(
        root_dir=str(tmp_path),
        cachedir=str(tmp_path / "cache"),
        extension_modules=str(tmp_path / "extmods"),
        module_dirs=[str(CHECKOUT)],
        file_client="local",
        test=False,
        saltern={"prefix": prefix, "etc": str(tmp_path / "etc"), "var": str(tmp_path / "var")},
        grains={},
    )
    return opts


@pytest.fixture
def salt_loaded(minion_opts: dict[str, Any], image: str) -> SimpleNamespace:
    """Return the product's execution modules and states as Salt loads them."""
    return loaded(minion_opts)


def loaded(opts: dict[str, Any]) -> SimpleNamespace:
    """Return modules and states as a minion with this configuration loads them."""
    context: dict[str, Any] = {}
    utils = salt.loader.utils(opts, context=context)
    modules = salt.loader.minion_mods(opts, utils=utils, context=context)
    states = salt.loader.states(opts, modules, utils, None, context=context)
    return SimpleNamespace(modules=modules, states=states, opts=opts, context=context)


@pytest.fixture
def call(salt_loaded: SimpleNamespace) -> Callable[..., Any]:
    """Return a function that calls an execution function as a new job would."""

    def caller(function: str, *args: Any, **kwargs: Any) -> Any:
        salt_loaded.context.clear()
        return salt_loaded.modules[function](*args, **kwargs)

    return caller


@pytest.fixture
def members(minion_opts: dict[str, Any], image: str) -> Iterator[Callable[..., Members]]:
    """Return a function that makes three hosts for some services."""
    made: list[Members] = []

    def make(*services: str) -> Members:
        made.append(Members(minion_opts, image, services))
        return made[0]

    yield make
    for one in made:
        one.remove()


@pytest.fixture
def web(image: str) -> dict[str, Any]:
    """Return the arguments of a container that becomes healthy at once and stops at once."""
    serve = "echo up >/tmp/up; trap 'exit 0' TERM INT; while :; do sleep 0.1; done"
    return {
        "name": "web",
        "service": "web",
        "image": image,
        "command": ["sh", "-c", serve],
        "tmpfs": ["/tmp"],
        "healthcheck": {"test": ["test", "-e", "/tmp/up"]},
        "stop_timeout": 5,
        "deadline": 20,
    }


@pytest.fixture
def salt_call(tmp_path: Path, minion_opts: dict[str, Any]) -> list[str]:
    """Return the command line of a masterless minion of this checkout."""
    config = tmp_path / "config"
    config.mkdir()
    keys = ("root_dir", "cachedir", "extension_modules", "module_dirs", "file_client", "saltern")
    lines = [f"{key}: {minion_opts[key]!r}" for key in keys]
    lines += [f"file_roots: {{base: [{str(tmp_path / 'srv')!r}]}}", "id: functional"]
    (config / "minion").write_text("\n".join(lines) + "\n")
    program = shutil.which("salt-call") or str(Path(os.sys.executable).with_name("salt-call"))
    return [
        program,
        "--local",
        "--config-dir",
        str(config),
        "--log-level",
        "error",
        "--out",
        "json",
    ]
