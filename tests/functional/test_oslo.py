"""What the product writes for oslo.config, read by oslo.config itself; and what it knows of options."""

from __future__ import annotations

import json
import subprocess

import clouds
import pytest
import yaml

from saltern.cloud import secrets
from saltern.service import merge, oslo, scope, templates
from tests.functional import oslo_options

# A value of every kind of character, those at an end, and those that mean something to a parser.
PASSWORDS = [
    *("a" + chr(code) + "b" for code in range(32, 127)),
    *(chr(code) + "b" for code in range(33, 127)),
    *("b" + chr(code) for code in range(33, 127)),
    *("$$", "${b}", "$b.c", "%(b)s", '"b"', "'b'", "'", '"', "\\", "a$", "b\\n", "= b", "[b]"),
]
READER = """
import json, sys
from oslo_config import cfg
path = "/dev/shm/written.conf"
text = sys.stdin.read()
open(path, "w").write(text)
conf = cfg.ConfigOpts()
names = [line.split(" =")[0] for line in text.splitlines() if " =" in line]
conf.register_opts([cfg.StrOpt(name) for name in names if name[0] == "o"], "secrets")
conf.register_opt(cfg.ListOpt("filters"), "lists")
conf.register_opt(cfg.MultiStrOpt("alias"), "lists")
conf(["--config-file", path])
print(json.dumps([[conf.secrets[name] for name in names if name[0] == "o"],
                  conf.lists.filters, conf.lists.alias]))
"""


def read(text: str) -> list:
    """Return what oslo.config reads in a file: the secrets, a list option, a repeated one."""
    image = clouds.image("keystone")
    program = ["/opt/saltern/bin/python3", "-W", "ignore", "-c", READER]
    command = ["docker", "run", "--rm", "--interactive", "--network", "host", image, *program]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_secrets_and_lists_are_read_as_they_are_meant():
    held = {f"o{number}": password for number, password in enumerate(PASSWORDS)}
    catalog = {"s": {"secrets": {name: {} for name in held}}}
    assert secrets.problems(catalog, {"s": held}, "") == []
    facts = {
        "host": {},
        "hosts": {},
        "services": {"s": {"options": {}}},
        "secrets": {"s": held},
    }
    lines = "".join(f"{name} = {{{{ secret('s.{name}') }}}}\n" for name in held)
    context = scope.Context(facts, "s")
    text = templates.render("t", {"t": f"[secrets]\n{lines}"}.get, context, "oslo")
    override = {"lists": {"filters": ["A", "B"], "alias": ["one", "two"]}}
    text = merge.apply(text, "oslo", override, "t", {"lists": ["alias"]})
    assert read(text) == [PASSWORDS, ["A", "B"], ["one", "two"]]


@pytest.mark.parametrize("service", oslo_options.services())
def test_what_is_known_of_options_is_what_the_image_says(service):
    formula = oslo_options.services()[service]
    written = (oslo_options.ROOT / f"formulas/{service}/oslo.yml").read_text()
    known = oslo.known(oslo_options.generated(formula))
    assert yaml.safe_load(written) == known, "run python -m tests.functional.oslo_options"
