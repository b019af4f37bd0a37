"""Speak with a running ExaBGP as its helper does, and see what its neighbors were told."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path as File

from bgphealth.core.intents import Intents
from bgphealth.exabgp.commands import PING
from tests.support.bgp_listener import Listener
from tests.support.bgp_messages import Path, Route, Table
from tests.support.exabgp import (
    LOCAL_ASN,
    Encoder,
    Installed,
    Neighbor,
    RunningExabgp,
    exabgp,
    local_address,
)

_HANDOVER = File(__file__).with_name("handover.py")

_MARK = Route(ip_network("203.0.113.255/32"), 0)
"""Announced after what a test says, each time with another community."""

PATIENCE_S = 30.0
"""Longer than ExaBGP waits before it connects again; never waited for in full."""


class Conversation:
    """A running ExaBGP whose helper is the test."""

    def __init__(
        self,
        running: RunningExabgp,
        listeners: Sequence[Listener],
        reader: asyncio.StreamReader,
        transport: asyncio.WriteTransport,
        *,
        acks: bool,
    ) -> None:
        self.running = running
        self.greeting: list[str] = []
        """What ExaBGP wrote until all its neighbors were there."""
        self._listeners = listeners
        self._reader = reader
        self._transport = transport
        self._acks = acks
        self._marks = 0

    def write(self, *lines: str) -> None:
        """Write lines at once, and wait for nothing."""
        self._transport.write("".join(f"{line}\n" for line in lines).encode())

    async def line(self) -> str:
        """Return the next line from ExaBGP that is not empty; empty when it is gone."""
        async with asyncio.timeout(PATIENCE_S):
            while line := await self._reader.readline():
                if text := line.decode().strip():
                    return text
        return ""

    async def say(self, *lines: str) -> list[str]:
        """Write lines; return what ExaBGP wrote until it and its neighbors were done with them.

        They are done when a route that is announced last has arrived everywhere. After that, the
        answer to `PING` is the last line: it overtakes nothing, as nothing is left.
        """
        await self.mark(*lines)
        self.write(PING)
        heard = []
        while not (line := await self.line()).startswith("exabgp "):
            assert line, self.running.logged()
            heard.append(line)
        if self._acks:
            assert await self.line() == "done"
            # The mark's own; events may have come after it.
            del heard[len(heard) - 1 - heard[::-1].index("done")]
        return heard

    async def back(self) -> list[str]:
        """Wait until the neighbors have everything in a new session; return what was written.

        What ExaBGP had before comes first in it, and a mark may be among that.
        """
        return [*await self.say(), *await self.say()]

    async def mark(self, *lines: str) -> None:
        """Write lines, wait until all their neighbors were told of them, and read nothing."""
        self._marks += 1
        self.write(*lines, f"announce route {_MARK.prefix} next-hop self {self._community()}")
        await until(self._marked, self.running)

    def _community(self) -> str:
        return f"community [65000:{self._marks}]"

    def _marked(self) -> bool:
        for listener in self._listeners:
            path = listener.table.get(_MARK)
            if path is None or {c.value for c in path.communities} != {self._marks}:
                return False
        return True


def told(listener: Listener) -> Table:
    """Return what a neighbor was told by the test."""
    return {route: path for route, path in listener.table.items() if route != _MARK}


def as_table(intents: Intents, listener: Listener) -> Table:
    """Return what a neighbor must have been told when ExaBGP has these intents."""
    internal = listener.asn == LOCAL_ASN
    table: Table = {}
    for key, wanted in intents.items():
        if key.neighbor is None or key.neighbor == ip_address(listener.address):
            next_hop = wanted.next_hop or ip_address(local_address(listener.address))
            # An internal neighbor is always told one, an external one never (RFC 4271, 5.1.5).
            pref = (100 if wanted.local_pref is None else wanted.local_pref) if internal else None
            path = Path(
                next_hop,
                pref,
                frozenset(wanted.communities),
                frozenset(wanted.large_communities),
                wanted.med,
                wanted.as_path or (() if internal else (LOCAL_ASN,)),
            )
            table[Route(key.prefix, key.path_id)] = path
    return table


async def until(
    what: Callable[[], object], running: RunningExabgp, seconds: float = PATIENCE_S
) -> None:
    """Poll until it holds; fail with ExaBGP's log when it does not in time."""
    try:
        async with asyncio.timeout(seconds):
            while not what():
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(running.logged()) from None


@asynccontextmanager
async def conversation(
    installed: Installed,
    directory: File,
    *listeners: Listener,
    events: str = "",
    encoder: Encoder = "text",
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[Conversation]:
    """Run ExaBGP with these neighbors, all of them up; the test is its helper."""
    loop = asyncio.get_running_loop()
    neighbors = [Neighbor(peer.address, peer.port, peer.asn, events) for peer in listeners]
    name = f"bgphealth-test-{os.getpid()}-{id(neighbors):x}"
    with socket.socket(socket.AF_UNIX) as waiting:
        waiting.bind("\0" + name)
        waiting.listen()
        with exabgp(
            installed,
            directory,
            _HANDOVER.read_text(),
            neighbors=neighbors,
            encoder=encoder,
            settings={**(settings or {}), "HANDOVER": name},
        ) as running:
            waiting.settimeout(PATIENCE_S)
            helper, _ = await loop.run_in_executor(None, waiting.accept)
            with helper:
                _, (stdin, stdout), _, _ = socket.recv_fds(helper, 16, 2)
                reader = asyncio.StreamReader()
                read, _ = await loop.connect_read_pipe(
                    lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(stdin, "rb")
                )
                write, _ = await loop.connect_write_pipe(
                    asyncio.BaseProtocol, os.fdopen(stdout, "wb", 0)
                )
                try:
                    acks = (settings or {}).get("exabgp.api.ack") != "false"
                    talk = Conversation(running, listeners, reader, write, acks=acks)
                    talk.greeting = await talk.say()
                    yield talk
                finally:
                    read.close()
                    if not write.is_closing():  # Which it is when ExaBGP has gone.
                        write.abort()
