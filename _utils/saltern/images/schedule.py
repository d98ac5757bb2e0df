"""Builds the tree: what is not current, in parallel along the graph, longest path first."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import docker

from saltern.images import graph
from saltern.images.builder import HASH_LABEL, Builder, client
from saltern.images.catalog import Catalog
from saltern.images.context import Context, context, digest
from saltern.images.events import Emit, Event, Result
from saltern.images.options import NAME_LABEL, Options
from saltern.images.render import Image

_DEFAULT_SECONDS = 20.0


@dataclass(frozen=True)
class Plan:
    """What there is and what must be built.

    ``todo`` maps an image to why: ``missing``, ``changed`` or ``forced``; ``elsewhere`` maps one that is
    here under another name only to its id: it gets its name, and is not built.
    """

    images: Mapping[str, Image]
    contexts: Mapping[str, Context]
    digests: Mapping[str, str]
    sizes: Mapping[str, int]
    todo: Mapping[str, str]
    elsewhere: Mapping[str, str]

    @property
    def parents(self) -> dict[str, tuple[str, ...]]:
        """The graph."""
        return {name: image.parents for name, image in self.images.items()}


def plan(
    images: Mapping[str, Image],
    catalog: Catalog,
    options: Options,
    docker_client: docker.APIClient,
    wanted: Iterable[str] | None = None,
    force: bool = False,
) -> Plan:
    """Compare images with what Docker has, with one call.

    :param images: Rendered images, parents included.
    :param wanted: Names to build; None: all. Parents are built only for a child that needs it.
    :param force: Build the wanted ones even if they are current.
    """
    contexts = {name: context(image, catalog, options) for name, image in images.items()}
    digests: dict[str, str] = {}
    for name in graph.order({name: image.parents for name, image in images.items()}):
        digests[name] = digest(images[name], contexts[name], digests)
    listed = docker_client.images(filters={"label": HASH_LABEL})
    actual = {tag: one for one in listed for tag in one.get("RepoTags") or ()}
    # The newest of each content.
    listed.sort(key=lambda one: one["Created"])
    same = {one["Labels"][HASH_LABEL]: one for one in listed if _is_own(one)}
    chosen = set(images if wanted is None else wanted)
    todo: dict[str, str] = {}
    elsewhere: dict[str, str] = {}
    open_names = list(chosen)
    while open_names:
        name = open_names.pop()
        here = actual.get(images[name].full_name)
        have = here["Labels"][HASH_LABEL] if here else None
        forced = force and name in chosen
        if name in todo or (have == digests[name] and not forced):
            continue
        if digests[name] in same and not forced:
            elsewhere[name] = same[digests[name]]["Id"]
            continue
        todo[name] = "missing" if have is None else "forced" if have == digests[name] else "changed"
        open_names += images[name].parents
    sizes = {}
    for name, image in images.items():
        one = same[digests[name]] if name in elsewhere else actual.get(image.full_name, {})
        sizes[name] = one.get("Size", 0)
    return Plan(images, contexts, digests, sizes, todo, elsewhere)


def _is_own(listed: Mapping[str, Any]) -> bool:
    """Return whether an image's hash is its own: unnamed stages and what others make from an image inherit it."""
    names = set(listed.get("RepoTags") or ()) - {"<none>:<none>"}
    # Images of before have no label of their name.
    said = listed["Labels"].get(NAME_LABEL)
    return bool(names) and (not said or said in names)


