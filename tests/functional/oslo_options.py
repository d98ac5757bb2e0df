"""Write formulas/*/oslo.yml anew: what oslo.config in the images knows of the services' options.

.venv/bin/python -m tests.functional.oslo_options
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
_NOTE = "# What oslo.config knows, see _utils/saltern/oslo.py; written by tests/functional/oslo_options.py.\n"
# Lists of options that import what is not in the images, such as clients of Google.
_PROGRAM = """
import sys
from unittest import mock
for name in ("google", "google.auth", "google.oauth2", "google_auth_httplib2", "googleapiclient"):
    sys.modules[name] = mock.MagicMock()
from oslo_config import generator
generator.main()
"""


def services() -> dict[str, dict[str, Any]]:
    """Return the services whose checker is oslo.config's: it names their lists of options."""
    found = {
        path.parent.name: yaml.safe_load(path.read_text())
        for path in sorted(ROOT.glob("formulas/*/service.yml"))
    }
    return {name: one for name, one in found.items() if namespaces(one)}


def namespaces(formula: dict[str, Any]) -> list[str]:
    """Return the arguments that name a service's lists of options."""
    return [one for one in formula.get("check", []) if one.startswith("--namespace=")]


def generated(formula: dict[str, Any]) -> dict[str, Any]:
    """Return the options that the service's image knows."""
    image = f"saltern/{formula['check_image']}:2026.2"
    program = ["/opt/saltern/bin/python3", "-W", "ignore", "-c", _PROGRAM, "--format", "json"]
    command = ["docker", "run", "--rm", "--network", "host", image, *program, *namespaces(formula)]
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
    sys.path.insert(0, str(ROOT / "_utils"))
    from saltern import oslo

    for service, formula in services().items():
        (ROOT / f"formulas/{service}/oslo.yml").write_text(text(oslo.known(generated(formula))))
