"""A BGP neighbor that only listens, and keeps what it was told: an Adj-RIB-In without a router."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from tests.support.bgp_messages import (
    HEADER,
    MalformedError,
    Table,
    Type,
    decode_update,
    message,
    open_message,
)

HOLD_TIME_S = 180
"""What both sides propose; ExaBGP tells us that it lives every third of it."""


@dataclass
class Listener:
    """One neighbor of ExaBGP, which waits for it (passive) at `address` and `port`."""

    asn: int
    address: str
    hold_time_s: int
    port: int = 0
    table: Table = field(default_factory=dict)
    """What the session announced and did not withdraw; empty without a session (RFC 4271, 9)."""
    updates: int = 0
    ends_of_rib: int = 0
    sessions: int = 0
    """How many sessions ExaBGP has opened so far."""
    notifications: list[tuple[int, int]] = field(default_factory=list)
    """Code and subcode of each NOTIFICATION from ExaBGP (RFC 4271, section 4.5)."""
    faults: list[str] = field(default_factory=list)
    """What ExaBGP did that no neighbor would bear. Each ended its session."""
    speaks: asyncio.Event = field(default_factory=asyncio.Event)
    """While it is cleared, a new connection gets no OPEN: no session comes up, and none fails."""
    _server: asyncio.Server | None = None
    _writer: asyncio.StreamWriter | None = None
    _connections: set[asyncio.Task[None]] = field(default_factory=set)

    def reset(self) -> None:
        """Close the session without a word, as a neighbor that crashed."""
        if self._writer is not None:
            self._writer.close()

    async def start(self) -> None:
        """Accept connections; the first time on a free port, then on the same."""
        self._server = await asyncio.start_server(self._accept, self.address, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close whatever is open, and refuse connections."""
        if self._server is not None:
            self._server.close()
        self.reset()
        self.speaks.set()
        if self._connections:
            await asyncio.wait(self._connections)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        await self.speaks.wait()
        writer.write(open_message(self.asn, IPv4Address("127.0.0.9"), self.hold_time_s))
        try:
            while True:
                async with asyncio.timeout(self.hold_time_s):
                    header = await reader.readexactly(HEADER)
                    length, kind = struct.unpack("!HB", header[16:])
                    body = await reader.readexactly(length - HEADER)
                self._take(Type(kind), body, writer)
        except TimeoutError:
            self.faults.append("hold timer expired")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except (MalformedError, ValueError) as error:
            self.faults.append(str(error))
        finally:
            if self._writer is writer:
                self.table.clear()
                self._writer = None
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    def _take(self, kind: Type, body: bytes, writer: asyncio.StreamWriter) -> None:
        match kind:
            case Type.OPEN:
                self.table.clear()
                self.sessions += 1
                writer.write(message(Type.KEEPALIVE))
            case Type.KEEPALIVE:
                # ExaBGP sends them every third of the hold time, which is often enough for ours.
                writer.write(message(Type.KEEPALIVE))
            case Type.UPDATE:
                update = decode_update(body)
                if update.withdrawn or update.announced:
                    self.updates += 1
                else:  # RFC 4724, section 2.
                    self.ends_of_rib += 1
                for route in update.withdrawn:
                    self.table.pop(route, None)
                self.table.update(update.announced)
            case Type.NOTIFICATION:
                self.notifications.append((body[0], body[1]))


@asynccontextmanager
async def listening(
    asn: int = 65101, address: str = "127.0.0.1", hold_time_s: int = HOLD_TIME_S
) -> AsyncIterator[Listener]:
    """Listen on a loopback address."""
    listener = Listener(asn, address, hold_time_s)
    listener.speaks.set()
    await listener.start()
    try:
        yield listener
    finally:
        await listener.stop()
