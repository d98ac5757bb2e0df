"""Write formulas/*/oslo.yml anew: what oslo.config in the images knows of the services' options.

PYTHONPATH=_utils .venv/bin/python -m tests.functional.oslo_options
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from saltern.cloud import formulas
from saltern.images.options import Options
from saltern.service import oslo, tasks

ROOT = Path(__file__).parents[2]
_NOTE = "# What oslo.config knows, see _utils/saltern/service/oslo.py; written by tests/functional/oslo_options.py.\n"
# Lists of options that import what is not in the images, such as clients of Google.
_PROGRAM = """
import sys
from unittest import mock
for name in ("google", "google.auth", "google.oauth2", "google_auth_httplib2", "googleapiclient"):
    sys.modules[name] = mock.MagicMock()
from oslo_config import generator
generator.main()
"""


def services() -> formulas.Catalog:
    """Return the services whose options oslo.config reads: they name their lists of options."""
    found = formulas.load([ROOT / "formulas"])
    return {name: one for name, one in found.items() if one["oslo"].get("namespaces")}


def generated(formula: formulas.Formula) -> dict[str, Any]:
    """Return the options that the service's image knows."""
    (check,) = tasks.of_phase(formula, "check").values()
    image = Options().name(check["image"])
    program = ["/opt/saltern/bin/python3", "-W", "ignore", "-c", _PROGRAM, "--format", "json"]
    lists = [f"--namespace={one}" for one in formula["oslo"]["namespaces"]]
    command = ["docker", "run", "--rm", "--network", "host", image, *program, *lists]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)["options"]


def text(known: dict[str, Any]) -> str:
    """Return an oslo.yml."""
    lines = ["sections:", *(f"  - {name}" for name in known["sections"])]
    lines += ["multi:" if known["multi"] else "multi: {}"]
    lines += [f"  {name}: [{', '.join(options)}]" for name, options in known["multi"].items()]
    return _NOTE + "\n".join(lines) + "\n"


if __name__ == "__main__":
    for service, formula in services().items():
        (ROOT / f"formulas/{service}/oslo.yml").write_text(text(oslo.known(generated(formula))))
