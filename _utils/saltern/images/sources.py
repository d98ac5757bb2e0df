"""Where the source of a Python project comes from, when it is not the locked release of the index."""

from __future__ import annotations

import functools
import hashlib
import re
import shutil
import tarfile
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from saltern.errors import SalternError

# user:password@ of a URL, and a query, in which tokens are given, too.
_USER = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s@'\"]+@")
_QUERY = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s?'\"]+)\?[^\s'\"]+")
_SKIPPED = (".git", ".tox", ".venv", "__pycache__", ".stestr", "*.pyc", "*.egg-info")


def project_key(name: str) -> str:
    """Return a project name as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def masked(text: str) -> str:
    """Return a text without what URLs in it may hold of secrets: user, password, query."""
    return _QUERY.sub(r"\1?***", _USER.sub(r"\1***@", text))


@dataclass(frozen=True)
class Source:
    """One entry of ``saltern:images:sources``; see options.schema.yml.

    :ivar environment: Proxies, as variables of an environment and their values.
    """

    name: str
    type: str
    location: str = ""
    reference: str = ""
    environment: tuple[tuple[str, str], ...] = ()

    def fingerprint(self) -> str:
        """Return what changes when the source does.

        A branch or tag is asked of the repository (`git ls-remote`); an archive is its URL; a
        local tree is its content.
        """
        if self.type == "git":
            return f"git {self.location} {_commit(self.location, self.reference, self.environment)}"
        if self.type == "local":
            return f"local {_tree_digest(Path(self.location))}"
        return f"{self.type} {self.location} {self.reference}"

    def fetch(self, state: Path, target: Path) -> Path:
        """Make the source tree.

        :param state: Folder where clones are kept between builds.
        :param target: Directory to create.
        :returns: ``target``.
        :raises SalternError: The place cannot be reached or holds no such reference.
        """
        fetchers: dict[str, Callable[[Path, Path], None]] = {
            "git": self._git, "url": self._url, "local": self._local,
        }  # fmt: skip
        fetchers[self.type](state, target)
        if not any((target / one).is_file() for one in ("setup.py", "setup.cfg", "pyproject.toml")):
            raise SalternError(
                f"saltern:images:sources:{self.name}: {masked(self.location)} is not a Python project. "
                "Name a tree or archive with a setup.py or pyproject.toml"
            )
        return target

    def _git(self, state: Path, target: Path) -> None:
        import git  # here: its import takes as long as all else of a build with nothing to do

        clone = state / "git" / hashlib.sha256(self.location.encode()).hexdigest()[:16]
        try:
            if clone.exists():
                repository = git.Repo(clone)
                branches = "+refs/heads/*:refs/heads/*"
                repository.git.fetch(
                    "--force",
                    "--tags",
                    "--prune",
                    "origin",
                    branches,
                    env=_git_environment(self.environment),
                )
            else:
                clone.parent.mkdir(parents=True, exist_ok=True)
                repository = git.Repo.clone_from(
                    self.location, clone, bare=True, env=_git_environment(self.environment)
                )
            commit = repository.commit(self.reference)
            version = _version(repository.git.describe("--tags", "--always", commit.hexsha))
        except (git.GitError, ValueError, OSError, git.exc.ODBError) as error:
            shutil.rmtree(clone, ignore_errors=True)
            raise SalternError(self._failed(error)) from None
        archive = target.with_suffix(".tar")
        with archive.open("wb") as out:
            repository.archive(out, commit.hexsha)
        _unpack(archive, target)
        archive.unlink()
        _write_metadata(target, self.name, version)

    def _url(self, state: Path, target: Path) -> None:
        del state
        download = target.with_suffix(".download")
        try:
            with (
                self._opener().open(self.location, timeout=60) as answer,
                download.open("wb") as out,
            ):
                shutil.copyfileobj(answer, out)
            unpacked = target.with_suffix(".unpacked")
            if zipfile.is_zipfile(download):
                zipfile.ZipFile(download).extractall(unpacked)
            else:
                _unpack(download, unpacked)
        except (OSError, ValueError, tarfile.TarError) as error:
            raise SalternError(self._failed(error)) from error
        inner = list(unpacked.iterdir())
        (inner[0] if len(inner) == 1 and inner[0].is_dir() else unpacked).rename(target)
        download.unlink()

    def _opener(self) -> urllib.request.OpenerDirector:
        """Return what opens URLs, by way of the proxies of the options if there are any."""
        given = dict(self.environment)
        if not given:
            return urllib.request.build_opener()
        host = urllib.parse.urlsplit(self.location).netloc.rpartition("@")[2]
        direct = urllib.request.proxy_bypass_environment(host, {"no": given.get("no_proxy", "")})
        proxies = {
            scheme: given[f"{scheme}_proxy"]
            for scheme in ("http", "https")
            if f"{scheme}_proxy" in given and not direct
        }
        return urllib.request.build_opener(urllib.request.ProxyHandler(proxies))

    def _local(self, state: Path, target: Path) -> None:
        del state
        shutil.copytree(
            self.location, target, ignore=shutil.ignore_patterns(*_SKIPPED), symlinks=True
        )
        if not (target / "PKG-INFO").exists():
            _write_metadata(target, self.name, "0.0.0")

    def _failed(self, error: Exception) -> str:
        reason = _reason(error)
        what = f"{self.location} {self.reference}".strip()
        return masked(
            f"saltern:images:sources:{self.name}: {what}: {reason}. Correct location and reference"
        )


def _reason(error: Exception) -> str:
    """Return the last line of what went wrong; git's own output stands in quotes."""
    lines = [line.strip(" '\t") for line in str(error).splitlines()]
    return next((line for line in reversed(lines) if line), repr(error))


