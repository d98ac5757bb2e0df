"""What is sent to Docker for one image, and the hash that tells whether it must be built again."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from saltern.errors import SalternError
from saltern.images import ENGINE_VERSION
from saltern.images.catalog import LOCKS, Catalog
from saltern.images.options import Options
from saltern.images.render import GENERATED, PYTHON, Image
from saltern.images.sources import Source, project_key

CERTIFICATES = f"{GENERATED}/ca-certificates"
BUNDLE = f"{GENERATED}/build-ca-bundle.crt"
# What orch.bootstrap_servers makes the Salt minion's virtualenv from.
MINION = f"{GENERATED}/minion"
_MINION_FILES = ("requirements.txt", "virtualenv")


@dataclass(frozen=True)
class Context:
    """The files of one build: name in the context to content or to a path of the build host.

    ``sources`` are fetched when the image is built, not before. ``unhashed`` are files of this
    host that do not change what is built.
    """

    files: Mapping[str, bytes | Path]
    sources: Mapping[str, Source]
    unhashed: frozenset[str] = frozenset()


def context(image: Image, catalog: Catalog, options: Options) -> Context:
    """Return what an image is built from.

    :raises SalternError: A CA or patch file of the options is missing, or a version in the lock.
    """
    files: dict[str, bytes | Path] = dict(image.folder.context())
    sources: dict[str, Source] = {}
    if CERTIFICATES in image.text:
        for path in map(Path, options.ca_certificates):
            files[f"{CERTIFICATES}/{path.stem}.crt"] = _existing(path, "ca_certificates")
    if BUNDLE in image.text:
        files[BUNDLE] = Path(options.build_ca_bundle)
    if MINION in image.text:
        served = catalog.root.parent / "salt/bootstrap/files"
        files |= {f"{MINION}/{name}": (served / name).resolve() for name in _MINION_FILES}
    if PYTHON in image.text:
        wanted = [one for one in [image.variables["project"], *image.variables["python"]] if one]
        projects = {project_key(_distribution(one)) for one in wanted}
        sources = {
            project_key(name): Source(
                name=name, environment=tuple(options.proxies().items()), **source
            )
            for name, source in options.sources.items()
            if project_key(name) in projects
        }
        files[f"{PYTHON}/packages.txt"] = "".join(f"{one}\n" for one in wanted).encode()
        files[f"{PYTHON}/constraints.txt"] = _lock(image, catalog, options, sources)
        files.update(_patches(projects, options))
    trees = {key: source for key, source in sources.items() if source.type != "pypi"}
    return Context(files, trees, frozenset({BUNDLE}))


def digest(image: Image, made: Context, parents: Mapping[str, str]) -> str:
    """Return the content hash of an image.

    It changes with the rendered Dockerfile, the files beside it, the versions it may install,
    its sources, its parents, and the release if it depends on that; not with what images are called.

    :param parents: Hashes of the parents by image name.
    :returns: 64 hexadecimal digits.
    """
    total = hashlib.sha256(f"{ENGINE_VERSION}\n{image.recipe}\n".encode())
    if image.release:
        total.update(f"release {image.release}\n".encode())
    for name in sorted(set(made.files) - made.unhashed):
        content = made.files[name]
        data, mode = _content(content)
        total.update(f"{name} {mode:o} {len(data)}\n".encode() + data)
    for key, source in sorted(made.sources.items()):
        total.update(f"source {key} {source.fingerprint()}\n".encode())
    for name in sorted(image.parents):
        total.update(f"parent {name} {parents[name]}\n".encode())
    return total.hexdigest()


def write_tar(image: Image, made: Context, trees: Mapping[str, Path], target: IO[bytes]) -> None:
    """Write the build context.

    :param trees: Fetched sources: project to directory.
    :param target: A file open for writing; left at its start.
    """
    with tarfile.open(fileobj=target, mode="w") as archive:
        _add(archive, "Dockerfile", image.text.encode(), 0o644)
        for name, content in sorted(made.files.items()):
            if isinstance(content, Path) and content.is_symlink():
                archive.add(content, name, filter=_owned_by_root)
            else:
                _add(archive, name, *_content(content))
        for key, tree in trees.items():
            archive.add(tree, f"{PYTHON}/sources/{key}", filter=_owned_by_root)
    target.seek(0)


def lock_lines(path: Path) -> Iterator[tuple[str, str, bool]]:
    """Yield (normalised name, version, whether it is a project) of a lock file.

    Lines between the comments ``# Projects`` and ``# Libraries`` are projects.

    :raises SalternError: A line that is not ``name==version``.
    """
    project = False
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith(("# Projects", "# Libraries")):
            project = line.startswith("# Projects")
        text = line.partition("#")[0].strip()
        if not text:
            continue
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==(\S+)", text)
        if not match:
            raise SalternError(f"{path}, line {number}: {text!r}. Write name==version")
        yield project_key(match[1]), match[2], project


def _lock(image: Image, catalog: Catalog, options: Options, sources: Mapping[str, Source]) -> bytes:
    """The lock without other services' projects: a new nova rebuilds nova's images only."""
    own = {project_key(_distribution(one)) for one in image.variables["python"]}
    own |= {project_key(one) for one in [image.variables["project"]] if one}
    name = f"{LOCKS}/{options.release}.txt"
    path, beside = catalog.file(name), image.folder.files.get(name)
    lock = lock_lines(path)
    lines = {key: version for key, version, project in lock if not project or key in own}
    lines |= {key: version for key, version, _ in lock_lines(beside)} if beside else {}
    for extra in options.extra_python.get(image.name, []):
        name, _, version = extra.partition("==")
        if version:
            lines[project_key(name)] = version
    for key, source in sources.items():
        if source.type == "pypi":
            lines[key] = source.reference or lines.get(key, "")
        else:
            lines.pop(key, None)
    if missing := own - lines.keys() - sources.keys():
        raise SalternError(
            f"images/{image.name} names {', '.join(sorted(missing))}, which {path} has no version of. "
            f"Add a line name==version there, or to {name} beside its image.yml"
        )
    return "".join(f"{key}=={version}\n" for key, version in sorted(lines.items())).encode()


def _patches(projects: set[str], options: Options) -> dict[str, Path]:
    top = Path(options.patches)
    return {
        f"{PYTHON}/patches/{project_key(folder.name)}/{patch.name}": patch
        for folder in (sorted(top.iterdir()) if top.is_dir() else ())
        if project_key(folder.name) in projects
        for patch in sorted(folder.glob("*.patch"))
    }


def _distribution(requirement: str) -> str:
    return re.split(r"[<>=!~;\[ ]", requirement, maxsplit=1)[0]


def _existing(path: Path, key: str) -> Path:
    if not path.is_file():
        raise SalternError(f"saltern:images:{key}: there is no file {path}. Correct the path")
    return path


def _content(content: bytes | Path) -> tuple[bytes, int]:
    if isinstance(content, bytes):
        return content, 0o644
    if content.is_symlink():
        return str(content.readlink()).encode(), 0o777
    # Only whether it can be executed counts: umask and checkout must not change the hash.
    return content.read_bytes(), 0o755 if content.stat().st_mode & 0o100 else 0o644


def _add(archive: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    archive.addfile(entry, io.BytesIO(data))


def _owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry
