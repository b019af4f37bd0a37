"""HTTP (RFC 9110) and HTTPS: one request on a connection of its own.

httpx by itself connects first and sets `socket_options`, the device among them, afterwards, so it
gets a connection of ours. Only its transport is used: there are no redirects, proxies or cookies.
"""

from __future__ import annotations

import asyncio
import codecs
import socket
import ssl
import time
from functools import cache
from typing import Any

import httpcore
import httpx

from bgphealth.core.events import Verdict
from bgphealth.core.settings import Family, HttpQuestion, ProbeSettings
from bgphealth.core.text import printable
from bgphealth.probes.attempt import Attempt, BoundProber
from bgphealth.probes.binding import Binding
from bgphealth.probes.connection import connect, in_words, open_socket
from bgphealth.probes.matching import TooLongError, is_in
from bgphealth.probes.outcome import Outcome

LARGEST_BODY = 64 * 1024
_LARGEST_ANSWER = 2 * LARGEST_BODY
"""The body, and what is around it: headers, sizes of chunks, informational responses."""
_MOST_AT_ONCE = 2048
_DAY_S = 86400
_ENCODINGS = {"ascii", "cp1252", "iso8859-1", "iso8859-15", "utf-16", "utf-8"}
_DEFAULT_PORTS = {False: 80, True: 443}


class HttpProber(BoundProber):
    """Sends one request or query, and looks at the answer. See `BoundProber`."""

    async def _attempt(self, probe: ProbeSettings, attempt: Attempt) -> Outcome:
        question = probe.question
        if not isinstance(question, HttpQuestion):
            raise TypeError(f"{probe} is not an HTTP probe")
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        flaw = await self._flaw(probe, question, attempt)
        if flaw is not None:
            return Outcome(Verdict.FAILED, flaw)
        return Outcome(Verdict.OK, rtt_s=loop.time() - began_at)

    async def _flaw(
        self, probe: ProbeSettings, question: HttpQuestion, attempt: Attempt
    ) -> str | None:
        """Ask, and return what is wrong with the answer."""
        context = _tls_context(verify=question.verify) if question.tls else None
        connection = _Connection(probe, self._binding, attempt)
        try:
            async with _Transport(connection, context) as transport:
                response = await transport.handle_async_request(_request(probe, question))
                attempt.doing = "reading the body"
                body = await _body(response)
        except ssl.SSLCertVerificationError as error:
            return f"certificate verify failed: {error.verify_message}"
        except ssl.SSLError as error:
            return f"TLS: {(error.reason or str(error)).replace('_', ' ').lower()}"
        except OSError as error:
            return f"{in_words(error)} ({attempt.doing})"
        except httpx.HTTPError as error:
            return f"not HTTP: {printable(str(error))}"
        finally:
            await connection.aclose()
        return _judge(response, body, question) or _expiry(
            connection.certificate, question.min_valid_s
        )


def _request(probe: ProbeSettings, question: HttpQuestion) -> httpx.Request:
    target = probe.target
    is_v6 = target is not None and Family.of(target) is Family.IPV6
    address = f"[{target}]" if is_v6 else str(target)
    suffix = "" if probe.port == _DEFAULT_PORTS[question.tls] else f":{probe.port}"
    return httpx.Request(
        "GET",
        f"{'https' if question.tls else 'http'}://{address}{suffix}{question.path}",
        headers={
            "Host": (question.host or address) + suffix,
            "User-Agent": "bgphealth",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "Connection": "close",
        },
        extensions={"sni_hostname": question.host or str(target)},
    )


async def _body(response: httpx.Response) -> bytes:
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) >= LARGEST_BODY:
            break
    return bytes(body[:LARGEST_BODY])


def _judge(response: httpx.Response, body: bytes, question: HttpQuestion) -> str | None:
    if response.status_code not in question.status:
        expected = " or ".join(str(status) for status in question.status)
        return f"status {response.status_code}, expected {expected}"
    if question.body is None:
        return None
    text = body.decode(_encoding(response), errors="replace")
    try:
        return None if is_in(question.body, text) else "body does not match"
    except TooLongError:
        return "body takes too long to match: make the pattern simpler"


