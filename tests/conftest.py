"""Options and fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).parent / "golden"

# No deadline: a busy machine is no finding. CI plays the same examples each time, so that a red run
# means a change; everybody else explores: a little, or with --hypothesis-profile=thorough a lot.
settings.register_profile("explore", deadline=None, max_examples=40)
settings.register_profile("ci", deadline=None, derandomize=True, max_examples=60)
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.load_profile("ci" if os.environ.get("CI") else "explore")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write what the tests see into tests/golden, to be looked at with git diff",
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with the file of that name below tests/golden, or write it there."""
    update: bool = request.config.getoption("--update-golden")

    def compare(name: str, text: str) -> None:
        file = GOLDEN / name
        if update:
            file.write_text(text, encoding="utf-8")
        assert file.is_file(), f"{name} is missing: run pytest --update-golden and read it"
        assert text == file.read_text(encoding="utf-8")

    return compare
