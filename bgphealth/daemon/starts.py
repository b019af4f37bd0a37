"""A program that keeps dying must not take ExaBGP with it.

ExaBGP starts its helper again at once, but ends itself when that happens more than five times
within 64 seconds of the wall clock (4.2 counts the first start as well), and every route goes with
it. So each start is written down, and one that comes too soon waits before it does anything that
could make it die again: there are never more than four starts within `WINDOW_S`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bgphealth.daemon.places import replace_file

WINDOW_S = 70.0
"""ExaBGP's 64 s, and some more."""

SPARE = 3
"""Starts that need not wait: most troubles are over by then."""

LINGER_S = 20.0
"""How long a run must last where starts cannot be written down: three of them fit the window."""

_LARGEST_BYTES = 64 * 1024


class Start(NamedTuple):
    """This start, and the earlier ones under the same ExaBGP: seconds on the monotonic clock."""

    at: float
    earlier: tuple[float, ...]
    is_noted: bool = True

    @property
    def recent(self) -> int:
        """How many starts there were in the window, this one included."""
        return 1 + sum(self.at - earlier < WINDOW_S for earlier in self.earlier)

    @property
    def wait_s(self) -> float:
        """How long to wait before anything else."""
        return wait_s(self.earlier, self.at)


def wait_s(earlier: Sequence[float], now: float) -> float:
    """Return how long a start has to wait, after those before it."""
    if len(earlier) < SPARE:
        return 0.0
    return max(0.0, sorted(earlier)[-SPARE] + WINDOW_S - now)


def note(files: Sequence[Path]) -> Start:
    """Write this start down, into the first of the files that can be written."""
    now, under = time.monotonic(), _exabgp()
    earlier = sorted({at for file in files for at in _read(file, under) if at <= now})
    kept = [*earlier[-SPARE:], now]
    text = json.dumps({"under": under, "starts": kept})
    for file in files:
        try:
            replace_file(file, text)
        except OSError:
            continue
        return Start(now, tuple(earlier))
    return Start(now, tuple(earlier), is_noted=False)


def _read(file: Path, under: str) -> list[float]:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as stream:
            data = json.loads(stream.read(_LARGEST_BYTES) or b"")
        if data["under"] != under:
            return []
        return [float(at) for at in data["starts"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []  # Whatever it is, it says nothing about the starts under this ExaBGP.


def _exabgp() -> str:
    """Name the ExaBGP that started us, so that no other is taken for it: boot, pid, start time."""
    parent = os.getppid()
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        stat = Path(f"/proc/{parent}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return f"{parent}"
    # After the name, which may hold anything: the fields from the third on (proc(5)).
    return f"{boot} {parent} {stat.rpartition(')')[2].split()[19]}"
