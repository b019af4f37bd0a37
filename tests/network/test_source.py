"""What `bgphealth source` says, beside what a real socket gets: connect, getsockname, a packet."""

from __future__ import annotations

import ctypes
import os
import random
import socket
import subprocess
import sys
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import NamedTuple

import pytest

from bgphealth.core.lookup import Kind, Looked, Question, Taken
from bgphealth.core.lookup_words import explain
from bgphealth.fallback.lookup import look_up
from tests.support.netns import ip, isolated
from tests.support.waiting import until
from tests.support.wilderness import Wilderness

pytestmark = pytest.mark.network

QUESTIONS = int(os.environ.get("BGPHEALTH_LOOKUPS", "200"))
PER_HOST = 4
ROOT = str(Path(__file__).parents[2])
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


def source(*arguments: str) -> tuple[int, str]:
    """Run the command without a file, and without any capability."""
    powerless = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"]
    done = subprocess.run(
        [*powerless, sys.executable, "-m", "bgphealth", "source", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
        env={"PYTHONPATH": ROOT, "PATH": os.environ["PATH"]},
    )
    return done.returncode, done.stdout + done.stderr


@isolated
async def test_the_command_on_a_host_as_people_have_them() -> None:
    for number in (1, 2):
        ip("link", "add", f"eth{number}", "type", "veth", "peer", "name", f"far{number}")
        ip("link", "set", f"eth{number}", "up")
        ip("link", "set", f"far{number}", "up")
        ip("addr", "add", f"10.0.{number}.1/24", "dev", f"eth{number}")
    ip("addr", "add", "10.0.1.2/24", "dev", "eth1")
    ip("route", "add", "default", "via", "10.0.1.9", "proto", "dhcp", "metric", "100")
    ip("route", "add", "default", "via", "10.0.2.9", "table", "100")
    ip("rule", "add", "from", "10.0.1.1", "lookup", "100", "priority", "50")
    ip("rule", "add", "ipproto", "tcp", "dport", "443", "priority", "40", "prohibit")
    # What connects is moved by the rule, what does not is not.
    assert source("198.51.100.1") == (1, FIRST)
    # The other way round: the rule is that of the address, not of the destination.
    status, said = source("198.51.100.1", "--from", "10.0.1.2")
    assert (status, said.splitlines()[0]) == (0, "from 10.0.1.2, via 10.0.1.9 on eth1")
    ip("link", "set", "far1", "down")
    await until(lambda: "linkdown" in ip("route", "show", "default"))
    assert "warning  eth1 has no carrier" in source("198.51.100.1", "--from", "10.0.1.2")[1]
    ip("route", "replace", "prohibit", "default", "metric", "1")
    assert source("198.51.100.1", "--mark", "7") == (1, REFUSED)
    status, said = source("198.51.100.1", "--oif", "eth9")
    assert status == 2
    assert "eth9 does not exist on this host; interfaces: eth1, eth2, far1, far2, lo" in said


FIRST = """\
from 10.0.1.1, via 10.0.2.9 on eth2
  rule     50: from 10.0.1.1 lookup 100
  table    100
  route    default via 10.0.2.9 dev eth2
  source   the primary address of eth1 in the subnet of 10.0.1.9, when the way without a source \
was via 10.0.1.9 dev eth1
  not      10.0.1.2 on eth1: secondary: taken only where a route or a program names it
           10.0.2.1 on eth2: the route leaves on eth1
  note     a part of such traffic goes by another rule: 40: from all ipproto 6 dport 443 prohibit
  warning  what is sent without connect() goes via 10.0.1.9 dev eth1: its way is looked up before \
it has the source 10.0.1.1
"""
REFUSED = """\
no way to 198.51.100.1: its route is prohibit, 0.0.0.0/0 in table main (programs see EACCES, \
Permission denied)
  rule     32766: from all lookup main
  table    main
  route    prohibit default metric 1
  note     a part of such traffic goes by another rule: 40: from all ipproto 6 dport 443 prohibit
  warning  nothing can be sent to 198.51.100.1
"""


@isolated
async def test_what_is_bound_to_a_device_has_its_next_hop_of_several() -> None:
    for number in (1, 2):
        ip("link", "add", f"eth{number}", "type", "veth", "peer", "name", f"far{number}")
        ip("link", "set", f"eth{number}", "up")
        ip("link", "set", f"far{number}", "up")
    ip("addr", "add", "2001:db8:10::1/128", "dev", "lo")
    hops = [f"nexthop via fe80::9 dev eth{number}".split() for number in (1, 2)]
    ip("-6", "route", "add", "default", *hops[0], *hops[1])
    bound = IPv6Address("2001:db8:10::1")
    for number in range(16):
        looked = await look_up(Question(IPv6Address(f"2001:db8:100::{number:x}"), bound, "eth1"))
        assert {choice.leg.interface for choice in looked.choices} == {"eth1"}
