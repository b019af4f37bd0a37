"""`done` is not sent, and what is sent in one go is not sent in the order of the commands.

ExaBGP 4.2.25 and 5.0.15 collect changes until a neighbor can be told, by attributes: those that
came first are sent first, with all their routes, whatever came in between. So a route that returns
to attributes that it had a moment ago ends with the ones in between. Both versions then believe
what we believe, and the same announcement again is no UPDATE.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest

from tests.support.bgp_listener import Listener, listening
from tests.support.bgp_messages import Route
from tests.support.conversation import Conversation, conversation, told
from tests.support.exabgp import Installed

pytestmark = pytest.mark.contract

ROUTE = Route(ip_network("10.0.0.1/32"), 0)
WITHDRAW = f"withdraw route {ROUTE.prefix}"
OTHER = "10.0.0.2/32"


def announce(local_pref: int, prefix: object = ROUTE.prefix) -> str:
    return f"announce route {prefix} next-hop 192.0.2.1 local-preference {local_pref}"


def local_pref(peer: Listener) -> int | None:
    """Return the local preference of the route; None when it is not there."""
    path = told(peer).get(ROUTE)
    return path.local_pref if path else None


BURSTS: dict[str, tuple[list[str], list[str], set[int | None]]] = {
    "there and back": ([], [announce(1), announce(2), announce(1)], {2}),
    "withdrawn for a moment": ([], [announce(1), WITHDRAW, announce(1)], {None}),
    "withdrawn for a moment, after a route like it": (
        [announce(1)],
        [announce(1, OTHER), WITHDRAW, announce(1)],
        {None},
    ),
    "announced for a moment, after another withdrawal": (
        [announce(1, OTHER)],
        [f"withdraw route {OTHER}", announce(1), announce(2), WITHDRAW],
        {1, 2},
    ),
}
"""What is there before, what is written at once, and what the neighbor wrongly ends with: a local
preference, or no route at all."""


async def empty(exabgp: Conversation) -> None:
    """Have both routes withdrawn, whatever ExaBGP believes."""
    for line in (announce(9), announce(9, OTHER), WITHDRAW, f"withdraw route {OTHER}"):
        await exabgp.say(line)


async def test_a_route_that_changes_twice_in_one_go_can_end_wrong(
    installed: Installed, tmp_path: Path
) -> None:
    async with listening() as peer, conversation(installed, tmp_path, peer) as exabgp:
        for name, (before, lines, wrong) in BURSTS.items():
            await exabgp.say(*before)
            assert await exabgp.say(*lines) == ["done"] * len(lines), name
            assert local_pref(peer) in wrong, name
            await empty(exabgp)


async def test_remedy_each_change_after_the_one_before_it_has_arrived(
    installed: Installed, tmp_path: Path
) -> None:
    async with listening() as peer, conversation(installed, tmp_path, peer) as exabgp:
        for name, (before, lines, _) in BURSTS.items():
            for line in (*before, *lines):
                assert await exabgp.say(line) == ["done"], name
            assert local_pref(peer) == (None if lines[-1] == WITHDRAW else 1), name
            await empty(exabgp)


async def test_what_mends_a_wrong_announcement(installed: Installed, tmp_path: Path) -> None:
    """Not the same announcement; another one before it, or having everything sent again."""
    wrong = [announce(1), announce(2), announce(1)]
    async with listening() as peer, conversation(installed, tmp_path, peer) as exabgp:
        for mend, mended in (
            ([announce(1)], False),
            (["flush adj-rib out"], True),
            ([announce(3), announce(1)], True),
        ):
            await exabgp.say(*wrong)
            assert local_pref(peer) == 2
            assert await exabgp.say(*mend) == ["done"] * len(mend)
            assert local_pref(peer) == (1 if mended else 2), mend
            await empty(exabgp)


async def test_a_route_that_changes_while_the_table_is_sent_again(
    installed: Installed, tmp_path: Path
) -> None:
    """4.2.25 sends it as it was, too, and that last where others have its new attributes."""
    async with listening() as peer, conversation(installed, tmp_path, peer) as exabgp:
        for line in (announce(2, OTHER), announce(1)):
            await exabgp.say(line)
        assert await exabgp.say("flush adj-rib out", announce(2)) == ["done", "done"]
        assert local_pref(peer) == (1 if installed.is_4 else 2)


async def test_what_mends_a_stale_announcement(installed: Installed, tmp_path: Path) -> None:
    """A withdrawal is sent whenever it is said."""
    before, lines, _ = BURSTS["announced for a moment, after another withdrawal"]
    async with listening() as peer, conversation(installed, tmp_path, peer) as exabgp:
        await exabgp.say(*before)
        await exabgp.say(*lines)
        assert local_pref(peer) is not None
        assert await exabgp.say(WITHDRAW) == ["done"]
        assert local_pref(peer) is None


async def test_what_is_said_while_exabgp_is_busy_is_one_go(
    installed: Installed, tmp_path: Path
) -> None:
    """However slowly: each command is answered before the next one is written.

    Nobody sees from outside for how long ExaBGP is busy, so it gets more to do until it shows.
    """
    async with listening() as peer, conversation(installed, tmp_path, peer) as exabgp:
        for attempt in range(5):
            for part in range(2 << attempt):
                nets = (f"2001:db8:{attempt:x}{part:02x}:{n:x}::/64" for n in range(1000))
                exabgp.write(f"announce attributes next-hop 2001:db8::1 nlri {' '.join(nets)}")
                assert await exabgp.line() == "done"
            for line in (announce(1), announce(2), announce(1)):
                exabgp.write(line)
                assert await exabgp.line() == "done"
            await exabgp.say()
            if local_pref(peer) == 2:
                break
            await empty(exabgp)
        assert local_pref(peer) == 2
        assert (peer.sessions, peer.faults) == (1, [])


@asynccontextmanager
async def coming_up(
    installed: Installed, tmp_path: Path, peer: Listener
) -> AsyncIterator[Conversation]:
    """Run ExaBGP with a neighbor that it has lost, and that has not yet answered again."""
    async with conversation(installed, tmp_path, peer, events="neighbor-changes;") as exabgp:
        peer.speaks.clear()
        peer.reset()
        assert (await exabgp.line()).startswith("neighbor 127.0.0.1 down")
        assert await exabgp.line() == "neighbor 127.0.0.1 connected"
        yield exabgp


async def test_what_is_said_while_a_session_comes_up_is_one_go(
    installed: Installed, tmp_path: Path
) -> None:
    async with listening() as peer, coming_up(installed, tmp_path, peer) as exabgp:
        for line in (announce(1), announce(2), announce(1)):
            exabgp.write(line)
            assert await exabgp.line() == "done"
        peer.speaks.set()
        await exabgp.back()
        assert local_pref(peer) == 2


async def test_5_announces_what_came_and_went_while_a_session_came_up(
    installed: Installed, tmp_path: Path
) -> None:
    """5.0.15 leaves a stale route, until it is withdrawn again; 4.2.25 does not."""
    async with listening() as peer, coming_up(installed, tmp_path, peer) as exabgp:
        for line in (announce(1), WITHDRAW):
            exabgp.write(line)
            assert await exabgp.line() == "done"
        peer.speaks.set()
        await exabgp.back()
        assert local_pref(peer) == (None if installed.is_4 else 1)
        assert await exabgp.say(WITHDRAW) == ["done"]
        assert local_pref(peer) is None
