"""When a silent ExaBGP is to be pinged, said to be late, or given up on."""

from __future__ import annotations

PAUSE_S = 0.5
"""How long ExaBGP may be silent, with commands to answer, before nothing more is sent to it."""

DEADLINE_S = 2.0
"""How long ExaBGP may leave commands without any reply before it is said to be late."""

LOST_S = 5.0
"""How long after it answered a ping the missing replies are given up."""


class Silence:
    """Since when there was no answer, what was said of it, and the ping."""

    def __init__(self, at: float) -> None:
        self.is_pinged = False
        self.begin(at)

    def begin(self, at: float) -> None:
        """Begin anew: an answer came, or what waits for one was sent just now."""
        self.since = at
        self.was_said = False
        self._say_after_s = DEADLINE_S
        self._pong_at: float | None = None

    def is_to_be_said(self, at: float) -> bool:
        """Whether it is to be said (again): at the deadline, and each time that it has doubled."""
        if at - self.since < self._say_after_s:
            return False
        self._say_after_s *= 2
        self.was_said = True
        return True

    def is_long(self, at: float) -> bool:
        """Whether there has been no sign of life for long."""
        return self._pong_at is None and at - self.since >= PAUSE_S

    def pong(self, at: float) -> None:
        """Note the answer to the ping. It may have overtaken replies that are on their way."""
        self.is_pinged = False
        self._pong_at = at

    def is_lost(self, at: float) -> bool:
        """Whether what is missing will never come."""
        return self._pong_at is not None and at - self._pong_at >= LOST_S
