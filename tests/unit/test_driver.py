from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgphealth.core.intents import Announcement, Intents, RouteKey
from bgphealth.core.settings import Address
from bgphealth.exabgp import driver as driver_module
from bgphealth.exabgp import silence, unsure
from bgphealth.exabgp.commands import BATCH
from bgphealth.exabgp.driver import (
    RETRY_S,
    WINDOW,
    WINDOW_ROUTES,
    Acknowledged,
    Answering,
    Driver,
    DriverEvent,
    NeighborChanged,
    NotAnswering,
    Refused,
    RepliesLost,
    ShutdownNotice,
    Unexpected,
)
from bgphealth.exabgp.replies import NeighborState, Reply, decode
from tests.support.waiting import background, until


def route(number: int, local_pref: int = 100, neighbor: Address | None = None) -> Announcement:
    key = RouteKey(ip_network((0xC0000200 + number, 32)), neighbor=neighbor)
    return Announcement(key, ip_address("192.0.0.8"), local_pref)


def unlike(number: int) -> Announcement:
    """Return a route that shares a command with no other."""
    return route(number, local_pref=1000 + number)


def table(*routes: Announcement) -> Intents:
    return {r.key: r for r in routes}


class FakeExabgp:
    """Answers each command as told; `answer` None leaves it unanswered."""

    def __init__(self) -> None:
        self.answer: Callable[[str], str | None] = lambda _: "done"
        self.lines: list[str] = []
        self.events: list[DriverEvent] = []
        self.driver: Driver
        self.room = asyncio.Event()
        self.room.set()

    async def write(self, data: bytes) -> None:
        await self.room.wait()
        for line in data.decode().splitlines():
            self.lines.append(line)
            reply = self.answer(line)
            if reply is not None:
                asyncio.get_running_loop().call_soon(self.driver.received, reply)


@asynccontextmanager
async def running(owned: Intents | None = None) -> AsyncIterator[FakeExabgp]:
    fake = FakeExabgp()
    fake.driver = Driver(fake.write, frozenset(owned or ()), fake.events.append)
    async with background(fake.driver.run()):
        yield fake


async def test_what_is_wanted_is_sent_once() -> None:
    async with running() as exabgp:
        exabgp.driver.want(table(route(1), route(2)))
        await until(lambda: exabgp.driver.adj_rib_out == table(route(1), route(2)))
        exabgp.driver.want(table(route(1), route(2)))
        exabgp.driver.want(table(route(2)))
        await until(lambda: exabgp.driver.adj_rib_out == table(route(2)))
    assert [line.split()[:2] for line in exabgp.lines] == [
        ["announce", "attributes"],
        ["withdraw", "route"],
    ]


async def test_at_start_what_we_own_and_do_not_want_is_withdrawn() -> None:
    """An earlier run may have left it announced."""
    async with running(owned=table(route(1), route(2))) as exabgp:
        exabgp.driver.want(table(route(1)))
        await until(lambda: len(exabgp.lines) == 2)
    assert exabgp.lines[1] == "withdraw route 192.0.2.2/32"


async def test_what_is_undecided_is_left_alone() -> None:
    async with running(owned=table(route(1), route(2))) as exabgp:
        exabgp.driver.want(table(route(1)), undecided=frozenset({route(2).key}))
        await until(lambda: exabgp.driver.adj_rib_out == table(route(1)))
        assert len(exabgp.lines) == 1
        exabgp.driver.want(table(route(1)))
        await until(lambda: len(exabgp.lines) == 2)


async def test_a_full_pipe_delays_only_the_newest_state() -> None:
    """While ExaBGP does not read, states come and go; only the last one is sent afterwards."""
    async with running() as exabgp:
        exabgp.room.clear()
        exabgp.driver.want(table(route(0)))
        await until(lambda: exabgp.driver.counts.get("sent"))
        for number in range(1, 200):
            exabgp.driver.want(table(route(number)))
            await asyncio.sleep(0)
        exabgp.room.set()
        await until(lambda: exabgp.driver.adj_rib_out == table(route(199)))
    assert exabgp.lines == [
        "announce route 192.0.2.0/32 next-hop 192.0.0.8 local-preference 100",
        "announce route 192.0.2.199/32 next-hop 192.0.0.8 local-preference 100",
        "withdraw route 192.0.2.0/32",
    ]


