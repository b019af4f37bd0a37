"""The two pipes between ExaBGP and its helper: our stdin, and what was our stdout."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import BinaryIO, cast

_MAX_LINE = 64 * 1024


class LineReader(asyncio.Protocol):
    """Reads lines as they come; reading never waits for whoever uses them."""

    def __init__(self, line: Callable[[str], None], closed: Callable[[], None]) -> None:
        self._line = line
        self._closed = closed
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        """Split what came into lines; a line that never ends is dropped."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if text := line.decode("ascii", errors="replace").strip():
                self._line(text)
        if len(self._rest) > _MAX_LINE:
            self._rest = b""

    def connection_lost(self, _: Exception | None) -> None:
        """Say that the other side is gone."""
        self._closed()


class Writer(asyncio.BaseProtocol):
    """Writes without ever blocking the loop; `write` returns when there is room for more."""

    def __init__(self) -> None:
        self._room = asyncio.Event()
        self._room.set()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, with no slack: what is not in the pipe can still be changed."""
        self._transport = cast("asyncio.WriteTransport", transport)
        self._transport.set_write_buffer_limits(high=0)

    def pause_writing(self) -> None:
        """Note that the pipe is full."""
        self._room.clear()

    def resume_writing(self) -> None:
        """Note that the pipe has room again."""
        self._room.set()

    def connection_lost(self, _: Exception | None) -> None:
        """Let go of whoever waits for room; the reader sees the end of the other pipe."""
        self._transport = None
        self._room.set()

    async def write(self, data: bytes) -> None:
        """Write all of `data`, as fast as the other side reads; nothing when it is gone."""
        if self._transport is not None:
            self._transport.write(data)
            await self._room.wait()

    def close(self) -> None:
        """Close our end; nothing that still waits is sent."""
        if self._transport is not None:
            self._transport.abort()


async def connect(
    stdin: BinaryIO,
    stdout: BinaryIO,
    writer: Writer,
    line: Callable[[str], None],
    closed: Callable[[], None],
) -> None:
    """Connect both pipes to the running loop.

    Args:
        stdin: what ExaBGP writes to.
        stdout: the private duplicate of what ExaBGP reads from.
        writer: what shall write to it from now on.
        line: called with each line from ExaBGP, must not block.
        closed: called once when ExaBGP is gone.

    Raises:
        ValueError: one of them is neither a pipe, nor a socket, nor a character device.
    """
    loop = asyncio.get_running_loop()
    await loop.connect_write_pipe(lambda: writer, stdout)
    await loop.connect_read_pipe(lambda: LineReader(line, closed), stdin)
