"""The test bed, up and prepared; it stays when the tests end (`make cluster-down` removes it)."""

from __future__ import annotations

import pytest

from tests.cluster.bed import Bed


@pytest.fixture(scope="session")
def bed() -> Bed:
    """Return the bed of the cluster file."""
    bed = Bed()
    bed.up(show=lambda line: None)
    return bed
