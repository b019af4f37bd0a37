"""What ExaBGP answers, in which order, and how far it can be believed.

Both versions, 4.2.25 and 5.0.15, unless the test says which one does what.
"""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from pathlib import Path
from tempfile import mkdtemp

import pytest

from bgphealth.core.intents import Community
from bgphealth.exabgp.commands import PING
from tests.support.bgp_listener import Listener, listening
from tests.support.conversation import conversation, told, until
from tests.support.exabgp import Installed

pytestmark = pytest.mark.contract

HOP = "next-hop 192.0.2.1"


def route(n: int) -> str:
    return f"announce route 10.0.0.{n}/32 {HOP}"


def prefixes(peer: Listener) -> set[str]:
    return {str(route.prefix) for route in told(peer)}


REFUSED = (
    f"announce route 10.0.0.0/33 {HOP}",
    "withdraw route 10.0.0.0/33",
    f"announce attributes {HOP} nlri 10.0.0.0/33",
    f"withdraw attributes {HOP} nlri 10.0.0.0/33",
    f"announce route 10.0.0.1/24 {HOP}",
    "announce route 10.0.0.0/32",
    "announce route 10.0.0.0/32 next-hop somewhere",
    f"announce route 10.0.0.0/32 {HOP} nonsense 1",
    f"neighbor 127.0.0.77 announce route 10.0.0.0/32 {HOP}",
    f"neighbor 127.0.0.77 announce attributes {HOP} nlri 10.0.0.0/32",
    "neighbor 127.0.0.77 withdraw route 10.0.0.0/32",
    "announce route",
)
"""Of the numbers that do not fit, only the length of a prefix is one that both versions refuse."""

SYNCHRONOUS = ("nonsense", "")
"""Refused as well, but before commands that came earlier."""


async def test_what_is_refused_is_an_error_and_changes_nothing(
    installed: Installed, tmp_path: Path
) -> None:
    async with listening() as peer, conversation(installed, tmp_path, peer) as exabgp:
        await exabgp.say(route(0))
        for line in (*REFUSED, *SYNCHRONOUS):
            assert await exabgp.say(line) == ["error"], line
        assert prefixes(peer) == {"10.0.0.0/32"}
        assert (peer.sessions, peer.faults) == (1, [])


async def test_a_refused_batch_announces_none_of_its_routes(
    installed: Installed, tmp_path: Path
) -> None:
    async with listening() as peer, conversation(installed, tmp_path, peer) as exabgp:
        batch = f"announce attributes {HOP} nlri 10.0.0.1/32 10.0.0.2/33 10.0.0.3/32"
        assert await exabgp.say(batch) == ["error"]
        assert prefixes(peer) == set()


async def test_replies_come_in_the_order_of_the_commands(
    installed: Installed, tmp_path: Path
) -> None:
    lines = [route(n) for n in range(60)]
    for n, line in enumerate(REFUSED):
        lines[n * n % 60] = line
    async with listening() as peer, conversation(installed, tmp_path, peer) as exabgp:
        replies = await exabgp.say(*lines)
        assert replies == ["error" if line in REFUSED else "done" for line in lines]


async def test_version_and_unknown_words_overtake(installed: Installed, tmp_path: Path) -> None:
    """`PING` says that ExaBGP lives, not that it is done with what was sent before."""
    answers = {PING: [f"exabgp {installed.version}", "done"]}
    async with listening() as peer, conversation(installed, tmp_path, peer) as exabgp:
        for turn, line in enumerate((PING, *SYNCHRONOUS)):
            routes = [route(40 * turn + n) for n in range(40)]
            # In one piece, so that ExaBGP reads it as one.
            exabgp.write(*routes, line)
            for answer in answers.get(line, ["error"]):
                assert await exabgp.line() == answer, line
            assert [await exabgp.line() for _ in routes] == ["done"] * len(routes), line
        await until(lambda: len(told(peer)) == 3 * 40, exabgp.running)


