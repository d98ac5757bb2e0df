"""The cloud as the master sees it: from its own pillar and the folders its ext_pillar names."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import salt.pillar

from saltern import paths
from saltern.cloud import demand, formulas, secrets, spelling
from saltern.cloud import loading as clouds
from saltern.cloud.model import Cloud
from saltern.errors import Failure, SalternError
from saltern.problems import Problem
from saltern.run import progress
from saltern.service import templates
from saltern.tls import store


def settings(opts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the ext_pillar ``saltern`` in a master's configuration.

    :param opts: ``__opts__`` of a runner or of a state in an orchestration.
    """
    for one in opts.get("ext_pillar", []):
        if "saltern" in one:
            return one["saltern"]
    raise SalternError(
        "the master's configuration has no ext_pillar saltern: see docs/quick-start.md"
    )


def cloud(pillar: Mapping[str, Any], opts: Mapping[str, Any]) -> Cloud:
    """Return the cloud of the master's pillar.

    :param pillar: Compiled pillar of any minion id, the master's included.
    """
    where = settings(opts)
    known = formulas.load(where["formulas"])
    found = clouds.load(pillar, known, clouds.releases(where["images"]))
    written = _compiled(opts, _renderer(opts).replace("yaml", "yaml_text"))
    found.problems += spelling.problems_of(pillar, written, known)
    found.problems += _template_problems(found, where["formulas"])
    return found


def _template_problems(cloud_: Cloud, roots: Iterable[str]) -> list[Problem]:
    """Return what is wrong with the templates of the services that run, as far as it shows unrendered."""
    wrong = []
    for service in cloud_.services if not cloud_.problems else []:
        places = [Path(root) / part for part in (f"{service}/files", "_common") for root in roots]

        def source(name: str, places: list[Path] = places) -> str | None:
            return next(
                (one.read_text() for place in places if (one := place / name).is_file()), None
            )

        for name, declared in cloud_.catalog[service].get("config", {}).items():
            if not declared.get("optional") and "link" not in declared:
                wrong += [
                    Problem(f"formulas/{service}/files", what, "Correct the template")
                    for what in templates.faults(declared.get("template", name), source)
                ]
    return wrong


def checked(opts: Mapping[str, Any]) -> Cloud:
    """Return the cloud of the master's pillar as it is now.

    :raises SalternError: The pillar is wrong; names every problem.
    """
    found = cloud(pillar(opts), opts)
    if found.problems:
        raise SalternError("\n".join(map(str, found.problems)))
    return found


def pillar(opts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the operator's pillar; the ext_pillar would only add what minions need.

    :raises SalternError: It does not render.
    """
    return _compiled(opts, _renderer(opts))


def kept_pillar(opts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what :func:`pillar` returns, compiled once for as long as the files below the pillar's roots are the same.

    A pillar with Jinja or a renderer of its own may depend on more than files, and is compiled each time.
    Who gets it must not change it.

    :param opts: ``__opts__`` of the ext_pillar.
    :raises SalternError: It does not render.
    """
    roots = opts["pillar_roots"]
    # A minion can ask for another environment.
    made_of = (opts["id"], opts.get("pillarenv"), *sorted(_stamps(roots)))
    if made_of not in _KEPT:
        compiler = _compiler(opts, _renderer(opts))
        compiled = _compile(compiler)
        tops = (Path(root, "top.sls") for every in roots.values() for root in every)
        if not all(map(_is_plain, {*compiler.rendered, *tops})):
            return compiled
        _KEPT.clear()
        _KEPT[made_of] = compiled
    return _KEPT[made_of]


# Here, as Salt makes the ext_pillar's module anew for each host and keeps the library.
_KEPT: dict[Any, dict[str, Any]] = {}


class _Pillar(salt.pillar.Pillar):
    """Salt's compiler, which also says what it has rendered."""

    def __init__(self, *args: Any) -> None:
        self.rendered: set[Path] = set()
        super().__init__(*args)

    def render_pstate(self, sls: str, saltenv: str, *args: Any, **kwargs: Any) -> Any:
        """Render one file."""
        if path := self.client.get_state(sls, saltenv).get("dest"):
            self.rendered.add(Path(path))
        return super().render_pstate(sls, saltenv, *args, **kwargs)


def _stamps(roots: Mapping[str, Iterable[str]]) -> Iterator[tuple[str, int, int, int]]:
    """Yield what tells one state of the pillar's files from another; hidden folders, such as Git's, hold none."""
    for root in (one for every in roots.values() for one in every):
        for folder, folders, names in os.walk(root, followlinks=True):
            folders[:] = [one for one in folders if not one.startswith(".")]
            for name in names:
                path = Path(folder, name)
                with contextlib.suppress(FileNotFoundError):  # an editor's, or a dangling link
                    stat = path.stat()
                    yield str(path), stat.st_mtime_ns, stat.st_size, stat.st_ino


def _is_plain(path: Path) -> bool:
    """Return whether a file of the pillar is plain YAML."""
    text = path.read_text() if path.is_file() else ""
    return not text.startswith("#!") and "{{" not in text and "{%" not in text


def _renderer(opts: Mapping[str, Any]) -> str:
    return opts.get("renderer", "jinja|yaml")


def _compiled(opts: Mapping[str, Any], renderer: str) -> dict[str, Any]:
    """Return the operator's pillar; files that name renderers of their own are rendered by those."""
    return _compile(_compiler(opts, renderer))


def _compiler(opts: Mapping[str, Any], renderer: str) -> _Pillar:
    # Without `pillar`: in an orchestration it holds what the command carries. The grains are not a host's.
    own = {**opts, "ext_pillar": [], "pillar": {}, "renderer": renderer}
    return _Pillar(own, {"id": opts["id"]}, opts["id"], "base")


def _compile(compiler: _Pillar) -> dict[str, Any]:
    compiled = compiler.compile_pillar()
    if "_errors" in compiled:
        raise SalternError("the pillar is wrong:\n" + "\n".join(map(str, compiled["_errors"])))
    return compiled


def failures(
    cloud_: Cloud,
    opts: Mapping[str, Any],
    with_secrets: bool = True,
    with_certificates: bool = True,
) -> list[Failure]:
    """Return why no run can start: a wrong pillar, else wrong or missing secrets, else wrong certificates.

    :param with_secrets: False where the run needs none; then it needs no certificates either.
    :param with_certificates: False if they are yet to be made.
    """
    if cloud_.problems or not with_secrets:
        return progress.of_problems(cloud_.problems)
    path = secrets_file(opts)
    stored = secrets.read(path)
    if wrong := secrets.problems(cloud_.catalog, stored, path):
        return progress.of_problems(wrong)
    missing = secrets.missing(cloud_, stored)
    if missing:
        reason = f"no value for the secrets {', '.join(missing)}"
        return [Failure(reason, remedy="salt-run saltern.genpwd")]
    return progress.of_problems(wrong_certificates(cloud_, opts) if with_certificates else [])


def secrets_file(opts: Mapping[str, Any]) -> str:
    """Return the path of the file that holds the secrets."""
    return settings(opts).get("secrets", paths.SECRETS)


def certificates_folder(opts: Mapping[str, Any]) -> str:
    """Return the path of the folder that holds the certificates."""
    return settings(opts).get("certificates", paths.CERTIFICATES)


def wrong_certificates(cloud_: Cloud, opts: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong with the certificates that the cloud needs."""
    folder = certificates_folder(opts)
    needed, stored = demand.wanted(cloud_), store.read(folder)
    return store.problems(needed, stored, store.now(), folder)
