"""One timer for many deadlines, nearly all of which pass unneeded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Alarm:
    """Calls `ring` at the earliest deadline that it was set to, once.

    To be woken for nothing costs more than to set a timer anew, so a deadline that nobody awaits
    any more is moved before it comes.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None
        self._at = 0.0

    def by(self, deadline: float, now: float, *, earliest: bool) -> None:
        """Ring at a deadline at the latest.

        Args:
            deadline: when, on the loop's clock.
            now: the loop's clock.
            earliest: whether no earlier deadline is awaited any more.
        """
        if self._timer is None or deadline < self._at:
            self._set(deadline)
        elif earliest and self._at - now < (deadline - now) / 2:
            # Not every time: setting costs something as well.
            self._set(deadline)

    def stop(self) -> None:
        """Do not ring."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, deadline: float) -> None:
        self.stop()
        self._at = deadline
        self._timer = self._loop.call_at(deadline, self._due)

    def _due(self) -> None:
        self._timer = None
        self._ring()
