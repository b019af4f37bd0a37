"""When the closed loop looks, what it calls drift, and what it does about it.

What it looks at is the test's: the real bgpd and the real kernel are in the network tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, MutableMapping, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from bgphealth.core.decisions import default_key
from bgphealth.core.intents import Announcement, RouteKey
from bgphealth.core.policy import owned
from bgphealth.core.reconcile import Announce, Withdraw
from bgphealth.core.settings import Address, Family, Prefix, Settings
from bgphealth.core.truth import (
    BgpPath,
    BgpRoute,
    KernelDefault,
    KernelView,
    Leg,
    State,
    Tier,
    Where,
)
from bgphealth.daemon import closed_loop
from bgphealth.daemon.closed_loop import ClosedLoop, Lookups, Remedies
from bgphealth.exabgp.commands import Command
from bgphealth.exabgp.driver import Acknowledged, Answering, NeighborChanged
from bgphealth.exabgp.replies import NeighborState
from bgphealth.frr.routes import Injected
from bgphealth.frr.state import Session
from tests.support.hosts import host
from tests.support.waiting import background, until

SETTINGS = host()
BOTH = host(families=(Family.IPV4, Family.IPV6))
SOURCE = SETTINGS.host.source[0]
SERVICE = RouteKey(SETTINGS.services[1].prefixes[0])
DISCARD = IPv4Address("192.0.0.8")
UP = Session(IPv4Address("127.0.0.2"), None, "Established", True, False, 600.0, "")  # noqa: FBT003
NOTHING = KernelView((), has_source=True)
DOWN = replace(UP, state="Active", is_up=False, for_s=3.0)


def service(local_pref: int = 100) -> Announcement:
    return Announcement(SERVICE, DISCARD, local_pref)


def many(count: int) -> list[Announcement]:
    keys = [RouteKey(IPv4Network((0xC6120000 + n, 32))) for n in range(count)]
    return [replace(service(), key=key) for key in keys]


def default(number: int) -> Announcement:
    return Announcement(default_key(Family.IPV4, number), IPv4Address(f"10.0.{number}.0"), 100)


def as_path(announcement: Announcement) -> BgpPath:
    next_hop: Address = announcement.next_hop or DISCARD
    return BgpPath(
        announcement.key.path_id,
        (next_hop,),
        announcement.local_pref,
        frozenset(),
        is_valid=True,
        is_selected=True,
    )


@dataclass
class World:
    """What there is in bgpd and in the kernel, and what was asked for."""

    said: list[MutableMapping[str, Any]]
    loop: ClosedLoop = field(init=False)
    paths: dict[RouteKey, BgpPath] = field(default_factory=dict)
    session: Session = UP
    why_not: str = ""
    kernel: KernelView | str = NOTHING
    asked: list[set[Prefix]] = field(default_factory=list)
    did: list[object] = field(default_factory=list)
    told: list[list[str]] = field(default_factory=list)
    while_looking: Callable[[], None] = lambda: None
    doubted: Callable[[Set[RouteKey]], None] = lambda _: None

    @property
    def logs(self) -> list[MutableMapping[str, Any]]:
        """What was said of drift and of who cannot be asked."""
        return [each for each in self.said if each["event"] != "default_tier"]

    @property
    def tiers(self) -> list[str]:
        """The tiers that were said to serve, with the level."""
        said = [each for each in self.said if each["event"] == "default_tier"]
        return [f"{each['to']} ({each['log_level']})" for each in said]

    async def look(self, injector: Address, prefixes: Collection[Prefix]) -> Injected | str:
        assert injector == SETTINGS.host.injector
        self.asked.append(set(prefixes))
        routes = {
            p: BgpRoute(tuple(path for key, path in self.paths.items() if key.prefix == p))
            for p in prefixes
        }
        await asyncio.sleep(0)
        self.while_looking()
        return self.why_not or Injected(self.session, routes)

    async def look_into_the_kernel(self, _: Settings, __: Family) -> KernelView | str:
        return self.kernel

    def doubt(self, keys: Set[RouteKey]) -> None:
        self.did.append(set(keys))
        self.doubted(keys)

    def announce(self, *announcements: Announcement, there: bool = True) -> None:
        for announcement in announcements:
            if there:
                self.paths[announcement.key] = as_path(announcement)
            self.loop.acknowledged(Announce(announcement))

    def events(self) -> list[str]:
        return [str(each["event"]) for each in self.logs]

    async def looked(self, times: int = 3) -> None:
        """Wait until it has looked so often, from now on."""
        before = len(self.asked)
        await until(lambda: len(self.asked) >= before + times)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make waits short, but for the round, which each test that wants one makes short itself."""
    monkeypatch.setattr(closed_loop, "SOON_S", 0.005)
    monkeypatch.setattr(closed_loop, "GATHER_S", 0.02)
    monkeypatch.setattr(closed_loop, "AGAIN_S", 0.005)
    monkeypatch.setattr(closed_loop, "SETTLE_S", 0.03)
    monkeypatch.setattr(closed_loop, "AWAY_S", 0.01)
    monkeypatch.setattr(closed_loop, "WAITS_S", (0.01,))


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closed_loop, "ROUND_S", 0.01)


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    with capture_logs() as logs:
        here = World(logs)
        here.loop = ClosedLoop(
            SETTINGS,
            owned(SETTINGS),
            Lookups(here.look, here.look_into_the_kernel),
            Remedies(
                here.doubt,
                lambda: here.did.append("refresh"),
                lambda: here.told.append([str(drift.state) for drift in here.loop.drifts]),
            ),
            structlog.get_logger(),
        )
        async with background(here.loop.run()):
            yield here


