"""The documentation names what there is: every option has a row, every page a link."""

from __future__ import annotations

import re

import pytest
import yaml
from clouds import ROOT

SERVICES = sorted(path.parent.name for path in ROOT.glob("formulas/*/service.yml"))


@pytest.mark.parametrize("service", SERVICES)
def test_every_option_of_a_service_is_documented(service):
    options = yaml.safe_load((ROOT / f"formulas/{service}/service.yml").read_text()).get("options")
    page = (ROOT / f"docs/services/{service}.md").read_text()
    assert [name for name in options or {} if f"`{name}`" not in page] == []


def test_every_page_is_linked_from_the_index_and_no_link_is_dead():
    pages = {str(path.relative_to(ROOT / "docs")) for path in ROOT.glob("docs/**/*.md")}
    linked = set(re.findall(r"\]\(([^)#]+\.md)", (ROOT / "docs/index.md").read_text()))
    assert linked == pages - {"index.md"}
