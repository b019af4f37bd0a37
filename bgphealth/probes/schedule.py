"""Call something every interval, without drift and without catching up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Every:
    """Calls `fire` every `interval_s`, the first time after `phase_s`, until `stop`.

    Times are multiples of the interval on the loop's monotonic clock, so lateness does not add up.
    Calls that were missed because the loop was late are left out, not made up for in a burst.
    """

    def __init__(self, interval_s: float, phase_s: float, fire: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._interval_s = interval_s
        self._fire = fire
        self._next = self._loop.time() + phase_s
        self._timer = self._loop.call_at(self._next, self._tick)

    def stop(self) -> None:
        """Make no further call."""
        self._timer.cancel()

    def _tick(self) -> None:
        missed = int((self._loop.time() - self._next) // self._interval_s)
        self._next += self._interval_s * (max(missed, 0) + 1)
        self._timer = self._loop.call_at(self._next, self._tick)
        self._fire()
