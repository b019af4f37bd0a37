from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import docker, images
from lab.errors import LabError, NotPermittedError, UnavailableError

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything below this directory, so that nobody can forget to."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.containerlab)


@pytest.fixture(scope="session", autouse=True)
def built() -> Iterator[list[str]]:
    """Build the images; skip, or fail in CI, where containerlab cannot run.

    A daemon of the lab's own that was not there before ends with the tests.
    """
    was_there = False
    try:
        _check_machine()
        was_there = docker.answers()
        names = images.build(lambda _: None)
    except LabError as error:
        if not was_there:
            docker.down()
        if "CI" in os.environ:
            pytest.fail(f"the tests in containerlab must run in CI: {error}")
        pytest.skip(str(error))
    yield names
    if not was_there:
        docker.down()


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise NotPermittedError("containerlab needs root")
    if shutil.which("containerlab", path=docker.path()) is None:
        raise UnavailableError("containerlab is not installed (make setup-containerlab)")