async def test_a_change_is_looked_at_once_when_it_is_there() -> None:
    async with world() as here:
        here.announce(service())
        await until(lambda: here.loop.truth.states == {SERVICE: State.SEEN})
        await asyncio.sleep(0.05)
        assert here.asked == [{SERVICE.prefix}]
        assert here.loop.truth.looks == 1
        assert (here.logs, here.did) == ([], [])


@pytest.mark.usefixtures("rounds")
async def test_everything_is_looked_at_in_each_round() -> None:
    async with world() as here:
        here.announce(service())
        here.loop.acknowledged(Withdraw(default_key(Family.IPV4, 1)))
        await here.looked(3)
        assert here.asked[-1] == {SERVICE.prefix, Family.IPV4.default_prefix}


async def test_many_changes_are_looked_at_together() -> None:
    async with world() as here:
        here.announce(service())
        here.announce(replace(service(), key=RouteKey(SETTINGS.services[0].prefixes[0])))
        await until(lambda: len(here.loop.truth.states) == 2)
        assert len(here.asked) == 1


async def test_many_prefixes_are_asked_for_in_portions() -> None:
    async with world() as here:
        routes = many(2 * closed_loop.PORTION + 1)
        here.announce(*routes)
        await until(lambda: len(here.loop.truth.states) == len(routes))
        assert [len(asked) for asked in here.asked] == [closed_loop.PORTION] * 2 + [1]
        assert here.loop.truth.looks == 1


async def test_a_look_lets_changes_by_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as here:
        here.while_looking = lambda: here.announce(service())
        here.announce(*many(closed_loop.PORTION + 1))
        monkeypatch.setattr(closed_loop, "SOON_S", 1.0)
        monkeypatch.setattr(closed_loop, "GATHER_S", 0.3)
        await until(lambda: here.asked)
        began = asyncio.get_running_loop().time()
        async with asyncio.timeout(10):
            while len(here.asked) == 1:
                here.announce(service())
                await asyncio.sleep(0.001)
        assert asyncio.get_running_loop().time() - began >= 0.3 - 0.1


async def test_what_is_on_its_way_is_no_drift() -> None:
    async with world() as here:
        here.announce(service(), there=False)
        await here.looked(2)
        assert here.loop.truth.states == {}
        here.paths[SERVICE] = as_path(service())
        await until(lambda: here.loop.truth.states == {SERVICE: State.SEEN})
        assert (here.logs, here.did) == ([], [])


