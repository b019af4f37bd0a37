"""Processes named so that no other can be meant: pid and start time, signalled through a pidfd."""

from __future__ import annotations

import os
import select
import signal
from dataclasses import dataclass
from pathlib import Path

_STATE, _START_TIME = 0, 19
"""Positions in ``/proc/PID/stat`` after the command name (proc(5): fields 3 and 22)."""


@dataclass(frozen=True, slots=True)
class ProcessName:
    """A process of this boot: a pid alone may have been given to somebody else since."""

    pid: int
    start: int
    """Clock ticks after boot, as ``/proc/PID/stat`` has them."""

    @classmethod
    def of(cls, pid: int) -> ProcessName:
        """Name a process that runs now.

        Raises:
            ProcessLookupError: It does not.
        """
        fields = _stat(pid)
        if fields is None:
            raise ProcessLookupError(pid)
        return cls(pid, int(fields[_START_TIME]))

    def is_alive(self) -> bool:
        """Return whether that very process still runs (a zombie does not)."""
        fields = _stat(self.pid)
        return (
            fields is not None and int(fields[_START_TIME]) == self.start and fields[_STATE] != "Z"
        )

    def kill(self, timeout_s: float = 10.0) -> bool:
        """Kill that very process and wait for its end; return whether it is gone."""
        try:
            pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            # The pidfd is open: from here on the pid cannot be reused under our hands.
            if not self.is_alive():
                return True
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            return bool(poll.poll(timeout_s * 1000))
        finally:
            os.close(pidfd)


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name may contain anything, brackets and spaces included.
    return text.rpartition(")")[2].split()
