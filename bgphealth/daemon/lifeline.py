"""What a run hangs on: the pipes to ExaBGP, ExaBGP itself, and the signals."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, BinaryIO

from bgphealth.exabgp import pipe
from bgphealth.exabgp.replies import NeighborState, Reply, decode

PARENT_S = 1.0
"""How often to look whether ExaBGP is still our parent."""


class Lifeline:
    """Ends a run, and says when the file is to be read again. Needs a running event loop.

    From `connect` on, what ExaBGP writes is read, whether anybody is interested or not: unread
    replies would freeze it. ExaBGP is gone when its end of the pipe is closed, or when it is not
    our parent any more, for another process may hold the pipe open.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[str] = self._loop.create_future()
        self._line: Callable[[str], None] = self._keep
        self._said_last: dict[str, str] = {}
        self._parent: int | None = None
        self.reload = asyncio.Event()
        self.writer = pipe.Writer()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self.end, signal.Signals(number).name)

    async def connect(self, stdin: BinaryIO, stdout: BinaryIO) -> None:
        """Connect to ExaBGP, and listen for SIGHUP.

        Raises:
            ValueError: one of them is neither a pipe, nor a socket, nor a character device.
        """
        self._parent = os.getppid()
        self.follow_reloads()
        await pipe.connect(stdin, stdout, self.writer, self._received, self._gone)
        self._loop.call_later(PARENT_S, self._look_at_parent)

    def follow_reloads(self) -> None:
        """Listen for SIGHUP: all there is to listen for where there is no ExaBGP."""
        self._loop.add_signal_handler(signal.SIGHUP, self.reload.set)

    def listen(self, line: Callable[[str], None]) -> None:
        """Call this with each line from now on, and with the last ones about each neighbor."""
        self._line = line
        for said in self._said_last.values():
            line(said)
        self._said_last.clear()

    def end(self, reason: str) -> None:
        """End the run. The first reason is the one that counts."""
        if not self._ended.done():
            self._ended.set_result(reason)

    async def hold(self, work: Coroutine[Any, Any, None]) -> str:
        """Do this until the run shall end, and return why; what it raises is raised."""
        task = asyncio.create_task(work)
        either: set[asyncio.Future[Any]] = {task, self._ended}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        task.cancel()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(result, Exception):
            raise result
        return await self._ended

    @property
    def exabgp_is_stopped(self) -> bool:
        """Whether ExaBGP is stopped (SIGSTOP): it answers nothing, however little it is asked."""
        if self._parent is None:
            return False
        try:
            stat = Path(f"/proc/{self._parent}/stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            return False
        return stat.rpartition(")")[2].split()[0] in {"T", "t"}

    def _received(self, line: str) -> None:
        self._line(line)
        if decode(line) is Reply.SHUTDOWN:
            self.end("exabgp_shutdown")

    def _keep(self, line: str) -> None:
        """Drop what nobody waits for, but for what ExaBGP says once: what became of a session."""
        if isinstance(event := decode(line), NeighborState):
            self._said_last[event.neighbor] = line

    def _gone(self) -> None:
        self.end("exabgp_gone")

    def _look_at_parent(self) -> None:
        if os.getppid() != self._parent:
            self._gone()
        else:
            self._loop.call_later(PARENT_S, self._look_at_parent)
