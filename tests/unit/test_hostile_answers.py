"""What a server, a name server and a flood of packets can do to the program that asks: little."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import threading
import time
from ipaddress import ip_address

import dns.message
import pytest

from bgphealth.core.events import Verdict
from bgphealth.core.settings import DnsQuestion, Family, HttpQuestion, ProbeKind, ProbeSettings
from bgphealth.core.text import LONGEST, printable
from bgphealth.frr.state import Session
from bgphealth.probes import icmp
from bgphealth.probes.binding import Binding
from bgphealth.probes.dns import DnsProber
from bgphealth.probes.http import LARGEST_BODY, HttpProber
from bgphealth.probes.icmp import IcmpProber
from bgphealth.probes.matching import MOST_S, TooLongError, is_in
from bgphealth.probes.outcome import Outcome, Prober
from bgphealth.probes.session import SessionProber, SharedReading

HERE = ip_address("127.0.0.1")
HERE_ONLY = Binding(None, lambda: HERE)
ESCAPES = "\x1b[2J\x9b1m\r\nroute 0.0.0.0/0\u202e"
MANY = 200


async def ask(prober: Prober, probe: ProbeSettings, timeout_s: float = 5.0) -> Outcome:
    answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    prober.ask(probe, timeout_s, answer.set_result)
    async with asyncio.timeout(30):
        return await answer


async def http(
    answer: bytes, body: str | None = None, *, again: bytes = b"", timeout_s: float = 5.0
) -> Outcome:
    """Return what becomes of a server's answer, which ends with something `again` and again."""

    def serve() -> None:
        connection, _ = listening.accept()
        with connection, contextlib.suppress(OSError):
            connection.settimeout(timeout_s)
            connection.recv(65536)
            connection.sendall(answer)
            while again:
                connection.sendall(again * (4096 // len(again)))

    question = HttpQuestion(
        tls=False, path="/", host=None, status=(200,), body=body, verify=True, min_valid_s=0.0
    )
    with socket.create_server((str(HERE), 0)) as listening:
        serving = threading.Thread(target=serve)
        serving.start()
        probe = ProbeSettings(ProbeKind.HTTP, HERE, listening.getsockname()[1], question)
        outcome = await ask(HttpProber(HERE_ONLY), probe, timeout_s)
        serving.join()
    return outcome


def answered(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


@pytest.mark.parametrize("name", ["zlib", "bz2", "hex", "rot13", "idna", "punycode", "undefined"])
async def test_a_server_that_names_an_encoding_that_is_none_is_no_riddle(name: str) -> None:
    """It must neither raise, which would be `unknown` and keep the verdict, nor take long."""
    answer = answered(b"sad", f"Content-Type: text/plain; charset={name}")
    assert await http(answer, "happy") == Outcome(Verdict.FAILED, "body does not match")
    assert (await http(answer, "sad")).verdict is Verdict.OK


async def test_a_body_that_takes_hours_to_match_fails_at_once() -> None:
    began_at = time.process_time()
    outcome = await http(answered(b"a" * LARGEST_BODY), "a.*b.*c.*d")
    assert outcome.verdict is Verdict.FAILED
    assert outcome.detail.startswith("body takes too long")
    assert time.process_time() - began_at < 100 * MOST_S


def test_a_search_that_was_given_up_leaves_nothing_behind() -> None:
    with pytest.raises(TooLongError):
        is_in("a.*b.*c.*d", "a" * LARGEST_BODY)
    until = time.process_time() + 2 * MOST_S
    while time.process_time() < until:  # Were there still a timer, it would end this process.
        assert is_in("b$", "ab")
    assert not is_in("c", "ab")


async def test_what_is_compressed_stays_so() -> None:
    bomb = gzip.compress(b"x" * 2**24)
    answer = answered(bomb, "Content-Encoding: gzip")
    assert await http(answer, "xxx") == Outcome(Verdict.FAILED, "body does not match")


@pytest.mark.parametrize(
    ("answer", "again", "what"),
    [
        ("HTTP/1.1 200 OK\r\nX: ", "x", "not HTTP"),
        ("HTTP/1.1 200 OK\r\n", "X: y\r\n", "not HTTP"),
        ("", "HTTP/1.1 100 Continue\r\n\r\n", "not HTTP: more than"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "0", "not HTTP"),
    ],
    ids=["header", "headers", "informational", "chunk"],
)
async def test_an_answer_without_end_ends(answer: str, again: str, what: str) -> None:
    outcome = await http(answer.encode(), again=again.encode())
    assert (outcome.verdict, outcome.detail[: len(what)]) == (Verdict.FAILED, what)


async def test_an_answer_is_shown_without_what_moves_a_cursor() -> None:
    outcome = await http(f"HTTP/1.1 {ESCAPES}\r\n\r\n".encode())
    assert outcome.verdict is Verdict.FAILED
    assert outcome.detail.isprintable()


async def test_what_a_tor_says_of_its_session_is_shown_without_what_moves_a_cursor() -> None:
    reason = f"Administrative Shutdown ({ESCAPES}{'x' * LONGEST})"
    down = Session(HERE, None, "Idle", is_up=False, is_shut=False, for_s=None, reason=reason)

    async def read() -> tuple[Session, ...]:
        return (down,)

    prober = SessionProber(ProbeKind.BGP, SharedReading(read), "eth1")
    said = (await ask(prober, ProbeSettings(ProbeKind.BGP, HERE))).detail
    assert said.isprintable()
    assert len(said) < 2 * LONGEST


@pytest.mark.parametrize("text", ["", "plain, grün", ESCAPES, "\ud800", "x" * 1000])
def test_printable(text: str) -> None:
    assert printable(text).isprintable()
    assert len(printable(text)) == min(len(text), LONGEST)


async def test_a_flood_of_what_is_no_answer_lets_everything_else_go_on() -> None:
    loop = asyncio.get_running_loop()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((str(HERE), 0))
        server.setblocking(False)  # noqa: FBT003 - its own name
        question = DnsQuestion("plain.example", "A", "udp", "NOERROR", ())
        probe = ProbeSettings(ProbeKind.DNS, HERE, server.getsockname()[1], question)
        asking = asyncio.create_task(ask(DnsProber(HERE_ONLY), probe))
        wire, client = await loop.sock_recvfrom(server, 512)
        # All of it lies there before the prober has its next turn.
        for _ in range(MANY):
            server.sendto(b"no answer", client)
        server.sendto(dns.message.make_response(dns.message.from_wire(wire)).to_wire(), client)
        counting = asyncio.create_task(count())
        outcome = await asking
        counting.cancel()
    assert outcome.verdict is Verdict.OK
    assert turns >= MANY


async def test_a_flood_of_echo_replies_gets_no_more_than_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As if packets came as fast as they are read, which no test can send for certain."""
    reads = 0

    class Flooded:
        def recvmsg(self, *_: int) -> tuple[bytes, list[object], int, tuple[str, int]]:
            nonlocal reads
            reads += 1
            assert reads <= MANY
            return b"no reply to anything", [], 0, (str(HERE), 0)

        def fileno(self) -> int:
            return -1

    class Socket:
        sock = Flooded()
        is_privileged = False

    monkeypatch.setattr(icmp, "_MOST_AT_ONCE", MANY)
    prober = IcmpProber(Family.IPV4, HERE_ONLY)
    monkeypatch.setattr(prober, "_socket", Socket())
    monkeypatch.setattr(prober, "_pending", {1: None})
    prober._readable()  # noqa: SLF001 - what the loop calls
    assert reads == MANY