@pytest.mark.parametrize(
    ("routes", "fit"),
    [
        ([unlike(n) for n in range(2 * WINDOW)], WINDOW),
        ([route(n) for n in range(3 * WINDOW_ROUTES)], WINDOW_ROUTES // BATCH),
    ],
)
async def test_no_more_than_a_window_waits_for_replies(
    routes: list[Announcement], fit: int
) -> None:
    async with running() as exabgp:
        exabgp.answer = lambda _: None
        exabgp.driver.want(table(*routes))
        await until(lambda: exabgp.lines)
        await asyncio.sleep(0.01)
        assert len(exabgp.lines) == fit
        # Half of it answered: the other half is filled up.
        for _ in range(fit // 2):
            exabgp.driver.received("done")
        await until(lambda: len(exabgp.lines) == fit + fit // 2)
        exabgp.answer = lambda _: "done"
        for _ in range(fit):
            exabgp.driver.received("done")
        await until(lambda: exabgp.driver.adj_rib_out == table(*routes))


async def test_while_replies_wait_a_route_takes_back_what_was_sent() -> None:
    """The difference is taken to what was sent, not to what was answered."""
    async with running() as exabgp:
        exabgp.answer = lambda _: None
        exabgp.driver.want(table(route(1)))
        await until(lambda: len(exabgp.lines) == 1)
        exabgp.driver.want(table(route(2)))
        await until(lambda: len(exabgp.lines) == 3)
        exabgp.driver.want(table(route(1), route(2)))
        await until(lambda: len(exabgp.lines) == 4)
        for _ in exabgp.lines:
            exabgp.driver.received("done")
        assert exabgp.driver.adj_rib_out == table(route(1), route(2))
    assert [line.split()[0] for line in exabgp.lines] == [
        "announce", "announce", "withdraw", "announce",
    ]  # fmt: skip


async def test_what_becomes_undecided_later_is_not_withdrawn() -> None:
    async with running() as exabgp:
        exabgp.driver.want(table(route(1), route(2)))
        await until(lambda: len(exabgp.driver.adj_rib_out) == 2)
        exabgp.driver.want({}, undecided=frozenset({route(1).key}))
        await until(lambda: exabgp.driver.adj_rib_out == table(route(1)))
    assert exabgp.lines[1:] == ["withdraw route 192.0.2.2/32"]


async def test_a_refused_command_is_reported_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(driver_module, "RETRY_S", 0.01)
    async with running() as exabgp:
        refusals = iter(["error", "error"])
        exabgp.answer = lambda line: next(refusals, "done") if ".1/32" in line else "done"
        exabgp.driver.want(table(unlike(1), unlike(2)))
        await until(lambda: len(exabgp.driver.adj_rib_out) == 2)
        assert not exabgp.driver.refused
    refused = [e for e in exabgp.events if isinstance(e, Refused)]
    assert [e.change.key for e in refused] == [route(1).key] * 2
    assert [e.retry_s for e in refused] == [0.01, 0.02]
    assert sum(".2/32" in line for line in exabgp.lines) == 1


async def test_of_a_refused_batch_only_what_is_wrong_is_left_out_and_named() -> None:
    async with running() as exabgp:
        exabgp.answer = lambda line: "error" if ".1/32" in line else "done"
        good = [route(n) for n in range(20) if n != 1]
        exabgp.driver.want(table(route(1), *good))
        await until(lambda: exabgp.driver.adj_rib_out == table(*good))
        assert set(exabgp.driver.refused) == {route(1).key}
    (refused,) = (e for e in exabgp.events if isinstance(e, Refused))
    assert refused.change.key == route(1).key
    assert refused.retry_s == RETRY_S
    assert exabgp.driver.counts == {"sent": 21, "acknowledged": 19, "refused": 2}


async def test_a_refused_command_does_not_hold_up_the_others() -> None:
    async with running() as exabgp:
        exabgp.answer = lambda line: "error" if ".1/32" in line else "done"
        exabgp.driver.want(table(route(1)))
        await until(lambda: exabgp.events)
        exabgp.driver.want(table(route(1), route(2)))
        await until(lambda: exabgp.driver.adj_rib_out == table(route(2)))
        assert sum(".1/32" in line for line in exabgp.lines) == 1
        exabgp.driver.want(table(route(2), route(1, local_pref=50)))
        await until(lambda: any("local-preference 50" in line for line in exabgp.lines))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "PAUSE_S", 0.01)
    monkeypatch.setattr(silence, "DEADLINE_S", 0.02)
    monkeypatch.setattr(silence, "LOST_S", 0.05)
    monkeypatch.setattr(driver_module, "RETRY_S", 0.01)
    monkeypatch.setattr(driver_module, "_TICK_S", 0.005)


@pytest.mark.usefixtures("impatient")
async def test_a_late_reply_is_reported_and_waited_for() -> None:
    async with running() as exabgp:
        exabgp.answer = lambda _: None
        exabgp.driver.want(table(route(1)))
        await until(lambda: sum(isinstance(e, NotAnswering) for e in exabgp.events) >= 3)
        assert exabgp.lines[1:] == ["version"]
        assert exabgp.driver.late_s > 0
        # A stopped ExaBGP goes on: what was asked last is answered first.
        for line in ("exabgp 5.0.15", "done", "done"):
            exabgp.driver.received(line)
        assert exabgp.driver.adj_rib_out == table(route(1))
        assert exabgp.driver.late_s == 0
    late = [e.for_s for e in exabgp.events if isinstance(e, NotAnswering)]
    # Each time that the wait has doubled; a tick may come late.
    assert late == sorted(late)
    assert all(said >= 0.02 * 2**n for n, said in enumerate(late))
    assert [type(e) for e in exabgp.events[-2:]] == [Answering, Acknowledged]


@pytest.mark.usefixtures("impatient")
async def test_to_a_silent_exabgp_nothing_is_sent_that_could_be_old_when_it_is_read() -> None:
    async with running() as exabgp:
        exabgp.answer = lambda _: None
        exabgp.driver.want(table(route(0)))
        await until(lambda: "version" in exabgp.lines)
        for number in range(1, 20):
            exabgp.driver.want(table(route(number)))
            await asyncio.sleep(0.002)
        assert len(exabgp.lines) == 2
        # It is there, and slow: only the newest state follows.
        exabgp.driver.received("exabgp 5.0.15")
        await until(lambda: len(exabgp.lines) == 4)
    assert [" ".join(line.split()[:3]) for line in exabgp.lines[2:]] == [
        "announce route 192.0.2.19/32",
        "withdraw route 192.0.2.0/32",
    ]


@pytest.mark.usefixtures("impatient")
async def test_a_stopped_exabgp_has_lost_nothing() -> None:
    async with running() as exabgp:
        exabgp.answer = lambda _: None
        exabgp.driver.want(table(route(1)))
        await until(lambda: sum(isinstance(e, NotAnswering) for e in exabgp.events) >= 5)
        assert not [e for e in exabgp.events if isinstance(e, RepliesLost)]
        assert len(exabgp.lines) == 2


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("acknowledges", [True, False])
async def test_a_lost_reply_is_noticed_and_its_routes_are_asserted_again(
    *, acknowledges: bool
) -> None:
    async with running() as exabgp:
        lost = iter([None] * 2)

        def answer(line: str) -> str | None:
            if line == "version":
                if acknowledges:
                    asyncio.get_running_loop().call_soon(exabgp.driver.received, "exabgp 4.2.25")
                    return "done"
                return "exabgp 4.2.25"
            return next(lost, "done") if ".1/32" in line else "done"

        exabgp.answer = answer
        exabgp.driver.want(table(route(1)))
        await until(lambda: exabgp.driver.counts.get("lost"))
        # The newest state does not wait for what was lost.
        exabgp.driver.want(table(route(1), unlike(2)))
        await until(lambda: len(exabgp.driver.adj_rib_out) == 2)
    found = [e for e in exabgp.events if isinstance(e, RepliesLost)]
    assert {len(e.commands) for e in found} == {1}
    assert not [e for e in exabgp.events if isinstance(e, Unexpected)]
    assert exabgp.driver.counts["lost"] == len(found)


@pytest.mark.usefixtures("impatient")
async def test_after_a_lost_reply_everything_is_asserted_again() -> None:
    """Which of several commands was not answered nobody can tell."""
    async with running() as exabgp:
        unanswered = iter([None])

        def answer(line: str) -> str | None:
            if line == "version":
                return "exabgp 4.2.25"
            return next(unanswered, "done") if ".1/32" in line else "done"

        exabgp.answer = answer
        wanted = table(unlike(1), unlike(2), unlike(3))
        exabgp.driver.want(wanted)
        await until(lambda: exabgp.driver.counts.get("lost"))
        # The last one is blamed, not the first one.
        assert unlike(1).key in exabgp.driver.adj_rib_out
        said = [line for line in exabgp.lines if ".1/32" in line]
        await until(lambda: exabgp.lines.count(said[0]) == 2)
        await until(lambda: exabgp.driver.adj_rib_out == wanted)


@pytest.mark.usefixtures("impatient")
async def test_a_stopped_exabgp_is_noticed_before_it_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(driver_module, "PING_S", 0.01)
    async with running() as exabgp:
        exabgp.answer = lambda _: "exabgp 5.0.15"
        await until(lambda: len(exabgp.lines) >= 3)
        assert set(exabgp.lines) == {"version"}
        assert exabgp.events == []
        exabgp.answer = lambda _: None
        await until(lambda: len(exabgp.events) == 2)
        assert exabgp.driver.late_s > 0
        exabgp.driver.received("exabgp 5.0.15")
        exabgp.driver.received("done")
    assert [type(e) for e in exabgp.events] == [NotAnswering, NotAnswering, Answering]


async def test_what_is_doubted_is_asserted_again() -> None:
    async with running() as exabgp:
        exabgp.driver.want(table(route(1)))
        await until(lambda: len(exabgp.driver.adj_rib_out) == 1)
        exabgp.driver.doubt({route(1).key, route(2).key})
        await until(lambda: len(exabgp.lines) == 3)
    assert exabgp.lines[1:] == [exabgp.lines[0], "withdraw route 192.0.2.2/32"]


async def test_exabgp_is_to_send_its_table_again_when_nothing_waits_for_a_reply() -> None:
    """An ``error`` that answers it overtakes the replies to earlier commands."""
    async with running() as exabgp:
        exabgp.answer = lambda _: None
        exabgp.driver.want(table(route(1)))
        await until(lambda: len(exabgp.lines) == 1)
        exabgp.driver.refresh()
        exabgp.driver.want(table(route(1), unlike(2)))
        await until(lambda: len(exabgp.lines) == 2)
        exabgp.driver.received("done")
        exabgp.driver.received("done")
        await until(lambda: len(exabgp.lines) == 3)
        exabgp.driver.want(table(route(1), unlike(2), unlike(3)))
        await asyncio.sleep(0.01)
        assert exabgp.lines[2:] == ["flush adj-rib out"]
        exabgp.driver.received("error")
        await until(lambda: len(exabgp.lines) == 4)
        exabgp.driver.received("done")
        assert exabgp.driver.adj_rib_out == table(route(1), unlike(2), unlike(3))
        assert not exabgp.driver.refused
    assert [type(event) for event in exabgp.events] == [Acknowledged] * 3


async def test_the_table_is_not_asked_for_when_the_session_went_meanwhile() -> None:
    """ExaBGP 4 would die of it, and all is sent when the session is back."""
    async with running() as exabgp:
        exabgp.driver.received("neighbor 127.0.0.1 up")
        exabgp.answer = lambda _: None
        exabgp.driver.want(table(route(1)))
        await until(lambda: len(exabgp.lines) == 1)
        exabgp.driver.refresh()
        exabgp.driver.received("neighbor 127.0.0.1 down - peer reset")
        exabgp.answer = lambda _: "done"
        exabgp.driver.received("done")
        exabgp.driver.want(table(route(1), unlike(2)))
        await until(lambda: exabgp.driver.adj_rib_out == table(route(1), unlike(2)))
        assert "flush adj-rib out" not in exabgp.lines


async def test_after_a_reconnect_what_that_neighbor_gets_is_asserted_again() -> None:
    one, two = ip_address("10.0.1.0"), ip_address("10.0.2.0")
    routes = [route(1, neighbor=one), route(1, neighbor=two), route(2)]
    gone = route(3, neighbor=one)
    async with running() as exabgp:
        exabgp.driver.want(table(*routes, gone))
        exabgp.driver.want(table(*routes))
        await until(lambda: exabgp.driver.adj_rib_out == table(*routes))
        before = len(exabgp.lines)
        for state in ("down", "connected", "up"):
            assert len(exabgp.lines) == before
            exabgp.driver.received(f"neighbor {one} {state}")
            await asyncio.sleep(0.01)
        await until(lambda: len(exabgp.lines) == before + 3)
        assert exabgp.driver.neighbors == {str(one): NeighborState(str(one), "up")}
    assert exabgp.lines[before:] == [
        "neighbor 10.0.1.0 announce route 192.0.2.1/32 next-hop 192.0.0.8 local-preference 100",
        "announce route 192.0.2.2/32 next-hop 192.0.0.8 local-preference 100",
        "neighbor 10.0.1.0 withdraw route 192.0.2.3/32",
    ]
    changes = [e.event.state for e in exabgp.events if isinstance(e, NeighborChanged)]
    assert changes == ["down", "connected", "up"]


async def test_notices_between_replies_are_not_taken_for_replies() -> None:
    async with running() as exabgp:
        exabgp.answer = lambda _: None
        exabgp.driver.want(table(route(1)))
        await until(lambda: exabgp.lines)
        exabgp.driver.received('{ "exabgp": "5.0.15", "type": "update" }')
        exabgp.driver.received("neighbor 127.0.0.1 up")
        exabgp.driver.received("shutdown 12 1")
        exabgp.driver.received("exabgp 5.0.15")
        assert exabgp.driver.adj_rib_out == {}
        exabgp.driver.received("done")
        exabgp.driver.received("done")
        assert exabgp.driver.adj_rib_out == table(route(1))
    kinds = [type(event) for event in exabgp.events]
    assert kinds == [NeighborChanged, ShutdownNotice, Unexpected, Acknowledged, Unexpected]


@pytest.fixture
def soon_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unsure, "SURE_S", 0.05)
    monkeypatch.setattr(driver_module, "_TICK_S", 0.005)


async def pass_through(exabgp: FakeExabgp, *tables: Intents) -> None:
    """Want one after the other, each when the one before is acknowledged."""
    for wanted in tables:
        exabgp.driver.want(wanted)
        while exabgp.driver.adj_rib_out != wanted:
            await asyncio.sleep(0)


@pytest.mark.usefixtures("soon_sure")
async def test_routes_that_changed_twice_in_a_moment_are_told_again() -> None:
    """The neighbors may have them as they were in between."""
    async with running() as exabgp:
        exabgp.driver.received("neighbor 127.0.0.1 up")
        await pass_through(exabgp, table(unlike(1), unlike(2)), table(route(2)), table(unlike(2)))
        said = len(exabgp.lines)
        await until(lambda: len(exabgp.lines) == said + 2)
        assert set(exabgp.lines[said:]) == {"withdraw route 192.0.2.1/32", "flush adj-rib out"}
        await asyncio.sleep(0.2)
        assert len(exabgp.lines) == said + 2


@pytest.mark.usefixtures("soon_sure")
async def test_a_route_that_changes_before_it_is_answered_is_told_again() -> None:
    """However long ago it was sent: a busy ExaBGP gets round to both changes at once."""
    async with running() as exabgp:
        exabgp.driver.received("neighbor 127.0.0.1 up")
        await pass_through(exabgp, table(route(1)))
        await asyncio.sleep(0.1)
        exabgp.answer = lambda _: None
        exabgp.driver.want(table(unlike(1)))
        await until(lambda: len(exabgp.lines) == 2)
        await asyncio.sleep(0.1)
        exabgp.driver.want(table(route(1)))
        await until(lambda: len(exabgp.lines) == 3)
        exabgp.answer = lambda _: "done"
        exabgp.driver.received("done")
        exabgp.driver.received("done")
        await until(lambda: "flush adj-rib out" in exabgp.lines)


@pytest.mark.usefixtures("soon_sure")
async def test_what_changes_while_the_table_is_sent_again_is_told_again() -> None:
    """ExaBGP 4 may send the route as it was after the route as it is."""
    async with running() as exabgp:
        exabgp.driver.received("neighbor 127.0.0.1 up")
        await pass_through(exabgp, table(unlike(1), route(2)))
        await asyncio.sleep(0.1)
        exabgp.driver.refresh()
        await until(lambda: exabgp.lines[2:] == ["flush adj-rib out"])
        await pass_through(exabgp, table(route(1), route(2)))
        await until(lambda: exabgp.lines[4:] == ["flush adj-rib out"])
        await asyncio.sleep(0.2)
        assert len(exabgp.lines) == 5


@pytest.mark.usefixtures("soon_sure")
async def test_changes_that_are_far_apart_are_sure() -> None:
    async with running() as exabgp:
        exabgp.driver.received("neighbor 127.0.0.1 up")
        for wanted in (table(route(1)), table(unlike(1)), table(route(1)), {}):
            await pass_through(exabgp, wanted)
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.2)
        assert len(exabgp.lines) == 4


