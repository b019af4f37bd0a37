"""Call something every interval, without drift and without catching up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Every:
    """Calls `fire` every `interval_s`, the first time after `phase_s`, until `stop`.

    Times are multiples of the interval on the loop's monotonic clock, so lateness does not add up,
    and calls with different phases stay apart. Calls that were missed because the loop was late are
    left out, not made up for in a burst.
    """

    def __init__(self, interval_s: float, phase_s: float, fire: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._interval_s = interval_s
        self._fire = fire
        self._begin = self._loop.time() + phase_s
        self._timer: asyncio.Handle = self._loop.call_at(self._begin, self._tick)

    def hurry(self, interval_s: float) -> None:
        """Call at once, and from now on every `interval_s`."""
        if self._timer.cancelled():
            return  # It was stopped.
        self._timer.cancel()
        self._timer = self._loop.call_soon(self._hurried_tick, interval_s)

    def relax(self) -> None:
        """Call every interval again, at the multiples of it where it would have been anyway."""
        if self._timer.cancelled():
            return
        self._timer.cancel()
        self._timer = self._loop.call_at(self._next(), self._tick)

    def stop(self) -> None:
        """Make no further call."""
        self._timer.cancel()

    def _tick(self) -> None:
        self._timer = self._loop.call_at(self._next(), self._tick)
        self._fire()

    def _hurried_tick(self, interval_s: float) -> None:
        self._timer = self._loop.call_later(interval_s, self._hurried_tick, interval_s)
        self._fire()

    def _next(self) -> float:
        passed = max(0, int((self._loop.time() - self._begin) / self._interval_s))
        return self._begin + (passed + 1) * self._interval_s