def build(
    made: Plan,
    options: Options,
    emit: Emit,
    nocache: bool = False,
    tick: Callable[[], None] | None = None,
) -> dict[str, Result]:
    """Build what a plan says.

    What is here under another name gets its own. An image starts when its parents are there. What
    needs a failed image is skipped, the rest goes on. All events come from the calling thread.

    :param emit: Receives every event.
    :param tick: Called every second in which nothing happens.
    :returns: Image name to result, for every image of the plan.
    """
    results = {
        name: Result(name, "current", image.full_name, size=made.sizes[name])
        for name, image in made.images.items()
        if name not in made.todo
    }
    _name(made)
    if not made.todo:
        return results
    past = durations(options)
    rank = graph.priorities(made.parents, past, _DEFAULT_SECONDS)
    progress = _Percent({name: past.get(name, _DEFAULT_SECONDS) for name in made.todo}, emit)
    events: queue.SimpleQueue[Event | Result] = queue.SimpleQueue()
    builder = Builder(options, events.put, nocache)
    waiting = sorted(made.todo, key=lambda name: -rank[name])
    running = 0

    def ready(name: str) -> bool:
        return all(results.get(one) is not None for one in made.images[name].parents)

    while waiting or running:
        for name in [one for one in waiting if ready(one)]:
            failed = [
                p for p in made.images[name].parents if results[p].status in ("failed", "skipped")
            ]
            if failed:
                waiting.remove(name)
                comment = f"{name} needs {failed[0]}, which was not built"
                results[name] = Result(
                    name, "skipped", made.images[name].full_name, comment=comment
                )
                progress(Event(name, "end", text="skipped"))
            elif running < options.jobs:
                waiting.remove(name)
                running += 1
                arguments = (made.images[name], made.contexts[name], made.digests[name])
                threading.Thread(
                    target=_work, args=(builder, events.put, *arguments), daemon=True
                ).start()
        if not running:
            continue
        try:
            event = events.get(timeout=1)
        except queue.Empty:
            if tick:
                tick()
            continue
        if isinstance(event, Result):
            running -= 1
            results[event.image] = event
        else:
            progress(event)
    _remember(options, past, results)
    return dict(sorted(results.items()))


def _name(made: Plan) -> None:
    """Give images that are here under another name only the name that they have now."""
    if made.elsewhere:
        docker_client = client()
        for name, image_id in made.elsewhere.items():
            repository, _, tag = made.images[name].full_name.rpartition(":")
            docker_client.tag(image_id, repository, tag)
        docker_client.close()


def durations(options: Options) -> dict[str, float]:
    """Return how many seconds each image took when it was last built on this host."""
    try:
        return json.loads(_durations_file(options).read_text())
    except (OSError, ValueError):
        return {}


def _work(
    builder: Builder,
    put: Callable[[Event | Result], None],
    image: Image,
    made: Context,
    hashed: str,
) -> None:
    try:
        put(builder.build(image, made, hashed))
    except Exception as error:  # a thread that dies silently would leave the build waiting for ever
        put(Event(image.name, "end", text="failed"))
        put(Result(image.name, "failed", image.full_name, comment=f"{image.name}: {error!r}"))


def _durations_file(options: Options) -> Path:
    return Path(options.state_dir) / "durations.json"


def _remember(options: Options, past: dict[str, float], results: Mapping[str, Result]) -> None:
    # What came from Docker's cache in no time says nothing about the next time.
    took = {
        name: round(one.seconds, 1)
        for name, one in results.items()
        if one.status == "built" and one.seconds > 1
    }
    path = _durations_file(options)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(past | took, indent=1, sort_keys=True))
    temporary.rename(path)


class _Percent:
    """Adds to every event how much of the tree is done, weighed by past durations."""

    def __init__(self, weights: Mapping[str, float], emit: Emit) -> None:
        self.weights = weights
        self.done = dict.fromkeys(weights, 0.0)
        self.emit = emit

    def __call__(self, event: Event) -> None:
        if event.phase == "end":
            self.done[event.image] = 1.0
        elif event.phase == "step" and event.steps:
            self.done[event.image] = max(0, event.step - 1) / event.steps
        total = sum(self.weights.values()) or 1.0
        percent = sum(self.weights[name] * part for name, part in self.done.items()) / total
        self.emit(replace(event, percent=int(100 * percent)))