async def test_a_drift_is_said_once_asserted_again_and_gone() -> None:
    async with world() as here:
        here.announce(service(), there=False)
        await until(lambda: here.did.count("refresh") >= 3)
        assert here.events() == ["drift"]
        assert here.logs[0] == {
            "event": "drift",
            "log_level": "warning",
            "route": "192.0.2.53/32",
            "where": "bgpd",
            "state": "missing",
            "expected": "next hop 192.0.0.8, local preference 100, no community",
            "found": "no path from ExaBGP; no path is best",
            "hint": "a route-map or prefix-list of bgpd, inbound from ExaBGP",
        }
        truth = here.loop.truth
        assert truth.states == {SERVICE: State.MISSING}
        assert [drift.key for drift in truth.drifts] == [SERVICE]
        assert truth.drifted == 1
        assert truth.asserted >= 3
        # First the route alone: ExaBGP may have lost it. Then all that it has.
        assert here.did[:3] == [{SERVICE}, {SERVICE}, "refresh"]
        here.paths[SERVICE] = as_path(service())
        await until(lambda: here.events() == ["drift", "drift_gone"])
        assert here.logs[1]["for_s"] >= 0
        assert here.loop.truth.drifts == ()


async def test_what_heals_when_it_is_asserted_again_needs_no_more() -> None:
    async with world() as here:
        here.announce(service(), there=False)
        here.doubted = lambda _: here.announce(service())
        await until(lambda: here.events() == ["drift", "drift_gone"])
        assert here.did == [{SERVICE}]


async def test_a_drift_that_changes_is_said_again() -> None:
    async with world() as here:
        here.announce(service(), there=False)
        await until(lambda: here.logs)
        await here.looked()
        assert here.told == [["missing"]]
        here.paths[SERVICE] = as_path(service(local_pref=1))
        await until(lambda: len(here.told) == 2)
        assert [each["state"] for each in here.logs] == ["missing", "differs"]
        assert here.loop.truth.drifted == 1
        here.paths[SERVICE] = as_path(service())
        await until(lambda: len(here.told) == 3)
        assert here.told == [["missing"], ["differs"], []]


async def test_a_drift_whose_route_changes_is_not_said_again_before_it_could_settle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as here:
        here.announce(service(), there=False)
        await until(lambda: here.logs)
        monkeypatch.setattr(closed_loop, "SETTLE_S", 60.0)
        here.announce(service(local_pref=90), there=False)
        await here.looked()
        here.paths[SERVICE] = as_path(service(local_pref=90))
        await until(lambda: here.events() == ["drift", "drift_gone"])


async def test_a_stale_route_is_withdrawn_again_and_nothing_is_refreshed() -> None:
    async with world() as here:
        here.paths[SERVICE] = as_path(service())
        here.loop.acknowledged(Withdraw(SERVICE))
        await until(lambda: len(here.did) >= 3)
        assert here.logs[0]["state"] == "stale"
        assert here.did[:3] == [{SERVICE}] * 3


async def test_what_cannot_be_mended_is_left_alone() -> None:
    async with world() as here:
        key = RouteKey(SERVICE.prefix, 9)
        here.announce(service())
        here.paths[key] = replace(as_path(service()), path_id=9)
        here.paths[SERVICE] = replace(as_path(service()), is_valid=False)
        await until(lambda: len(here.logs) == 2)
        await here.looked()
        assert {each["state"] for each in here.logs} == {"stale", "unused"}
        assert here.did == []


async def test_routes_that_were_not_acknowledged_are_not_judged() -> None:
    """An earlier run of the program may have left them."""
    async with world() as here:
        here.paths[default(2).key] = as_path(default(2))
        here.kernel = KernelView((in_kernel(default(1)),), has_source=True)
        here.announce(default(1))
        await here.looked(1)
        await asyncio.sleep(0.05)
        assert here.logs == []


async def test_what_changed_while_it_looked_is_looked_at_again() -> None:
    async with world() as here:
        here.paths[SERVICE] = as_path(service())

        def change() -> None:
            here.while_looking = lambda: None
            here.announce(service(local_pref=90))

        here.while_looking = change
        here.announce(service())
        await until(lambda: here.loop.truth.states)
        assert len(here.asked) == 2
        assert (here.logs, here.did) == ([], [])


