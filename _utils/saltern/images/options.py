"""What an operator may choose about images: `saltern:images` of the pillar, and the release."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from saltern import paths, yamlfile
from saltern.errors import SalternError
from saltern.problems import Problem, check, unknown

DEFAULT_RELEASE = "2026.2"


@dataclass(frozen=True)
class Options:
    """The choices, complete. Fields are described in options.schema.yml."""

    release: str = DEFAULT_RELEASE
    base: str = "debian"
    base_release: str = ""
    base_image: str = ""
    install_type: str = "source"
    registry: str = ""
    namespace: str = "saltern"
    tag: str = ""
    apt_mirror: str = ""
    pip_index: str = ""
    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""
    build_ca_bundle: str = "/etc/ssl/certs/ca-certificates.crt"
    ca_certificates: list[str] = field(default_factory=list)
    extra_packages: dict[str, list[str]] = field(default_factory=dict)
    extra_python: dict[str, list[str]] = field(default_factory=dict)
    overrides: str = paths.OVERRIDES
    patches: str = f"{paths.OVERRIDES}/patches"
    sources: dict[str, dict[str, str]] = field(default_factory=dict)
    retries: int = 3
    jobs: int = 2
    log_dir: str = f"{paths.LOG}/build"
    state_dir: str = f"{paths.VAR}/build"

    @classmethod
    def from_pillar(
        cls,
        pillar: Mapping[str, Any],
        changes: Mapping[str, Any] | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> Options:
        """Return the options of a pillar, with the changes of one call on top.

        :param pillar: A whole pillar, of which the key ``saltern`` is read.
        :param changes: Options given on the command line; None values are ignored.
        :param defaults: What holds where neither says anything.
        :raises SalternError: Names every wrong key, what was found, and what is allowed.
        """
        cloud = pillar.get("saltern") or {}
        images = {**(defaults or {}), **(cloud.get("images") or {})}
        images.update({key: one for key, one in (changes or {}).items() if one is not None})
        release = str(images.pop("release", None) or cloud.get("release") or DEFAULT_RELEASE)
        found = problems(images)
        if found:
            raise SalternError("\n".join(map(str, found)))
        return cls(release=release, **images)

    def name(self, image: str, tag: str = "") -> str:
        """Return the full name of an image folder: ``[registry/]namespace/image:tag``.

        :param tag: Its tag if its build does not depend on the release, see :mod:`saltern.images.tags`;
            that of the options wins.
        """
        registry = f"{self.registry.rstrip('/')}/" if self.registry else ""
        return f"{registry}{self.namespace}/{image}:{self.tag or tag or self.release}"

    def proxies(self) -> dict[str, str]:
        """Return the proxies as environment variables, by both spellings; only those that are set."""
        given = {key: getattr(self, key) for key in ("http_proxy", "https_proxy", "no_proxy")}
        both = given | {key.upper(): value for key, value in given.items()}
        return {key: value for key, value in both.items() if value}

    def changed(self, **changes: Any) -> Options:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)


# Label of an image's full name, which it still bears when a newer one has got that.
NAME_LABEL = "saltern.name"


def folders(opts: Mapping[str, Any]) -> dict[str, str]:
    """Return the folders of a host that is configured to keep things elsewhere than by default.

    :param opts: ``__opts__``.
    """
    roots = opts.get("saltern", {})
    found = {}
    if "etc" in roots:
        found |= {
            "overrides": f"{roots['etc']}/overrides",
            "patches": f"{roots['etc']}/overrides/patches",
        }
    if "var" in roots:
        found["state_dir"] = f"{roots['var']}/build"
    return found


def problems(
    images: Mapping[str, Any], release: str | None = None, releases: Iterable[str] = ()
) -> list[Problem]:
    """Return what is wrong in ``saltern:images``; nothing if it is right.

    :param images: Value of the pillar key.
    :param release: The cloud's release, compared with ``releases`` if given.
    :param releases: Releases that have a lock file in ``images/locks``.
    """
    found = check(dict(images), schema(), "saltern:images")
    for project, source in (images.get("sources") or {}).items():
        if not isinstance(source, Mapping):
            continue
        kind = source.get("type")
        wanted = {"git": ["location", "reference"], "url": ["location"], "local": ["location"]}
        found += [
            Problem(
                f"saltern:images:sources:{project}:{key}", f"is missing for type {kind}", "Add it"
            )
            for key in wanted.get(kind or "", [])
            if not source.get(key)
        ]
    allowed = list(releases)
    if release and allowed and release not in allowed:
        found.append(unknown("saltern:release", release, allowed, "release"))
    return found


@functools.cache
def schema() -> dict[str, Any]:
    """Return the JSON Schema of ``saltern:images``."""
    return yamlfile.read(Path(__file__).with_name("options.schema.yml"))