@pytest.mark.usefixtures("soon_sure")
async def test_the_table_is_not_asked_for_of_an_exabgp_that_would_die_of_it() -> None:
    """ExaBGP 4 does without a session, and nothing is known of one."""
    async with running() as exabgp:
        await pass_through(exabgp, table(route(1)), table(unlike(1)), table(route(1)))
        await asyncio.sleep(0.2)
        assert len(exabgp.lines) == 3
        exabgp.driver.received("neighbor 127.0.0.1 up")
        await until(lambda: "flush adj-rib out" in exabgp.lines)


@pytest.mark.usefixtures("soon_sure")
async def test_what_changed_twice_without_a_session_is_told_again_when_it_is_up() -> None:
    async with running() as exabgp:
        exabgp.driver.received("neighbor 127.0.0.1 connected")
        for wanted in (table(route(1)), table(unlike(1))):
            await pass_through(exabgp, wanted)
            await asyncio.sleep(0.1)
        assert len(exabgp.lines) == 2
        exabgp.driver.received("neighbor 127.0.0.1 up")
        await until(lambda: "flush adj-rib out" in exabgp.lines)


@pytest.mark.usefixtures("soon_sure")
async def test_what_a_session_ended_before_it_was_told_is_one_go_with_what_comes_then() -> None:
    """ExaBGP was stopped, say, and lost the session meanwhile."""
    async with running() as exabgp:
        exabgp.driver.received("neighbor 127.0.0.1 up")
        exabgp.answer = lambda _: None
        exabgp.driver.want(table(route(1)))
        await until(lambda: len(exabgp.lines) == 1)
        exabgp.driver.received("neighbor 127.0.0.1 down - peer reset")
        exabgp.answer = lambda _: "done"
        exabgp.driver.received("done")
        await asyncio.sleep(0.1)
        await pass_through(exabgp, table(unlike(1)))
        await asyncio.sleep(0.1)
        exabgp.driver.received("neighbor 127.0.0.1 up")
        await until(lambda: "flush adj-rib out" in exabgp.lines)