NOT_ANSWERED_BY_4 = (
    f"announce route 10.0.0.1/32 {HOP} community [70000:1]",
    f"announce attributes {HOP} community [70000:1] nlri 10.0.0.1/32 10.0.0.2/32",
    f"announce route 10.0.0.1/32 {HOP} local-preference 4294967296",
    f"announce attributes {HOP} local-preference 4294967296 nlri 10.0.0.1/32 10.0.0.2/32",
    "announce route 2001:db8::/64 next-hop self",
    "announce attributes next-hop self nlri 2001:db8::/64 2001:db8:1::/64",
)
"""Numbers that do not fit; our own IPv6 address, on a session over IPv4."""


async def test_4_does_not_answer_at_all_what_5_refuses(
    installed: Installed, tmp_path: Path
) -> None:
    """Nothing is announced, and what was said before and after it is answered in order."""
    lost = [] if installed.is_4 else ["error"]
    async with listening() as peer, conversation(installed, tmp_path, peer) as exabgp:
        for n, line in enumerate(NOT_ANSWERED_BY_4, 10):
            replies = await exabgp.say(route(n), line, route(n + 10), REFUSED[0], route(n + 20))
            assert replies == ["done", *lost, "done", "error", "done"], line
            said = {f"10.0.0.{m + tens}/32" for m in range(10, n + 1) for tens in (0, 10, 20)}
            assert prefixes(peer) == said, line
        assert (peer.sessions, peer.faults) == (1, [])


async def test_the_second_half_of_a_community_overflows_into_the_first(
    installed: Installed, tmp_path: Path
) -> None:
    """And is `done`: that numbers fit is for us to see to."""
    async with listening() as peer, conversation(installed, tmp_path, peer) as exabgp:
        assert await exabgp.say(f"{route(1)} community [1:70000]") == ["done"]
        (path,) = told(peer).values()
        assert path.communities == {Community(1 + 1, 70000 - 65536)}


async def test_without_acks_announcements_are_not_answered(
    installed: Installed, tmp_path: Path
) -> None:
    """`version` is, but its `done` is missing; that is how to find out."""
    settings = {"exabgp.api.ack": "false"}
    async with (
        listening() as peer,
        conversation(installed, tmp_path, peer, settings=settings) as exabgp,
    ):
        lines = (route(1), REFUSED[0], "nonsense", route(2))
        assert await exabgp.say(*lines) == []
        assert await exabgp.say() == []
        assert prefixes(peer) == {"10.0.0.1/32", "10.0.0.2/32"}


async def test_e3_done_comes_for_the_withdrawal_of_what_was_never_announced(
    installed: Installed, tmp_path: Path
) -> None:
    """And the neighbors are told, which does no harm."""
    async with listening() as peer, conversation(installed, tmp_path, peer) as exabgp:
        for line in (
            "withdraw route 10.0.0.1/32",
            "withdraw attributes next-hop 0.0.0.0 nlri 10.0.0.2/32",
        ):
            before = peer.updates
            assert await exabgp.say(line) == ["done"]
            assert peer.updates == before + 2  # One is the mark.


MALFORMED = (
    "announce route 10.0.0.1/32 next-hop 2001:db8::1",
    "announce route 2001:db8::/64 next-hop 192.0.2.1",
    "announce attributes next-hop 2001:db8::1 nlri 10.0.0.1/32",
    # A batch of both families: the next hop is of the wrong one for half of it.
    f"announce attributes {HOP} nlri 10.0.0.1/32 2001:db8::/64",
)
"""Routes with a next hop of the other family."""


async def test_e3_done_comes_for_a_next_hop_of_the_other_family(
    installed: Installed, tmp_path: Path
) -> None:
    """What is then sent is malformed, and sent again in each new session."""

    async def announced(line: str, directory: Path) -> None:
        async with listening() as peer, conversation(installed, directory, peer) as exabgp:
            exabgp.write(line)
            assert await exabgp.line() == "done"
            await until(lambda: peer.sessions >= 2 and len(peer.faults) >= 2, exabgp.running)
            octets = {fault.partition(" octets")[0] for fault in peer.faults}
            assert octets <= {f"a next hop of {n}" for n in (0, 4, 16)}, (line, peer.faults)

    for first in range(0, len(MALFORMED), 2):  # Two at a time.
        two = MALFORMED[first : first + 2]
        directories = [Path(mkdtemp(dir=tmp_path)) for _ in two]
        await asyncio.gather(*map(announced, two, directories))


