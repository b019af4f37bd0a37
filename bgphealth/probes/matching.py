"""Look for a pattern in what a server sends: it may choose a text that takes hours to search."""

from __future__ import annotations

import re
import signal
from types import FrameType

MOST_S = 0.05
"""Of processor time, while nothing else is done: 64 KiB take well below 1 ms with most patterns."""


class TooLongError(Exception):
    """The search was given up."""


def is_in(pattern: str, text: str, most_s: float = MOST_S) -> bool:
    """Tell whether a pattern is found. To be called in the main thread.

    The engine of `re` looks for signals from time to time, and what their handler raises ends it.

    Raises:
        TooLongError: it takes more processor time than `most_s`.
    """
    before = signal.signal(signal.SIGVTALRM, _give_up)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, most_s)
        try:
            return re.search(pattern, text) is not None
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    finally:
        signal.signal(signal.SIGVTALRM, before)


def _give_up(_: int, __: FrameType | None) -> None:
    raise TooLongError
