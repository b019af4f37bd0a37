"""One lab for all facts. `lab` gives every test the same beginning: the baseline is in effect.

A test that takes a remedy away puts it back in a ``with`` block. A lab that does not settle all the
same fails the test that found it so, and the next test gets a new one.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.network.facts.laboratory import WITH_INJECTOR, Lab, running

if TYPE_CHECKING:
    from collections.abc import Iterator


class Keeper:
    """Holds one lab, and replaces it when asked to."""

    def __init__(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        self._tmp_path_factory = tmp_path_factory
        self._up = ExitStack()
        self._lab: Lab | None = None

    def lab(self) -> Lab:
        if self._lab is None:
            self._lab = self._up.enter_context(running(self._tmp_path_factory, WITH_INJECTOR))
        return self._lab

    def discard(self) -> None:
        self._lab = None
        self._up.close()


@pytest.fixture(scope="package")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeper]:
    keeper = Keeper(tmp_path_factory)
    yield keeper
    keeper.discard()


@pytest.fixture
def lab(keeper: Keeper) -> Lab:
    lab = keeper.lab()
    try:
        lab.settle()
    except BaseException:
        keeper.discard()
        raise
    return lab
