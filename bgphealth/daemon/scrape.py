"""Answers Prometheus: GET /metrics over HTTP/1.1 (RFC 9112), and nothing else.

Nothing that a client does may disturb the probes: one is let in at a time and no more than a
hundred in a second, and how many there are, how much they say and how long they take is bounded.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import closing
from http import HTTPStatus

from structlog.typing import FilteringBoundLogger

from bgphealth.core.settings import Family, Listen

LONGEST_HEAD = 8 * 1024
"""Bytes of a request."""

MOST_CLIENTS = 8
"""At a time; half of them from one address: who comes again and again keeps nobody else out."""

HEAD_S = 1.0
"""How long a client may take for its request."""

PATIENCE_S = 5.0
"""How long it may take to take the answer."""

RETRY_S = 10.0
"""How often to try again to listen."""

_PAUSE_S = 0.01
_TEXT = "text/plain; charset=utf-8"
METRICS = "text/plain; version=0.0.4; charset=utf-8"


class Scrape:
    """Listens for Prometheus.

    Args:
        listen: where.
        text: returns the metrics.
        log: where to say what prevents it.
    """

    def __init__(
        self, listen: Listen, text: Callable[[], Awaitable[bytes]], log: FilteringBoundLogger
    ) -> None:
        self._listen = listen
        self._text = text
        self._log = log
        self._clients: dict[asyncio.Task[None], str] = {}
        self._room = asyncio.Semaphore(MOST_CLIENTS)

    async def serve(self) -> None:
        """Serve until cancelled. What prevents it is said, and tried again."""
        said = ""
        while True:
            try:
                with closing(_bound(self._listen)) as listening:
                    self._log.info("metrics_listening", listen=str(self._listen))
                    said = ""
                    await self._let_in(listening)
            except OSError as error:
                why = os.strerror(error.errno) if error.errno else str(error)
                if why != said:
                    said = why
                    self._log.warning(
                        "metrics_not_listening", listen=str(self._listen), why=why, retry_s=RETRY_S
                    )
            await asyncio.sleep(RETRY_S)

    async def _let_in(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._room.acquire()
                try:
                    connection, (address, *_) = await loop.sock_accept(listening)
                except BaseException:
                    self._room.release()
                    raise
                if list(self._clients.values()).count(address) < MOST_CLIENTS // 2:
                    client = asyncio.create_task(self._client(connection))
                    self._clients[client] = address
                    client.add_done_callback(self._gone)
                else:
                    connection.close()
                    self._room.release()
                # However much is asked, the probes come first.
                await asyncio.sleep(_PAUSE_S)
        finally:
            for client in self._clients:
                client.cancel()

    def _gone(self, client: asyncio.Task[None]) -> None:
        del self._clients[client]
        self._room.release()

    async def _client(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection, limit=LONGEST_HEAD)
        try:
            for part in await self._asked(reader):
                writer.write(part)
            writer.close()
            async with asyncio.timeout(PATIENCE_S):
                await writer.wait_closed()
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            writer.transport.abort()
        except asyncio.CancelledError:
            writer.transport.abort()
            raise

    async def _asked(self, reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
        try:
            async with asyncio.timeout(HEAD_S):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        return await self._answer(head)

    async def _answer(self, head: bytes) -> tuple[bytes, bytes]:
        words = head.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):  # noqa: PLR2004 - RFC 9112, 3
            return _response(HTTPStatus.BAD_REQUEST)
        if words[0] != b"GET":
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, "Allow: GET")
        if words[1].partition(b"?")[0] != b"/metrics":
            return _response(HTTPStatus.NOT_FOUND)
        try:
            text = await self._text()
        except Exception:  # noqa: BLE001 - whatever it is, it ends here
            # A mistake of ours in counting is none in steering.
            self._log.exception("metrics_failed")
            return _response(HTTPStatus.INTERNAL_SERVER_ERROR)
        return _response(HTTPStatus.OK, f"Content-Type: {METRICS}", text)


def _response(
    status: HTTPStatus, field: str = f"Content-Type: {_TEXT}", body: bytes = b""
) -> tuple[bytes, bytes]:
    """Return the head and the body of an answer; who is refused is told where the metrics are."""
    said = body or f"{status} {status.phrase}; the metrics are at /metrics\n".encode()
    head = (
        f"HTTP/1.1 {status} {status.phrase}\r\n{field}\r\n"
        f"Content-Length: {len(said)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii"), said


def _bound(listen: Listen) -> socket.socket:
    """Return a socket that listens.

    Raises:
        OSError: the system does not allow it.
    """
    is_v6 = Family.of(listen.address) is Family.IPV6
    listening = socket.create_server(
        (str(listen.address), listen.port),
        family=socket.AF_INET6 if is_v6 else socket.AF_INET,
        backlog=MOST_CLIENTS,
        # "[::]" is every address, IPv4 ones as well.
        dualstack_ipv6=is_v6 and listen.address.is_unspecified and socket.has_dualstack_ipv6(),
    )
    listening.setblocking(False)  # noqa: FBT003 - its own name
    return listening
