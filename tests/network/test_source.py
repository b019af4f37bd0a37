"""What `bgphealth source` says, beside what a real socket gets: connect, getsockname, a packet."""

from __future__ import annotations

import ctypes
import errno
import os
import random
import socket
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import NamedTuple

import pytest

from bgphealth.core.lookup import Kind, Looked, Question, Taken
from bgphealth.core.lookup_words import explain
from bgphealth.fallback.lookup import look_up
from tests.support.netns import ip, isolated
from tests.support.wilderness import Wilderness

pytestmark = pytest.mark.network

QUESTIONS = int(os.environ.get("BGPHEALTH_LOOKUPS", "200"))
PER_HOST = 10
_NAMESPACE = Path("/proc/self/ns/net")
_ETH_P_ALL = 3
_CLONE_NEWNET = 0x40000000
_ANY = {4: IPv4Address(0), 6: IPv6Address(0)}  # A host without an address to send from.


class Got(NamedTuple):
    """What a socket got: its source and where the packet left, or an errno."""

    source: str = ""
    interface: str = ""
    error: int = 0


def real(question: Question) -> Got:
    """Connect a datagram socket as the question says, and send one."""
    version = socket.AF_INET if question.destination.version == 4 else socket.AF_INET6
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL)) as seen,
        socket.socket(version, socket.SOCK_DGRAM) as asked,
    ):
        asked.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        asked.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, question.mark)
        try:
            if question.interface is not None:
                name = question.interface.encode()
                asked.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)
            if question.source is not None:
                asked.bind((str(question.source), 0))
            asked.connect((str(question.destination), 9))
            source = asked.getsockname()[0]
            asked.send(b"which way?")
        except OSError as error:
            return Got(error=error.errno or 0)
        seen.settimeout(2)
        while True:
            data, address = seen.recvfrom(2048)
            if data.endswith(b"which way?") and address[2] == socket.PACKET_OUTGOING:
                return Got(source, address[0])


def fresh_namespace() -> None:
    before = _NAMESPACE.readlink()
    assert ctypes.CDLL(None).unshare(_CLONE_NEWNET) == 0
    assert _NAMESPACE.readlink() != before
    ip("link", "set", "lo", "up")


def disagreement(looked: Looked, got: Got) -> str | None:
    """Return in words how an answer differs from what a socket got."""
    reply = looked.reply
    if got.error == errno.EADDRNOTAVAIL:
        return "the source is here" if looked.source_is_here else None
    if got.error:
        refused = None if isinstance(reply, Taken) else reply.errno
        return None if refused == got.error else f"errno {refused}"
    if not isinstance(reply, Taken):
        return f"errno {reply.errno}"
    is_local = reply.matched is not None and reply.matched.kind is Kind.LOCAL
    said = {
        (
            str(c.source or _ANY[looked.question.destination.version]),
            "lo" if is_local else c.leg.interface,
        )
        for c in looked.choices
    }
    return None if (got.source, got.interface) in said else f"{said}"


def is_explained(looked: Looked) -> bool:
    """Return whether it is told why, and by which rule; where there is no route there is none."""
    explained = explain(looked)
    known = explained.why is not None and "not explained" not in explained.why
    return known and (explained.table is None or len(explained.rules) == 1)


@isolated
async def test_it_says_what_a_socket_gets() -> None:
    wrong, unexplained = [], []
    for seed in range(-(-QUESTIONS // PER_HOST)):
        fresh_namespace()
        wilderness = Wilderness(random.Random(seed))  # noqa: S311 - to be repeated
        wilderness.make()
        for number in range(PER_HOST):
            question = wilderness.question()
            looked, got = await look_up(question), real(question)
            if (difference := disagreement(looked, got)) is not None:
                wrong.append(f"seed {seed}/{number}: {question}: {got}, and not {difference}")
            if not got.error and not is_explained(looked):
                unexplained.append(f"seed {seed}/{number}: {question}: {got}: {explain(looked)}")
    assert not wrong, f"{len(wrong)}\n" + "\n".join(wrong)
    assert not unexplained, f"{len(unexplained)}\n" + "\n".join(unexplained)
