"""Every line that bgphealth can write is `done`, and the neighbors have exactly what was wanted.

E8: these lines are the common ground of ExaBGP 4.2.25 and 5.0.15.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from ipaddress import ip_address, ip_network
from itertools import count, cycle, islice, product
from pathlib import Path

import pytest

from bgphealth.core.intents import Announcement, Community, Intents, LargeCommunity, RouteKey
from bgphealth.core.reconcile import Announce, Withdraw, reconcile
from bgphealth.core.settings import Address, Prefix
from bgphealth.exabgp.commands import BATCH, commands, encode
from tests.support.bgp_listener import Listener, listening
from tests.support.conversation import as_table, conversation, told, until
from tests.support.exabgp import LOCAL_ASN, Installed

pytestmark = pytest.mark.contract

EXTERNAL_ASN = 4_200_000_001
INTERNAL, EXTERNAL, EXTERNAL_V6 = "127.0.0.1", "127.0.0.5", "::1"

QUIET = {"exabgp.log.level": "WARNING"}
"""There is much to do, and half of the time ExaBGP would write its log."""

COMMUNITIES = (
    (),
    (Community(65101, 1),),
    (Community(0, 0), Community(65535, 0), Community(65535, 65535)),
)
LOCAL_PREFS = (None, 0, 4_294_967_295)
LARGEST = 4_294_967_295
REST: tuple[tuple[tuple[LargeCommunity, ...], int | None, tuple[int, ...]], ...] = (
    ((), None, ()),
    ((LargeCommunity(LARGEST, 0, LARGEST),), 0, ()),
    ((LargeCommunity(65101, 1, 2), LargeCommunity(0, 0, 0)), LARGEST, (65101,) * 11),
    ((), None, (EXTERNAL_ASN - 1, EXTERNAL_ASN - 1)),
)
"""Large communities, MED and AS path: one of these with each combination of the others."""

PATH_IDS = (0, 4_294_967_295)


def prefixes(version: int) -> Iterator[Prefix]:
    """Yield a prefix of each length, the default first, then host addresses without end."""
    first = ip_address("198.18.0.0") if version == 4 else ip_address("2001:db8::")
    for length in range(first.max_prefixlen):
        yield ip_network((first, length), strict=False)
    for n in count(int(first)):
        yield ip_network((n, first.max_prefixlen))


def next_hops(version: int, neighbor: str) -> tuple[Address | None, ...]:
    """Return addresses of the family and, where the session has one of it, our own."""
    given = ip_address("192.0.0.8" if version == 4 else "2001:db8:ffff::1")
    own = (None,) if ip_address(neighbor).version == version else ()
    return given, *own


def attributes(version: int, neighbor: str) -> Iterator[Announcement]:
    """Yield one route in every form that a single one has."""
    (prefix,) = islice(prefixes(version), 24, 25)
    forms = product(
        (None, ip_address(neighbor)), PATH_IDS, next_hops(version, neighbor), LOCAL_PREFS,
        COMMUNITIES,
    )  # fmt: skip
    for form, (large, med, as_path) in zip(forms, cycle(REST), strict=False):
        to, path_id, next_hop, local_pref, communities = form
        key = RouteKey(prefix, path_id, to)
        yield Announcement(key, next_hop, local_pref, communities, large, med, as_path)


@pytest.fixture(
    params=[(INTERNAL, LOCAL_ASN), (EXTERNAL, EXTERNAL_ASN), (EXTERNAL_V6, EXTERNAL_ASN)],
    ids=["internal", "external", "external-v6"],
)
async def peer(request: pytest.FixtureRequest) -> AsyncIterator[Listener]:
    address, asn = request.param
    async with listening(asn, address) as listener:
        yield listener


async def test_e8_every_form_of_one_route(
    installed: Installed, peer: Listener, tmp_path: Path
) -> None:
    async with conversation(installed, tmp_path, peer, settings=QUIET) as exabgp:
        for route in (*attributes(4, peer.address), *attributes(6, peer.address)):
            announce, withdraw = encode(Announce(route)), encode(Withdraw(route.key))
            assert await exabgp.say(announce) == ["done"], announce
            assert told(peer) == as_table({route.key: route}, peer), announce
            assert await exabgp.say(withdraw) == ["done"], withdraw
            assert told(peer) == {}, withdraw
        assert (peer.sessions, peer.faults) == (1, [])


async def test_e8_every_form_of_a_batch(
    installed: Installed, peer: Listener, tmp_path: Path
) -> None:
    async with conversation(installed, tmp_path, peer, settings=QUIET) as exabgp:
        for form in (*attributes(4, peer.address), *attributes(6, peer.address)):
            if form.key.path_id:
                continue  # Never in a batch.
            routes = [
                replace(form, key=form.key._replace(prefix=prefix))
                for prefix in islice(prefixes(form.key.prefix.version), BATCH)
            ]
            announce = encode(*map(Announce, routes))
            withdraw = encode(*(Withdraw(route.key) for route in routes[1:]))
            assert await exabgp.say(announce) == ["done"], announce
            assert told(peer) == as_table({route.key: route for route in routes}, peer), announce
            assert await exabgp.say(withdraw) == ["done"], withdraw
            assert told(peer) == as_table({routes[0].key: routes[0]}, peer), withdraw
            assert await exabgp.say(encode(Withdraw(routes[0].key))) == ["done"]
            assert told(peer) == {}
        assert (peer.sessions, peer.faults) == (1, [])


def spent_s(process: subprocess.Popen[bytes]) -> float:
    """Return the processor time that a process has used."""
    stat = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


async def test_e7_batches_cost_exabgp_less(installed: Installed, tmp_path: Path) -> None:
    """Its processor time for 1,000 routes, one by one and in batches of our size."""
    hop, _ = next_hops(4, INTERNAL)
    routes = [
        Announce(Announcement(RouteKey(prefix), hop, 90, COMMUNITIES[1]))
        for prefix in islice(prefixes(4), 1000)
    ]
    async with (
        listening() as peer,
        conversation(installed, tmp_path, peer, settings=QUIET) as exabgp,
    ):
        spent = {}
        for size in (1, BATCH):
            lines = [encode(*routes[n : n + size]) for n in range(0, len(routes), size)]
            before = spent_s(exabgp.running.process)
            await exabgp.say(*lines)
            spent[size] = spent_s(exabgp.running.process) - before
            assert len(told(peer)) == len(routes)
            await exabgp.say(*(encode(Withdraw(route.announcement.key)) for route in routes))
            assert told(peer) == {}
        assert spent[BATCH] < spent[1], spent


@pytest.mark.parametrize("version", [4, 6])
async def test_e7_batches_make_the_same_table(
    installed: Installed, version: int, tmp_path: Path
) -> None:
    """Of any size, also one that `commands` never makes, and a line of several pages."""
    hop = next_hops(version, EXTERNAL)[0]
    routes = [
        Announcement(RouteKey(prefix), hop, 90, COMMUNITIES[1])
        for prefix in islice(prefixes(version), 1000)
    ]
    desired = {route.key: route for route in routes}
    async with (
        listening() as peer,
        conversation(installed, tmp_path, peer, settings=QUIET) as exabgp,
    ):
        for size in (1, 25, BATCH, len(routes)):
            batches = [routes[first : first + size] for first in range(0, len(routes), size)]
            lines = [encode(*map(Announce, batch)) for batch in batches]
            assert await exabgp.say(*lines) == ["done"] * len(lines), size
            assert told(peer) == as_table(desired, peer), size
            lines = [encode(*(Withdraw(route.key) for route in batch)) for batch in batches]
            assert await exabgp.say(*lines) == ["done"] * len(lines), size
            assert told(peer) == {}, size
        assert (peer.sessions, peer.faults) == (1, [])


async def test_why_no_med_that_does_not_fit_is_ever_sent(
    installed: Installed, tmp_path: Path
) -> None:
    """ExaBGP 5 refuses it. ExaBGP 4 says nothing at all."""
    async with listening(65101) as peer, conversation(installed, tmp_path, peer) as exabgp:
        line = "announce route 198.18.0.1/32 next-hop 192.0.0.8 med 4294967296"
        assert await exabgp.say(line) == ([] if installed.is_4 else ["error"])
        assert (told(peer), peer.sessions) == ({}, 1)


async def test_why_no_asn_that_does_not_fit_is_ever_sent(
    installed: Installed, tmp_path: Path
) -> None:
    """ExaBGP 5 refuses it. ExaBGP 4 says that it is done, and loses the session over it."""
    async with listening(65101) as peer, conversation(installed, tmp_path, peer) as exabgp:
        exabgp.write("announce route 198.18.0.1/32 next-hop 192.0.0.8 as-path [ 4294967296 ]")
        assert await exabgp.line() == ("done" if installed.is_4 else "error")
        if installed.is_4:
            await until(lambda: peer.sessions > 1, exabgp.running)
        assert told(peer) == {}


STEPS = 30


def keys(listeners: list[Listener]) -> list[RouteKey]:
    """Return keys for one neighbor each, and others for all; a prefix is never both."""
    found = []
    for version in (4, 6):
        shared, own = islice(prefixes(version), 12), islice(prefixes(version), 12, 48)
        found += [RouteKey(prefix, n) for prefix in shared for n in range(3)]
        found += [
            RouteKey(prefix, 0, ip_address(listener.address))
            for prefix in own
            for listener in listeners
        ]
    return found


def wanted(chance: random.Random, pool: list[RouteKey]) -> Intents:
    """Return some routes with a few kinds of attributes, so that many of them share some."""
    share = chance.choice((0.1, 0.5, 0.9))
    found = {}
    for key in pool:
        if chance.random() < share:
            hops = next_hops(key.prefix.version, str(key.neighbor or "::"))[: chance.choice((1, 2))]
            next_hop = hops[-1] if key.neighbor else hops[0]
            found[key] = Announcement(
                key, next_hop, chance.choice(LOCAL_PREFS[:2]), chance.choice(COMMUNITIES[:2])
            )
    return found


async def test_a_random_walk_ends_with_what_is_wanted(installed: Installed, tmp_path: Path) -> None:
    """As the daemon does it: the difference between two states, in batches."""
    seed = 0 if "CI" in os.environ else random.SystemRandom().randrange(1 << 32)
    chance = random.Random(seed)  # noqa: S311 - a seed must give the same walk again
    peers = [(INTERNAL, LOCAL_ASN), (EXTERNAL, EXTERNAL_ASN), (EXTERNAL_V6, EXTERNAL_ASN)]
    async with AsyncExitStack() as stack:
        listeners = [
            await stack.enter_async_context(listening(asn, address)) for address, asn in peers
        ]
        exabgp = await stack.enter_async_context(
            conversation(installed, tmp_path, *listeners, settings=QUIET)
        )
        pool = keys(listeners)
        before: Intents = {}
        for step in range(STEPS):
            after = wanted(chance, pool)
            doubtful = {key for key in pool if chance.random() < 0.05}
            lines = [c.line for c in commands(reconcile(after, before, doubtful))]
            assert await exabgp.say(*lines) == ["done"] * len(lines), (seed, step)
            for listener in listeners:
                assert told(listener) == as_table(after, listener), (seed, step, listener.address)
            before = after
        for listener in listeners:
            assert (listener.sessions, listener.faults) == (1, [])