@pytest.mark.usefixtures("rounds")
async def test_that_bgpd_cannot_be_asked_is_said_once_per_reason() -> None:
    async with world() as here:
        here.announce(service(), there=False)
        here.why_not = "vtysh is not installed"
        await here.looked()
        here.why_not = "bgpd is not running"
        await here.looked()
        assert here.loop.truth.unknown == "bgpd is not running"
        assert here.loop.truth.states == {}
        here.paths[SERVICE] = as_path(service())
        here.why_not = ""
        await until(lambda: here.loop.truth.states)
        assert here.loop.truth.unknown == ""
        assert [(each["event"], each.get("why")) for each in here.logs] == [
            ("bgpd_not_asked", "vtysh is not installed"),
            ("bgpd_not_asked", "bgpd is not running"),
            ("bgpd_asked", None),
        ]
        assert here.did == []


async def test_without_a_session_nothing_is_drift() -> None:
    async with world() as here:
        here.session = DOWN
        here.announce(service(), there=False)
        await here.looked()
        assert here.loop.truth.unknown == "the session with ExaBGP is Active"
        assert (here.logs, here.did) == ([], [])
        # It came up just now: ExaBGP is sending what it has.
        here.session = replace(UP, for_s=0.0)
        await here.looked(10)
        assert (here.logs, here.did) == ([], [])
        here.session = UP
        await until(lambda: here.logs)


@pytest.mark.parametrize("settle_s", [0.0, 60.0])
async def test_what_is_not_known_is_neither_looked_at_nor_answered_all_the_time(
    monkeypatch: pytest.MonkeyPatch, settle_s: float
) -> None:
    """Neither a drift nor what may become one."""
    monkeypatch.setattr(closed_loop, "SETTLE_S", settle_s)
    monkeypatch.setattr(closed_loop, "AWAY_S", 60.0)
    async with world() as here:
        here.announce(service(), there=False)
        await here.looked()
        assert bool(here.did) is (settle_s == 0.0)
        here.session = DOWN
        await until(lambda: here.loop.truth.unknown)
        looks, did = len(here.asked), len(here.did)
        await asyncio.sleep(0.05)
        assert (len(here.asked), len(here.did)) == (looks, did)


async def test_the_driver_says_what_was_acknowledged_and_what_became_of_the_session() -> None:
    async with world() as here:
        here.paths[SERVICE] = as_path(service())
        here.loop.driver(Acknowledged(Command("announce ...", (Announce(service()),))))
        here.loop.driver(Answering())
        await until(lambda: here.loop.truth.states)
        here.loop.driver(NeighborChanged(NeighborState("127.0.0.1", "up")))
        await until(lambda: len(here.asked) == 2)


async def test_while_exabgp_tries_to_connect_it_is_not_looked_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(closed_loop, "AWAY_S", 60.0)
    async with world() as here:
        here.session = DOWN
        here.announce(service())
        await until(lambda: here.loop.truth.unknown)
        looks = len(here.asked)
        for state in ("connected", "down"):
            here.loop.driver(NeighborChanged(NeighborState("127.0.0.1", state)))
        await asyncio.sleep(0.05)
        assert len(here.asked) == looks
        here.session = UP
        here.loop.driver(NeighborChanged(NeighborState("127.0.0.1", "up")))
        await until(lambda: here.loop.truth.states)
        here.loop.driver(NeighborChanged(NeighborState("127.0.0.1", "down")))
        await until(lambda: len(here.asked) == looks + 2)


def in_kernel(*announcements: Announcement) -> KernelDefault:
    legs = tuple(Leg(f"eth{each.key.path_id}", each.next_hop) for each in announcements)
    return KernelDefault("bgp", 20, SOURCE, legs)


async def test_the_kernel_has_the_best_of_what_bgpd_has() -> None:
    async with world() as here:
        worse = replace(default(2), local_pref=90)
        here.announce(default(1), worse)
        here.paths[worse.key] = replace(as_path(worse), is_selected=False)
        here.kernel = KernelView((in_kernel(default(1)),), has_source=True)
        await until(lambda: len(here.loop.truth.states) == 2)
        await asyncio.sleep(0.05)
        assert here.logs == []


