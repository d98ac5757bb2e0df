"""From folders and options to Dockerfiles: one strict Jinja pass over the whole tree."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from saltern.errors import SalternError
from saltern.images import dockerfile
from saltern.images.catalog import Catalog, Folder, choose
from saltern.images.options import Options
from saltern.problems import nearest

MACROS = "macros.j2"
ROOTFS = "rootfs"


@dataclass(frozen=True)
class Image:
    """One rendered image.

    ``text`` is its Dockerfile, or its script if ``folder.bootstrap``; ``parents`` are the images
    of the tree that it starts from or copies from.
    """

    name: str
    full_name: str
    folder: Folder
    text: str
    stages: tuple[dockerfile.Stage, ...]
    parents: tuple[str, ...]
    variables: Mapping[str, Any]

    @property
    def steps(self) -> int:
        """How many steps Docker will count."""
        return max(1, len(dockerfile.instructions(self.text))) if self.stages else 1

    @property
    def user(self) -> str:
        """Who the image runs as; empty if it inherits that."""
        return self.stages[-1].user if self.stages else ""


def render(
    catalog: Catalog, options: Options, names: Iterable[str] | None = None
) -> dict[str, Image]:
    """Render images and everything they need.

    :param names: Image names; None: all that are to be deployed.
    :returns: Image name to image, parents included.
    :raises SalternError: Names the file and line of an undefined name or of a syntax error.
    """
    renderer = _Renderer(catalog, options)
    if names is None:
        # Root file systems are made only if something starts from them.
        wanted = [name for name, folder in catalog.folders.items() if not folder.bootstrap]
    else:
        wanted = list(names)
    images: dict[str, Image] = {}
    while wanted:
        name = wanted.pop()
        if name not in images:
            images[name] = renderer.image(name)
            wanted += images[name].parents
    return dict(sorted(images.items()))


class _Renderer:
    def __init__(self, catalog: Catalog, options: Options) -> None:
        self.catalog = catalog
        self.options = options
        self.names = {options.name(name): name for name in catalog.folders}
        for key in (*options.extra_packages, *options.extra_python):
            catalog.folder(key)
        self.environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader([str(root) for root in catalog.roots]),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self.environment.filters["quote"] = lambda value: shlex.quote(str(value))
        self.environment.filters["quote_all"] = lambda values: " ".join(map(shlex.quote, values))
        distro = catalog.distros[options.base]
        self.family = distro["family"]
        self.base_release = options.base_release or distro["release"]
        default = (distro["image"] or "").format(release=self.base_release)
        self.base_image = options.base_image or default or options.name(ROOTFS)

    def image(self, name: str) -> Image:
        folder = self.catalog.folder(name)
        variables = self.variables(folder)
        text = self.text(folder, variables)
        where = f"images/{name}/{folder.template.name}"
        if folder.bootstrap:
            return Image(name, self.options.name(name), folder, text, (), (), variables)
        text = _with_extra_packages(text, variables["_extra_install"])
        stages = tuple(dockerfile.parse(text, where))
        runs_on = dockerfile.runs_on(stages)
        parents = [self.parent(name, source, where) for source in dockerfile.sources(stages)]
        # The image that it runs on comes first, builder stages after it.
        known = tuple(sorted((p for p in parents if p), key=lambda p: p != self.names.get(runs_on)))
        return Image(name, self.options.name(name), folder, text, stages, known, variables)

    def parent(self, name: str, source: str, where: str) -> str | None:
        if source == "scratch":
            return None
        found = self.names.get(source)
        if found == name:
            raise SalternError(f"{where}: starts from itself. Name another image in FROM")
        return found

    def variables(self, folder: Folder) -> dict[str, Any]:
        options, data = self.options, folder.data
        bundle = options.build_ca_bundle
        extra = options.extra_packages.get(folder.name, [])
        variables: dict[str, Any] = {
            "options": options,
            "name": folder.name,
            "release": options.release,
            "codename": self.catalog.codenames.get(options.release, ""),
            "base": options.base,
            "base_release": self.base_release,
            "base_image": self.base_image,
            "family": self.family,
            "install_type": options.install_type,
            "apt_mirror": options.apt_mirror,
            "retries": options.retries,
            "ca_certificates": options.ca_certificates,
            "build_ca_bundle": bundle if bundle and Path(bundle).is_file() else "",
            "pip_index": options.pip_index,
            "summary": data.get("summary", ""),
            "project": data.get("project", ""),
            "python": [*data.get("python", []), *options.extra_python.get(folder.name, [])],
            "packages": self.choose(data.get("packages")),
            "build_packages": self.choose(data.get("build_packages")),
            "repositories": self.choose(data.get("repositories")),
            "account": self.catalog.user(data["user"]) if "user" in data else None,
            "account_of": self.catalog.user,
            "image": self.full_name,
        }
        macros = self.macros(variables)
        variables.update(macros)
        variables["_extra_install"] = macros["install"](extra) if extra else ""
        return variables

    def choose(self, value: Any) -> list[str]:
        return choose(value, self.options.install_type, self.family, self.options.base)

    def full_name(self, name: str) -> str:
        return self.options.name(self.catalog.folder(name).name)

    def macros(self, variables: dict[str, Any]) -> dict[str, Callable[..., str]]:
        module = self.environment.get_template(MACROS).make_module(variables)
        return {
            key: one for key, one in vars(module).items() if isinstance(one, jinja2.runtime.Macro)
        }

    def text(self, folder: Folder, variables: dict[str, Any]) -> str:
        template = f"{folder.name}/{folder.template.name}"
        try:
            return self.environment.get_template(template).render(variables)
        except jinja2.TemplateSyntaxError as error:
            raise SalternError(
                f"images/{error.name}, line {error.lineno}: {error.message}. Correct the template"
            ) from error
        except jinja2.UndefinedError as error:
            raise SalternError(
                f"images/{template}: {error.message}. {_hint(error, variables)}"
            ) from error


def _hint(error: jinja2.UndefinedError, variables: Mapping[str, Any]) -> str:
    words = str(error.message).replace("'", " ").split()
    like = nearest(words[0], variables) if words else None
    return f"Did you mean {like!r}?" if like else "docs/images.md lists what a template sees"


def _with_extra_packages(text: str, command: str) -> str:
    """Install the operator's extra packages as root, last thing before the image's own USER."""
    if not command:
        return text
    lines = text.splitlines()
    last = max((i for i, line in enumerate(lines) if line.startswith("USER ")), default=len(lines))
    extra = ["# Extra packages of the operator.", "USER root", *command.strip().splitlines()]
    return "\n".join([*lines[:last], *extra, *lines[last:], ""])
