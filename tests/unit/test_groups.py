"""Tests of one group run in one worker: they share a cohort, or a cluster, that takes minutes to make."""

from __future__ import annotations

import pytest


@pytest.mark.xdist_group("guard")
def test_a_group_is_known_to_the_distribution(request: pytest.FixtureRequest) -> None:
    """Pytest 9.2 ignores the name by which pytest-xdist 3.8 sorts: every worker then made its own cohort."""
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("not distributed by groups")
    assert request.node.nodeid.endswith("@guard")
