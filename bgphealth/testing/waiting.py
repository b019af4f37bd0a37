"""Wait for something by asking again and again, and say what was there instead."""

from __future__ import annotations

import time
from collections.abc import Callable

from bgphealth.testing.errors import NodeError, NotSeenError

_INTERVAL_S = 0.2


def until(look: Callable[[], str | None], what: str, within_s: float) -> None:
    """Call `look` until it returns None; else it returns what is there instead, in words.

    A node that does not answer yet is asked again. It is looked at least once after `within_s`.

    Raises:
        NotSeenError: it never came.
    """
    __tracebackhide__ = True
    end = time.monotonic() + within_s
    while True:
        is_last = time.monotonic() >= end
        try:
            seen = look()
        except NodeError as error:
            seen = str(error)
        if seen is None:
            return
        if is_last:
            raise NotSeenError(f"{what}: not within {within_s:g} s, but\n{_indented(seen)}")
        time.sleep(_INTERVAL_S)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