STATE = """{ "exabgp": "4.0.1", "time": 1.5, "host" : "h", "pid" : 2, "ppid" : 1, "counter": 3,
 "type": "state", "neighbor": { "address": { "local": "127.0.0.2", "peer": "127.0.0.1" }, "asn":
 { "local": 65101, "peer": 65101 } , "state": "down", "reason": "peer reset, message ()" } }"""


@pytest.mark.parametrize(
    ("line", "decoded"),
    [
        ("done", Reply.DONE),
        ("error", Reply.ERROR),
        ("error this command is not known", Reply.ERROR),
        ("exabgp 5.0.15", Reply.PONG),
        ("shutdown 120 1", Reply.SHUTDOWN),
        ('{ "type": "notification", "notification": "shutdown" }', Reply.SHUTDOWN),
        (STATE, NeighborState("127.0.0.1", "down", "peer reset, message ()")),
        ("neighbor 127.0.0.1 up", NeighborState("127.0.0.1", "up")),
        (
            "neighbor 127.0.0.1 down - closing connection",
            NeighborState("127.0.0.1", "down", "closing connection"),
        ),
        ("neighbor 127.0.0.1 receive update", Reply.OTHER),
        ("done with something", Reply.OTHER),
        ('{ "type": "notification" }', Reply.OTHER),
        ('{ "type": "state", "neighbor": {"state": "up"} }', Reply.OTHER),
        (STATE.replace('"down"', "7"), Reply.OTHER),
        ("{", Reply.OTHER),
        ("", Reply.OTHER),
    ],
)
def test_replies(line: str, decoded: Reply | NeighborState) -> None:
    assert decode(line) == decoded


@given(st.text())
def test_no_line_is_an_error(line: str) -> None:
    decode(line)
    decode("{" + line)
