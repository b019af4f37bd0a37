"""What is said over and over is written some times, then counted.

A route that is refused, a default that comes and goes, a thousand checks that cannot be asked: the
log says so, and how often, and remains readable. Verdicts, decisions and what operators ask for are
always written.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import structlog
from structlog.typing import EventDict

WINDOW_S = 60.0
MOST_OF_ONE = 20
"""Lines of one event about one thing, within `WINDOW_S`."""
MOST_OF_ALL = 200
"""Lines of one event about anything."""

ALWAYS = frozenset(
    {
        "announce",
        "control_command",
        "crash_loop",
        "crashed",
        "default_in_use",
        "default_spare",
        "default_tier",
        "drain_ended",
        "drain_resumed",
        "drain_started",
        "drain_suspended",
        "file_refused",
        "last_resort",
        "path_changed",
        "reload_refused",
        "reloaded",
        "render_needed",
        "repeated",
        "service_changed",
        "started",
        "stopped",
        "withdraw",
    }
)

_THINGS = ("uplink", "family", "role", "service", "probe", "route", "where", "neighbor", "address")


class _Window:
    """One event, from the first line of it on."""

    def __init__(self, since: float) -> None:
        self.since = since
        self.written: Counter[tuple[str, ...]] = Counter()
        self.dropped = 0


class Repeats:
    """A processor for structlog; may be called in any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[str, _Window] = {}
        self._lock = threading.Lock()

    def __call__(self, _: object, __: str, event: EventDict) -> EventDict:
        """Return the line to be written; those that are too many are dropped."""
        name = event["event"]
        if name in ALWAYS or event["level"] == "debug":
            if name == "stopped":
                self.say(WINDOW_S)
            return event
        self.say()
        if not self._is_written(name, event):
            raise structlog.DropEvent
        return event

    def say(self, ahead_s: float = 0.0) -> None:
        """Write what was dropped in windows that are over, or will be `ahead_s` from now."""
        with self._lock:
            over = list(self._take_over(self._clock() + ahead_s))
        for name, count in over:
            structlog.get_logger().warning("repeated", of=name, count=count, within_s=WINDOW_S)

    def _take_over(self, now: float) -> Iterator[tuple[str, int]]:
        for name, window in list(self._windows.items()):
            if now - window.since >= WINDOW_S:
                del self._windows[name]
                if window.dropped:
                    yield name, window.dropped

    def _is_written(self, name: str, event: EventDict) -> bool:
        thing = tuple(str(event[key]) for key in _THINGS if key in event)
        with self._lock:
            window = self._windows.setdefault(name, _Window(self._clock()))
            one = window.written[thing] if thing else 0
            if one < MOST_OF_ONE and window.written.total() < MOST_OF_ALL:
                window.written[thing] += 1
                return True
            window.dropped += 1
            is_first = window.dropped == 1
        if is_first:
            self._say_later(window.since + WINDOW_S - self._clock())
        return False

    def _say_later(self, after_s: float) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # In another thread: with the next line.
        loop.call_later(max(0.0, after_s), self.say)
