"""What oslo.config knows of a service's options, as data: ``formulas/<service>/oslo.yml``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MULTI = "multi valued"


def known(generated: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sections of a service, and the options of each that are repeated for several values.

    :param generated: Key ``options`` of ``oslo-config-generator --format json``.
    :returns: ``sections`` (names) and ``multi`` (section to options), with their former names.
    """
    sections, multi = set(generated), {}
    for section, group in generated.items():
        for option in group["opts"]:
            former = [
                (one["group"] or section, one["name"] or option["name"])
                for one in option["deprecated_opts"]
            ]
            sections |= {name for name, _ in former}
            for place, name in (
                [(section, option["name"]), *former] if option["type"] == _MULTI else ()
            ):
                multi.setdefault(place, set()).add(name.replace("-", "_"))
    return {
        "sections": sorted(sections),
        "multi": {section: sorted(options) for section, options in sorted(multi.items())},
    }
