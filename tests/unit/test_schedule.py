from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from bgphealth.probes.schedule import Every


@pytest.mark.parametrize("again", [lambda every: every.hurry(0.001), lambda every: every.relax()])
async def test_what_was_stopped_is_not_called_again(again: Callable[[Every], None]) -> None:
    """A path may be said to be suspect while the questions are exchanged for others."""
    called: list[int] = []
    every = Every(0.001, 0.0, lambda: called.append(1))
    every.stop()
    again(every)
    await asyncio.sleep(0.02)
    assert called == []