def _git_environment(proxies: tuple[tuple[str, str], ...]) -> dict[str, str]:
    # Nobody is there who could be asked for a password.
    return {**dict(proxies), "GIT_TERMINAL_PROMPT": "0"}


@functools.lru_cache
def _commit(location: str, reference: str, proxies: tuple[tuple[str, str], ...] = ()) -> str:
    if re.fullmatch(r"[0-9a-f]{40}", reference):
        return reference
    import git

    try:
        both = (reference, f"{reference}^{{}}")
        lines = git.cmd.Git().ls_remote(location, *both, env=_git_environment(proxies)).splitlines()
    except git.GitError as error:
        reason = _reason(error)
        what = masked(f"saltern:images:sources: {location}: {reason}. Correct location")
        # Not from the error, which shows the command.
        raise SalternError(what) from None
    if not lines:
        # An abbreviated commit: nothing to ask for; it names the same forever.
        return reference
    # A tag's commit (^{}) comes after the tag object.
    return lines[-1].split()[0]


def _tree_digest(tree: Path) -> str:
    if not tree.is_dir():
        raise SalternError(
            f"saltern:images:sources: there is no directory {tree}. Correct location"
        )
    total = hashlib.sha256()
    for path in sorted(tree.rglob("*")):
        relative = path.relative_to(tree)
        skipped = any(Path(part).match(pattern) for part in relative.parts for pattern in _SKIPPED)
        if not skipped and path.is_file():
            total.update(f"{relative} {path.stat().st_size}\n".encode() + path.read_bytes())
    return total.hexdigest()


def _version(described: str) -> str:
    """``30.0.0-4-gabc1234`` (git describe) as a version of Python packages: ``30.0.0.post4``."""
    match = re.match(r"v?(\d[\w.]*?)(?:-(\d+)-g[0-9a-f]+)?$", described)
    if not match or "." not in match[1]:
        return "0.0.0"
    return f"{match[1]}.post{match[2]}" if match[2] else match[1]


def _write_metadata(tree: Path, name: str, version: str) -> None:
    # pbr, which OpenStack builds with, takes the version from here when there is no repository.
    (tree / "PKG-INFO").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def _unpack(archive: Path, target: Path) -> None:
    """Unpack a tar file, refusing members that would lie outside ``target``."""
    target.mkdir(parents=True)
    with tarfile.open(archive) as opened:
        if hasattr(tarfile, "data_filter"):
            opened.extractall(target, filter="data")
            return
        # Debian 12's Python 3.11.2 has no filters: what a link or a path could do is checked here.
        inside = target.resolve()
        for member in opened:
            place = (inside / member.name).resolve()
            base = place.parent if member.issym() else inside
            for path in (place, (base / member.linkname).resolve() if member.linkname else place):
                if not path.is_relative_to(inside) or not (
                    member.isreg() or member.isdir() or member.issym() or member.islnk()
                ):
                    raise tarfile.TarError(f"{member.name} would leave the archive's folder")
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            opened.extract(member, inside)