def _encoding(response: httpx.Response) -> str:
    """Return the encoding that the server names, if it is a usual one.

    Python has many more, some of which are no encodings of text, or slow by intent of the sender.
    """
    try:
        name = codecs.lookup(response.charset_encoding or "").name
    except LookupError:
        return "utf-8"
    return name if name in _ENCODINGS else "utf-8"


def _expiry(certificate: dict[str, Any], min_valid_s: float) -> str | None:
    if not min_valid_s:
        return None
    left_s = ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()
    if left_s >= min_valid_s:
        return None
    return f"certificate expires in {_span(left_s)}, {min_valid_s / _DAY_S:.4g} wanted"


def _span(seconds: float) -> str:
    days = int(seconds // _DAY_S)
    return f"{days} day{'' if days == 1 else 's'}"


@cache
def _tls_context(*, verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()  # Verifies against the system's store.
    context.set_alpn_protocols(["http/1.1"])
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class _Connection(httpcore.AsyncNetworkBackend, httpcore.AsyncNetworkStream):
    """The one connection of one attempt, on a socket that is bound before it connects."""

    def __init__(self, probe: ProbeSettings, binding: Binding, attempt: Attempt) -> None:
        self._probe = probe
        self._binding = binding
        self._attempt = attempt
        self._socket: socket.socket | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._read = 0
        self.certificate: dict[str, Any] = {}
        """The server's, empty where none was verified."""

    async def connect_tcp(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:  # noqa: ANN401
        """Connect to the target; what httpcore says of it comes from the same probe."""
        self._attempt.doing = "connecting"
        self._socket = open_socket(self._probe, self._binding, socket.SOCK_STREAM)
        await connect(self._socket, self._probe)
        self._attempt.doing = "waiting for the response"
        return self

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - httpcore's
    ) -> httpcore.AsyncNetworkStream:
        """Make the TLS handshake."""
        self._attempt.doing = "TLS handshake"
        _, writer = await self._streams(ssl_context, server_hostname)
        self.certificate = writer.get_extra_info("ssl_object").getpeercert() or {}
        self._attempt.doing = "waiting for the response"
        return self

    async def read(
        self,
        max_bytes: int,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - httpcore's
    ) -> bytes:
        """Read some of what there is: small pieces may come faster than they are parsed."""
        reader, _ = await self._streams()
        if self._read:
            await asyncio.sleep(0)
        data = await reader.read(min(max_bytes, _MOST_AT_ONCE))
        self._read += len(data)
        if self._read > _LARGEST_ANSWER:
            raise httpcore.RemoteProtocolError(f"more than {_LARGEST_ANSWER} bytes")
        return data

    async def write(
        self,
        buffer: bytes,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - httpcore's
    ) -> None:
        """Write all of it; a server may answer before it has read everything."""
        _, writer = await self._streams()
        try:
            writer.write(buffer)
            await writer.drain()
        except OSError as error:
            raise httpcore.WriteError(in_words(error)) from None

    async def aclose(self) -> None:
        """Close without a farewell, which nobody waits for."""
        if self._writer is not None:
            self._writer.transport.abort()
        elif self._socket is not None:
            self._socket.close()

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's
        """Return what httpcore wants to know of the connection."""
        return self._writer.get_extra_info(info) if self._writer is not None else None

    async def _streams(
        self, context: ssl.SSLContext | None = None, name: str | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(
                sock=self._socket, ssl=context, server_hostname=name if context else None
            )
        return self._reader, self._writer


class _Transport(httpx.AsyncHTTPTransport):
    """httpx's transport over a connection of ours; it has no public way to be given one."""

    def __init__(self, connection: _Connection, context: ssl.SSLContext | None) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context, max_keepalive_connections=0, network_backend=connection
        )
