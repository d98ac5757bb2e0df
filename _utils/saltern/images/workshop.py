"""Everything there is to do with images, as one object: what the runner `image` calls."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from saltern.errors import SalternError
from saltern.images import graph, registry, schedule, sizes
from saltern.images.builder import client
from saltern.images.catalog import Catalog
from saltern.images.events import Emit, Result
from saltern.images.options import Options
from saltern.images.render import Image, render

Names = Sequence[str]


class Workshop:
    """The image tree of a checkout with an operator's options.

    :param root: The folder ``images`` of the checkout.
    """

    def __init__(self, root: Path, options: Options) -> None:
        self.options = options
        self.catalog = Catalog(root, options)

    @functools.cached_property
    def images(self) -> dict[str, Image]:
        """All images, rendered."""
        return render(self.catalog, self.options)

    def tree(self) -> str:
        """Return the tree as text."""
        return graph.tree({name: image.parents for name, image in self.images.items()})

    def parents(self, names: Names) -> dict[str, tuple[str, ...]]:
        """Return the named images and all that they need: image to its parents, the one it starts from first."""
        return {name: image.parents for name, image in self._rendered(names).items()}

    def render(self, names: Names = ()) -> dict[str, str]:
        """Return image name to Dockerfile (or script) of the named images; none: of all."""
        images = self._rendered(names)
        return {name: image.text for name, image in images.items() if not names or name in names}

    def write(self, directory: Path, names: Names = ()) -> dict[str, str]:
        """Write what is rendered to ``<directory>/<image>/``; return image name to path."""
        written = {}
        for name, text in self.render(names).items():
            kind = "bootstrap" if self.catalog.folder(name).bootstrap else "Dockerfile"
            path = Path(directory) / name / kind
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            written[name] = str(path)
        return written

    def plan(self, names: Names = (), force: bool = False) -> schedule.Plan:
        """Return what must be built, and why. Asks Docker once."""
        docker_client = client()
        try:
            return schedule.plan(
                self._rendered(names),
                self.catalog,
                self.options,
                docker_client,
                names or None,
                force,
            )
        finally:
            docker_client.close()

    def build(
        self,
        names: Names,
        emit: Emit,
        force: bool = False,
        nocache: bool = False,
        tick: Callable[[], None] | None = None,
    ) -> dict[str, Result]:
        """Build the named images and what they need; none: all.

        :param emit: Receives every event, in this thread.
        :param force: Build the named ones even if they are current.
        :param nocache: Take no layer from Docker's build cache; implies ``force``.
        :param tick: Called every second in which nothing happens.
        """
        made = self.plan(names, force or nocache)
        return schedule.build(made, self.options, emit, nocache, tick)

    def push(self, names: Names = ()) -> dict[str, str]:
        """Push to the registry; return image name to digest (``sha256:...``)."""
        if not self.options.registry:
            raise SalternError("saltern:images:registry is empty: name the registry to push to")
        local = render(self.catalog, self.options.changed(registry=""), names or None)

        def push(docker_client: Any, image: Image) -> str:
            built_as = local[image.name].full_name
            return registry.push(docker_client, image.full_name, self.options.retries, built_as)

        return self._each(push, names)

    def pull(self, names: Names = ()) -> dict[str, str]:
        """Pull from the registry; return image name to image id."""

        def pull(docker_client: Any, image: Image) -> str:
            return registry.pull(docker_client, image.full_name, self.options.retries)

        return self._each(pull, names)

    def sizes(self, names: Names = ()) -> dict[str, Any]:
        """Return sizes in bytes, shared layers counted once.

        :returns: ``total``, ``images`` (name to ``size``, and ``own``: what no other image of the
            tree has), and ``missing`` (names that are not built).
        """
        wanted = {name: image.full_name for name, image in self._chosen(names).items()}
        docker_client = client()
        try:
            return sizes.sizes(docker_client, wanted)
        finally:
            docker_client.close()

    def name(self, image: str) -> str:
        """Return the full name of an image."""
        return self._rendered([image])[image].full_name

    def _each(self, action: Callable[[Any, Image], str], names: Names) -> dict[str, str]:
        images = self._chosen(names)
        docker_client = client()
        try:
            return {name: action(docker_client, image) for name, image in images.items()}
        finally:
            docker_client.close()

    def _rendered(self, names: Names) -> dict[str, Image]:
        """The named images and what they need, rendered; without names all."""
        return render(self.catalog, self.options, names) if names else self.images

    def _chosen(self, names: Names) -> dict[str, Image]:
        """The named images, or all that are deployed."""
        return {
            name: image
            for name, image in self._rendered(names).items()
            if (name in names if names else not image.folder.data.get("internal"))
        }


def table(results: Mapping[str, Result]) -> dict[str, str]:
    """Return results for a job's return, a line an image: ``built in 4.6 s, 183.6 MB``."""
    return {name: _cell(one) for name, one in sorted(results.items())}


def _cell(result: Result) -> str:
    size = f"{result.size / 1e6:.1f} MB"
    return f"built in {result.seconds:.1f} s, {size}" if result.seconds else f"current, {size}"


def failure(results: Mapping[str, Result]) -> str:
    """Return the failures as text for people: image, step, last lines; empty if there is none."""
    failed = [one.comment for one in results.values() if one.status == "failed"]
    skipped = [one.image for one in results.values() if one.status == "skipped"]
    if skipped:
        failed.append(f"Skipped, because a parent failed: {', '.join(skipped)}")
    return "\n\n".join(failed)


def find_root(opts: Mapping[str, Any], root: str | None = None) -> Path:
    """Return the folder ``images``: the given one, the configured one, or that of the checkout.

    :param opts: ``__opts__`` of the master, which names it in the ext_pillar ``saltern``.
    """
    configured = [
        one["saltern"].get("images") for one in opts.get("ext_pillar", []) if "saltern" in one
    ]
    candidates = [root] if root else [
        *configured,
        Path(__file__).resolve().parents[3] / "images",
        Path.cwd() / "images",
    ]  # fmt: skip
    for candidate in candidates:
        if candidate and (Path(candidate) / "distros.yml").is_file():
            return Path(candidate)
    raise SalternError(
        "there is no folder of images: run this in the checkout, set images of the ext_pillar saltern in "
        "the master's configuration, or give root=/path/to/images"
    )