async def test_a_drift_of_the_kernel_is_said_and_no_more() -> None:
    async with world() as here:
        here.announce(default(1), default(2))
        here.kernel = KernelView((in_kernel(default(1)),), has_source=True)
        await until(lambda: here.logs)
        await here.looked()
        assert here.events() == ["drift"]
        assert [(d.where, d.state) for d in here.loop.truth.drifts] == [
            (Where.KERNEL, State.DIFFERS)
        ]
        expected = "via 10.0.1.0 dev eth1, via 10.0.2.0 dev eth2, src 10.255.10.1, proto bgp"
        assert here.logs[0]["expected"] == expected
        assert here.logs[0]["found"] == (
            "via 10.0.1.0 dev eth1, src 10.255.10.1, proto bgp, metric 20"
        )
        # What is not known is neither gone nor said again.
        here.kernel = "reading the defaults: no"
        await here.looked()
        assert here.events() == ["drift", "kernel_not_asked"]
        here.kernel = KernelView((in_kernel(default(1), default(2)),), has_source=True)
        await until(lambda: len(here.logs) == 4)
        assert here.events()[2:] == ["kernel_asked", "drift_gone"]
        assert here.did == []


async def test_a_tier_is_said_when_two_looks_agree() -> None:
    async with world() as here:
        here.announce(default(1))
        here.kernel = KernelView((in_kernel(default(1)),), has_source=True)
        await until(lambda: here.tiers == ["injected (info)"])
        assert here.loop.tiers == {Family.IPV4: Tier.INJECTED}

        # In the midst of a change: one look sees nothing.
        whole, looks = here.kernel, len(here.asked)

        def heal() -> None:
            if len(here.asked) == looks + 2:
                here.kernel = whole

        here.kernel, here.while_looking = NOTHING, heal
        here.loop.look_at_everything()
        await here.looked(2)
        await asyncio.sleep(0.05)
        assert here.tiers == ["injected (info)"]

        # Also while the session with ExaBGP is down, when nothing else is known.
        here.session = DOWN
        here.paths.clear()
        here.loop.look_at_everything()
        await until(lambda: len(here.tiers) == 2)
        here.kernel = NOTHING
        here.loop.look_at_everything()
        await until(lambda: len(here.tiers) == 3)
        assert here.tiers[1:] == ["tor (warning)", "none (warning)"]
        assert here.events() == []


async def test_without_an_announced_default_the_kernel_may_have_any() -> None:
    async with world() as here:
        here.loop.acknowledged(Withdraw(default(1).key))
        await here.looked(1)
        await asyncio.sleep(0.05)
        assert here.logs == []


async def test_another_file_is_looked_at_and_what_was_ours_stays_ours() -> None:
    async with world() as here:
        here.announce(default(1), default(2))
        here.kernel = KernelView((in_kernel(default(1), default(2)),), has_source=True)
        await until(lambda: len(here.loop.truth.states) == 2)
        smaller = host(uplinks=1)
        here.loop.configure(smaller, owned(smaller))
        here.loop.acknowledged(Withdraw(default(2).key))
        await until(lambda: here.logs)
        # Its default is still in bgpd, and of an uplink that is in the file no more.
        assert (here.logs[0]["route"], here.logs[0]["state"]) == ("0.0.0.0/0 path 2", "stale")
        await until(lambda: here.did)
        assert here.did[0] == {default(2).key}


async def test_what_left_the_file_before_it_was_acknowledged_is_not_judged() -> None:
    async with world() as here:
        smaller = host(uplinks=1)
        here.paths[default(2).key] = as_path(default(2))
        here.kernel = KernelView((in_kernel(default(1)),), has_source=True)
        here.loop.configure(smaller, owned(smaller))
        here.announce(default(1))
        await until(lambda: here.loop.truth.states)
        await asyncio.sleep(0.05)
        assert here.logs == []


async def test_a_family_that_left_the_file_does_not_drift_for_ever() -> None:
    """What is wrong in the kernel is over when nothing of it is announced any more."""
    other = default_key(Family.IPV6, 1)
    announcement = Announcement(other, IPv6Address("2001:db8:1::"), 100)
    async with world() as here:
        here.loop.configure(BOTH, owned(BOTH))
        here.announce(announcement)
        await until(lambda: "drift" in here.events())
        here.loop.configure(SETTINGS, owned(SETTINGS))
        del here.paths[other]
        here.loop.acknowledged(Withdraw(other))
        await until(lambda: "drift_gone" in here.events())
        assert here.loop.drifts == ()
