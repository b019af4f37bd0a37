from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network

import pytest

from bgphealth.core.intents import Announcement, Intents, RouteKey
from bgphealth.exabgp import driver as driver_module
from bgphealth.exabgp.driver import (
    WINDOW,
    Acknowledged,
    Answering,
    Driver,
    DriverEvent,
    NotAnswering,
    Refused,
    ShutdownNotice,
    Unexpected,
)
from bgphealth.exabgp.replies import Reply, decode


def route(number: int, local_pref: int = 100) -> Announcement:
    key = RouteKey(ip_network((0xC0000200 + number, 32)))
    return Announcement(key, ip_address("192.0.0.8"), local_pref)


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
    task = asyncio.create_task(fake.driver.run())
    try:
        yield fake
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.001)


async def test_what_is_wanted_is_sent_once() -> None:
    async with running() as exabgp:
        exabgp.driver.want(table(route(1), route(2)))
        await until(lambda: exabgp.driver.adj_rib_out == table(route(1), route(2)))
        exabgp.driver.want(table(route(1), route(2)))
        exabgp.driver.want(table(route(2)))
        await until(lambda: exabgp.driver.adj_rib_out == table(route(2)))
    assert [line.split()[0] for line in exabgp.lines] == ["announce", "announce", "withdraw"]


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
        await until(lambda: exabgp.driver._pending)  # noqa: SLF001 - it has begun to write
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


async def test_no_more_than_a_window_waits_for_replies() -> None:
    async with running() as exabgp:
        exabgp.answer = lambda _: None
        exabgp.driver.want(table(*(route(n) for n in range(2 * WINDOW))))
        await until(lambda: exabgp.lines)
        await asyncio.sleep(0.01)
        assert len(exabgp.lines) == WINDOW
        exabgp.answer = lambda _: "done"
        for _ in range(WINDOW):
            exabgp.driver.received("done")
        await until(lambda: len(exabgp.driver.adj_rib_out) == 2 * WINDOW)


async def test_a_refused_command_is_reported_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(driver_module, "RETRY_S", 0.01)
    async with running() as exabgp:
        exabgp.driver._retry_s = 0.01  # noqa: SLF001
        refusals = iter(["error", "error"])
        exabgp.answer = lambda line: next(refusals, "done") if ".1/32" in line else "done"
        exabgp.driver.want(table(route(1), route(2)))
        await until(lambda: len(exabgp.driver.adj_rib_out) == 2)
    refused = [e for e in exabgp.events if isinstance(e, Refused)]
    assert [e.change.key for e in refused] == [route(1).key] * 2
    assert sum(".2/32" in line for line in exabgp.lines) == 1


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


async def test_a_late_reply_is_reported_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "DEADLINE_S", 0.01)
    async with running() as exabgp:
        exabgp.answer = lambda _: None
        exabgp.driver.want(table(route(1)))
        await until(lambda: sum(isinstance(e, NotAnswering) for e in exabgp.events) >= 2)
        assert len(exabgp.lines) == 1
        exabgp.driver.received("done")
        await until(lambda: exabgp.driver.adj_rib_out == table(route(1)))
        await until(lambda: any(isinstance(e, Answering) for e in exabgp.events))


async def test_notices_between_replies_are_not_taken_for_replies() -> None:
    async with running() as exabgp:
        exabgp.answer = lambda _: None
        exabgp.driver.want(table(route(1)))
        await until(lambda: exabgp.lines)
        exabgp.driver.received('{ "exabgp": "5.0.15", "type": "state" }')
        exabgp.driver.received("neighbor 127.0.0.1 up")
        exabgp.driver.received("shutdown 12 1")
        assert exabgp.driver.adj_rib_out == {}
        exabgp.driver.received("done")
        exabgp.driver.received("done")
        assert exabgp.driver.adj_rib_out == table(route(1))
    kinds = [type(event) for event in exabgp.events]
    assert kinds == [Unexpected, ShutdownNotice, Acknowledged, Unexpected]


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("done", Reply.DONE),
        ("error", Reply.ERROR),
        ("error this command is not known", Reply.ERROR),
        ("shutdown 120 1", Reply.SHUTDOWN),
        ("done with something", Reply.OTHER),
        ('{ "type": "notification" }', Reply.OTHER),
        ("", Reply.OTHER),
    ],
)
def test_replies(line: str, reply: Reply) -> None:
    assert decode(line) is reply
