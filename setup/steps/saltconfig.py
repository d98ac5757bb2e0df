"""Salt's configuration for this machine, from the templates master.conf and minion.conf."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Mapping

import jinja2

from steps import Outcome, SetupError, keys
from steps.settings import CHECKOUT, Settings, write

# What a host needs is served to it as well: orch.bootstrap_servers writes the same files there.
TEMPLATES = (CHECKOUT / "setup", CHECKOUT / "salt/bootstrap/files")


def files(config: Settings) -> list[str]:
    """Write both files; returns the names of those that changed."""
    finger = keys.own(config, "master")
    texts = {"master": render(config, "master"), "minion": render(config, "minion", finger)}
    return [name for name, text in texts.items() if write(config.config_dir / name, text, 0o640)]


def write_config(config: Settings) -> Outcome:
    """Directories, the operator's settings, and Salt's two files."""
    for place in (config.etc, config.config_dir, config.etc / "pillar", config.etc / "overrides"):
        place.mkdir(parents=True, exist_ok=True, mode=0o750)
    for place in (config.var, config.log, config.run, config.stamps):
        place.mkdir(parents=True, exist_ok=True, mode=0o750)
    config.save()
    changed = files(config)
    where = f"{config.config_dir}, master on {config.address}:{config.publish_port}"
    if changed:
        return Outcome(f"written: {', '.join(changed)} in {where}", changed=True)
    return Outcome(f"as wanted: {where}")


def render(config: Settings, name: str, master_finger: str = "") -> str:
    """The text of one of the two files."""
    cpus = os.cpu_count() or 1
    values = {
        **{key: str(getattr(config, key)) for key in ("checkout", "etc", "var", "log", "run")},
        "config_dir": str(config.config_dir),
        "address": config.address,
        "master": config.master_address,
        "id": config.id,
        "master_finger": master_finger,
    }
    numbers = {
        "publish_port": config.publish_port,
        "ret_port": config.ret_port,
        "ipv6": ":" in config.address,
        # A worker costs some 20 MB of its own; with fewer than three a slow pillar keeps others waiting.
        "workers": min(max(cpus, 3), 16),
        # Salt complains at start when it wants more than the machine allows.
        "open_files": min(100_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
    }
    for key, value in values.items():
        if not re.fullmatch(r"[\w ./:+@=~-]*", value):
            raise SetupError(
                f"{key} {value!r} has characters that Salt's configuration cannot hold"
            )
    return fill(f"{name}.conf", values | numbers)


def fill(name: str, values: Mapping[str, object]) -> str:
    """The text of a template; a name that it has and ``values`` has not is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template(name).render(values)
