"""DNS (RFC 1035): one query over UDP or TCP, from a socket of ours.

The socket is connected, so that the kernel hands over nothing but what the server sent; of that,
only what answers our question counts.
"""

from __future__ import annotations

import asyncio
import socket

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdata
import dns.rdatatype

from bgphealth.core.events import Verdict
from bgphealth.core.settings import DnsQuestion, ProbeSettings
from bgphealth.probes.attempt import Attempt, BoundProber, CannotAskError
from bgphealth.probes.connection import cannot_ask, connect, in_words, open_socket
from bgphealth.probes.outcome import Outcome

_LARGEST_MESSAGE = 65535
_IN = "IN"


class DnsProber(BoundProber):
    """Sends one request or query, and looks at the answer. See `BoundProber`."""

    async def _attempt(self, probe: ProbeSettings, attempt: Attempt) -> Outcome:
        question = probe.question
        if not isinstance(question, DnsQuestion):
            raise TypeError(f"{probe} is not a DNS probe")
        query = dns.message.make_query(question.name, question.rdtype)
        over_tcp = question.transport == "tcp"
        kind = socket.SOCK_STREAM if over_tcp else socket.SOCK_DGRAM
        loop = asyncio.get_running_loop()
        with open_socket(probe, self._binding, kind) as sock:
            began_at = loop.time()
            try:
                if over_tcp:
                    attempt.doing = "connecting"
                    await connect(sock, probe)
                    attempt.doing = "connected, no response"
                    response = await _over_tcp(sock, query)
                else:
                    response = await _over_udp(sock, query)
            except OSError as error:
                return Outcome(Verdict.FAILED, in_words(error))
            rtt_s = loop.time() - began_at
        flaw = _flaw(response, question)
        return Outcome(Verdict.FAILED, flaw) if flaw else Outcome(Verdict.OK, rtt_s=rtt_s)


async def _over_udp(sock: socket.socket, query: dns.message.Message) -> dns.message.Message:
    try:
        sock.send(query.to_wire())
    except OSError as error:
        if cannot_ask(error):
            raise CannotAskError(f"cannot send: {in_words(error)}") from None
        raise
    loop = asyncio.get_running_loop()
    while True:
        response = _parsed(await loop.sock_recv(sock, _LARGEST_MESSAGE), query)
        if response is not None:
            return response
        await _others_turn()


async def _over_tcp(sock: socket.socket, query: dns.message.Message) -> dns.message.Message:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, query.to_wire(prepend_length=True))
    while True:
        length = int.from_bytes(await _exactly(sock, 2), "big")
        response = _parsed(await _exactly(sock, length), query)
        if response is not None:
            return response
        await _others_turn()


async def _others_turn() -> None:
    """Let everything else go on: what there is to read is read without it, and may never end."""
    await asyncio.sleep(0)


async def _exactly(sock: socket.socket, count: int) -> bytes:
    loop = asyncio.get_running_loop()
    data = bytearray()
    while len(data) < count:
        part = await loop.sock_recv(sock, count - len(data))
        if not part:
            raise OSError("the server closed the connection without an answer")
        data += part
    return bytes(data)


def _parsed(wire: bytes, query: dns.message.Message) -> dns.message.Message | None:
    """Return the answer to a query, or None for anything else."""
    try:
        response = dns.message.from_wire(wire, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        return None
    return response if query.is_response(response) else None


def _flaw(response: dns.message.Message, question: DnsQuestion) -> str | None:
    """Return what is wrong with an answer."""
    rcode = dns.rcode.to_text(response.rcode())
    if rcode != question.rcode:
        return f"{rcode}, expected {question.rcode}"
    if not question.answers:
        return None
    if response.flags & dns.flags.TC:
        return "the answer is truncated; ask with transport: tcp"
    rdtype = dns.rdatatype.from_text(question.rdtype)
    seen = [rdata for rrset in response.answer if rrset.rdtype == rdtype for rdata in rrset]
    expected = [dns.rdata.from_text(_IN, rdtype, text) for text in question.answers]
    missing = [rdata for rdata in expected if rdata not in seen]
    if not missing:
        return None
    wanted = ", ".join(rdata.to_text() for rdata in missing)
    if not seen:
        return f"no {question.rdtype} record in the answer, expected {wanted}"
    # In a fixed order: name servers rotate their answers.
    return f"answer {', '.join(sorted(rdata.to_text() for rdata in seen))}, expected {wanted}"
