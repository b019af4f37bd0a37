"""What changes twice in one go ends right, by the driver's own means: bgpd is not asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from bgphealth.core.intents import Announcement, Intents, RouteKey
from bgphealth.exabgp.driver import Driver, DriverEvent, RepliesLost
from tests.support.bgp_listener import Listener, listening
from tests.support.conversation import Conversation, as_table, conversation, told, until
from tests.support.exabgp import Installed

pytestmark = pytest.mark.contract

KEY, OTHER = (RouteKey(ip_network((0x0A000000 + n, 32))) for n in (1, 2))


def table(local_pref: int, of: RouteKey = KEY) -> dict[RouteKey, Announcement]:
    """Return the table with one route."""
    return {of: Announcement(of, ip_address("192.0.2.1"), local_pref)}


BURSTS: dict[str, tuple[Intents, Sequence[Intents]]] = {
    "there and back": ({}, [table(1), table(2), table(1)]),
    "withdrawn for a moment": ({}, [table(1), {}, table(1)]),
    "withdrawn for a moment, after a route like it": (
        table(1) | table(1, of=OTHER),
        [table(1, of=OTHER), table(1) | table(1, of=OTHER)],
    ),
    "announced for a moment, after another withdrawal": (
        table(1, of=OTHER),
        [table(1), table(2), {}],
    ),
}
"""What is wanted before, and one after the other in one go."""


class Driven:
    """A driver, with a real ExaBGP, whose writes can be held back."""

    def __init__(self, exabgp: Conversation) -> None:
        self._exabgp = exabgp
        self._held: list[str] = []
        self._passes = True
        self.events: list[DriverEvent] = []
        self.driver = Driver(self._write, frozenset(), self.events.append)

    async def in_one_go(self, wanted: Sequence[Intents]) -> None:
        """Have all of this sent, each after the other, and written at once."""
        self._passes = False
        for intents in wanted:
            count = len(self._held)
            self.driver.want(intents)
            async with asyncio.timeout(10):
                while len(self._held) == count:
                    await asyncio.sleep(0)
        self._passes = True
        held, self._held = self._held, []
        self._exabgp.write(*held)

    async def hear(self) -> None:
        """Give the driver every line of ExaBGP."""
        for line in self._exabgp.greeting:
            self.driver.received(line)
        while line := await self._exabgp.line():
            self.driver.received(line)

    async def _write(self, data: bytes) -> None:
        lines = data.decode("ascii").splitlines()
        if self._passes:
            self._exabgp.write(*lines)
        else:
            self._held += lines


@asynccontextmanager
async def driven(exabgp: Conversation) -> AsyncIterator[Driven]:
    it = Driven(exabgp)
    tasks = [asyncio.create_task(it.driver.run()), asyncio.create_task(it.hear())]
    try:
        yield it
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def took(it: Driven, wanted: Intents) -> bool:
    return it.driver.adj_rib_out == wanted


def has(peer: Listener, wanted: Intents) -> Callable[[], bool]:
    return lambda: told(peer) == as_table(wanted, peer)


async def test_what_changes_twice_in_one_go_ends_right(
    installed: Installed, tmp_path: Path
) -> None:
    events = "neighbor-changes;"
    async with (
        listening() as peer,
        conversation(installed, tmp_path, peer, events=events) as exabgp,
        driven(exabgp) as it,
    ):
        for before, burst in BURSTS.values():
            it.driver.want(before)
            await until(has(peer, before), exabgp.running)
            await asyncio.sleep(1.0)  # What was before is long sure.
            await it.in_one_go(burst)
            await until(has(peer, burst[-1]), exabgp.running)
            await asyncio.sleep(1.0)  # It is mended after half a second.
            await until(has(peer, burst[-1]), exabgp.running)
            assert it.driver.adj_rib_out == burst[-1]
        assert not any(isinstance(event, RepliesLost) for event in it.events)
        assert (peer.sessions, peer.faults) == (1, [])


async def test_what_changes_twice_while_a_session_comes_up_ends_right(
    installed: Installed, tmp_path: Path
) -> None:
    events = "neighbor-changes;"
    async with (
        listening() as peer,
        conversation(installed, tmp_path, peer, events=events) as exabgp,
        driven(exabgp) as it,
    ):
        for burst in ([table(1), table(2), table(1)], [table(1), {}]):
            peer.speaks.clear()
            peer.reset()
            await until(
                lambda: [n.state for n in it.driver.neighbors.values()] == ["connected"],
                exabgp.running,
            )
            for wanted in burst:
                it.driver.want(wanted)
                await until(partial(took, it, wanted), exabgp.running)
                await asyncio.sleep(0.6)
            peer.speaks.set()
            await until(
                lambda: [n.state for n in it.driver.neighbors.values()] == ["up"],
                exabgp.running,
            )
            await asyncio.sleep(1.0)
            await until(has(peer, burst[-1]), exabgp.running)
