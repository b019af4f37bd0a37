from __future__ import annotations

import os

import pytest

from tests.support.exabgp import Installed, versions


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that nothing waits for it in the end."""
    items.sort(key=lambda item: item.get_closest_marker("minutes") is None)


@pytest.fixture(params=versions(), ids=str)
def installed(request: pytest.FixtureRequest) -> Installed:
    """Each version of ExaBGP under test; skip, or fail in CI, where it is absent."""
    version: Installed = request.param
    if version.absent:
        if "CI" in os.environ:
            pytest.fail(f"contract tests must run in CI: {version.absent}")
        pytest.skip(version.absent)
    return version