async def test_withdrawing_a_batch_without_a_next_hop(installed: Installed, tmp_path: Path) -> None:
    """4.2.25 says `done` and then ends the session; with any next hop of the family it does not."""
    async with listening() as peer, conversation(installed, tmp_path, peer) as exabgp:
        await exabgp.say(*(route(n) for n in range(4)))
        assert await exabgp.say("withdraw attributes nlri 10.0.0.0/32 10.0.0.1/32") == ["done"]
        await exabgp.back()
        assert peer.sessions == (2 if installed.is_4 else 1)
        assert prefixes(peer) == {"10.0.0.2/32", "10.0.0.3/32"}
        sessions = peer.sessions
        given = "withdraw attributes next-hop 0.0.0.0 nlri 10.0.0.2/32 10.0.0.3/32"
        assert await exabgp.say(given) == ["done"]
        assert (prefixes(peer), peer.sessions, peer.faults) == (set(), sessions, [])


async def test_the_same_announcement_again_is_no_update(
    installed: Installed, tmp_path: Path
) -> None:
    lines = [
        "announce route 10.0.0.1/32 next-hop self",
        f"announce attributes {HOP} community [65101:1] nlri 10.0.0.2/32 10.0.0.3/32",
        "announce route 0.0.0.0/0 next-hop 192.0.2.1 path-information 0.0.0.1",
    ]
    async with listening() as peer, conversation(installed, tmp_path, peer) as exabgp:
        await exabgp.say(*lines)
        before = peer.updates
        assert await exabgp.say(*lines) == ["done"] * len(lines)
        assert peer.updates == before + 1  # The mark.


async def test_a_neighbor_that_comes_back_is_told_the_newest_state(
    installed: Installed, tmp_path: Path
) -> None:
    """What was withdrawn meanwhile is not announced to it, and nothing must be said again."""
    async with listening() as peer, conversation(installed, tmp_path, peer) as exabgp:
        await exabgp.say(route(1), route(2))
        await peer.stop()
        exabgp.write("withdraw route 10.0.0.1/32", route(3))
        assert [await exabgp.line() for _ in range(2)] == ["done"] * 2
        await peer.start()
        await exabgp.back()
        assert peer.sessions >= 2
        assert prefixes(peer) == {"10.0.0.2/32", "10.0.0.3/32"}


async def test_a_selector_reaches_one_neighbor(installed: Installed, tmp_path: Path) -> None:
    """Without one all are told; an external one is told no local preference."""
    async with (
        listening() as one,
        listening(4_200_000_001, "127.0.0.5") as other,
        conversation(installed, tmp_path, one, other) as exabgp,
    ):
        attributes = "next-hop self local-preference 7"
        lines = [
            f"announce route 10.0.0.1/32 {attributes}",
            f"neighbor 127.0.0.1 announce route 10.0.0.2/32 {attributes}",
            f"neighbor 127.0.0.5 announce attributes {attributes} nlri 10.0.0.3/32 10.0.0.4/32",
            "neighbor 127.0.0.5 withdraw attributes next-hop self nlri 10.0.0.4/32",
        ]
        assert await exabgp.say(*lines) == ["done"] * len(lines)
        assert prefixes(one) == {"10.0.0.1/32", "10.0.0.2/32"}
        assert prefixes(other) == {"10.0.0.1/32", "10.0.0.3/32"}
        assert {path.local_pref for path in told(one).values()} == {7}
        assert {path.local_pref for path in told(other).values()} == {None}
        hops = {path.next_hop for path in (*told(one).values(), *told(other).values())}
        assert hops == {ip_address("127.0.0.1")}
