"""From folders and options to Dockerfiles: one strict Jinja pass over the whole tree."""

from __future__ import annotations

import shlex
from collections import UserString
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2

from saltern.errors import SalternError
from saltern.images import dockerfile
from saltern.images.catalog import Catalog, Folder, choose
from saltern.images.options import Options, schema
from saltern.problems import nearest

MACROS = "macros.j2"
# Files that the engine adds to a context stand below this folder, if the Dockerfile copies them.
GENERATED = ".saltern"
PYTHON = f"{GENERATED}/python"


@dataclass(frozen=True)
class Image:
    """One rendered image.

    ``text`` is its Dockerfile, or its script if ``folder.bootstrap``; ``parents`` are the images
    of the tree that it starts from or copies from; ``release`` is OpenStack's, if the build depends
    on it; ``named`` are the images that the text names, by full name.
    """

    name: str
    full_name: str
    folder: Folder
    text: str
    stages: tuple[dockerfile.Stage, ...]
    parents: tuple[str, ...]
    variables: Mapping[str, Any]
    release: str
    named: Mapping[str, str]

    @property
    def recipe(self) -> str:
        """The text, whatever images are called: another registry or tag builds no other image."""
        text = self.text
        for full_name, image in self.named.items():
            text = text.replace(full_name, image)
        return text

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


class _Noted(UserString):
    """A text that tells when it is read."""

    def __init__(self, text: str, tell: Callable[[], None] = lambda: None) -> None:
        self._text = text
        self._tell = tell

    @property
    def data(self) -> str:
        """The text: all that one can do with it comes by here."""
        self._tell()
        return self._text


@dataclass
class _Used:
    """What the template of one image has used."""

    release: bool = False
    images: dict[str, str] = field(default_factory=dict)

    def note_release(self) -> None:
        self.release = True


class _Renderer:
    def __init__(self, catalog: Catalog, options: Options) -> None:
        self.catalog = catalog
        self.options = options
        self.rendered: dict[str, Image] = {}
        self.under_way: list[str] = []
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
        self.base_image = options.base_image or default

    def image(self, name: str) -> Image:
        """Return an image, rendered with all that its template names: their names say what they depend on."""
        if name in self.under_way:
            circle = " -> ".join([*self.under_way[self.under_way.index(name) :], name])
            raise SalternError(f"images need each other: {circle}. Break the circle")
        if name not in self.rendered:
            self.under_way.append(name)
            self.rendered[name] = self._image(self.catalog.folder(name))
            self.under_way.pop()
        return self.rendered[name]

    def _image(self, folder: Folder) -> Image:
        name, used = folder.name, _Used()
        variables = self.variables(folder, used)
        text = self.text(folder, variables)
        stages: tuple[dockerfile.Stage, ...] = ()
        parents: list[str] = []
        if not folder.bootstrap:
            text = _with_extra_packages(text, variables["_extra_install"])
            stages = tuple(dockerfile.parse(text, f"images/{name}/{folder.template.name}"))
            parents = [used.images[one] for one in dockerfile.sources(stages) if one in used.images]
            # The image that it runs on comes first, builder stages after it.
            runs_on = used.images.get(dockerfile.runs_on(stages))
            parents.sort(key=lambda parent: parent != runs_on)
        # Of Python packages, the lock of the release gives the versions.
        inherited = any(self.rendered[parent].release for parent in parents)
        depends = used.release or PYTHON in text or inherited
        release = self.options.release if depends else ""
        full_name = self.options.name(name, "" if depends else self.tag)
        return Image(
            name, full_name, folder, text, stages, tuple(parents), variables, release, used.images
        )

    @property
    def tag(self) -> str:
        """The tag of images that do not depend on the release: the distribution that they are made from."""
        return f"{self.options.base}-{self.base_release}"

    def variables(self, folder: Folder, used: _Used) -> dict[str, Any]:
        options, data = self.options, folder.data

        def image(name: str) -> str:
            if name == folder.name:
                where = f"images/{name}/{folder.template.name}"
                raise SalternError(f"{where}: starts from itself. Name another image in FROM")
            full_name = self.image(name).full_name
            used.images[full_name] = name
            return full_name

        bundle = options.build_ca_bundle
        extra = options.extra_packages.get(folder.name, [])
        variables: dict[str, Any] = {
            # Without the release, whose use is noted.
            "options": SimpleNamespace(
                **{key: getattr(options, key) for key in schema()["properties"]}
            ),
            "name": folder.name,
            "release": _Noted(options.release, used.note_release),
            "codename": _Noted(self.catalog.codenames.get(options.release, ""), used.note_release),
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
            "image": image,
        }
        macros = self.macros(variables)
        variables.update(macros)
        variables["_extra_install"] = macros["install"](extra) if extra else ""
        return variables

    def choose(self, value: Any) -> list[str]:
        return choose(value, self.options.install_type, self.family, self.options.base)

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
