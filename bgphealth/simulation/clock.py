"""An event loop on which time passes as fast as there is something to do.

The program's own scheduling runs on it as it does on a real one: there is no second account of
when a probe is asked that could differ from the first.
"""

from __future__ import annotations

import asyncio
import selectors

_LATE_S = 1e-6
"""A timer never comes early, and always a little late; a schedule may rely on that."""


class _Clock(selectors.SelectSelector):
    """Lets time pass instead of waiting for files."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return that nothing came, `timeout` seconds later."""
        if timeout is None:
            # Only what another thread or a signal sends can go on from here.
            return super().select(None)
        if timeout > 0:
            self.now += timeout + _LATE_S
        return super().select(0)


class SimulatedLoop(asyncio.SelectorEventLoop):
    """A loop whose time starts at 0 and jumps from one timer to the next."""

    def __init__(self) -> None:
        self._clock = _Clock()
        super().__init__(self._clock)

    def time(self) -> float:
        """Return the simulated time in seconds."""
        return self._clock.now
