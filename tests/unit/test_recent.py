"""The last events: what is kept, what is answered, and what no follower can do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bgphealth.daemon import control, recent
from bgphealth.daemon.recent import Recent
from tests.support.control import Listening, listening, steered

FOLLOW = b'{"version": 1, "command": "events", "follow": true}\n'


class Log:
    """Logs as the program does."""

    def __init__(self, kept: Recent) -> None:
        self._kept = kept

    def __call__(self, event: str, level: str = "info", **fields: object) -> None:
        stamp = "2026-11-21T09:00:00.000000Z"
        self._kept(None, level, {"timestamp": stamp, "level": level, "event": event, **fields})


@asynccontextmanager
async def kept() -> AsyncIterator[tuple[Listening, Log]]:
    of, keeper = steered(), Recent()
    async with listening(of, more=recent.commands(keeper, lambda: of.state)) as it:
        yield it, Log(keeper)


def names(answer: dict[str, Any]) -> list[str]:
    return [event["event"] for event in answer["events"]]


def fill(log: Log) -> None:
    log("path_changed", "warning", uplink="tor1", family="ipv4")
    log("path_suspect", "debug", uplink="tor1")
    log("announce", route="0.0.0.0/0 path 2", next_hop="10.0.2.0")
    log("announce", route="192.0.2.53/32", communities=["65101:1"])
    log("drain_started", of="uplink tor2")
    log("neighbor_up", neighbor="10.0.1.0")
    log("reloaded", services_removed=["web"])


async def test_the_last_events_are_answered_with_the_fields_of_the_log() -> None:
    async with kept() as (it, log):
        fill(log)
        answer = await it.command("events")
        logged = ["path_changed", "announce", "announce", "drain_started", "neighbor_up"]
        assert names(answer) == [*logged, "reloaded"]
        assert answer["events"][0] == {
            "timestamp": "2026-11-21T09:00:00.000000Z",
            "level": "warning",
            "event": "path_changed",
            "uplink": "tor1",
            "family": "ipv4",
        }
        assert names(await it.command("events", last=2)) == ["neighbor_up", "reloaded"]
        assert names(await it.command("events", last=0)) == []


@pytest.mark.parametrize(
    ("thing", "found"),
    [
        ("tor1", ["path_changed", "neighbor_up"]),
        ("tor2", ["announce", "drain_started"]),
        ("dns", ["announce"]),
        ("192.0.2.53/32", ["announce"]),
        ("10.0.1.0", ["neighbor_up"]),
        ("web", ["reloaded"]),
    ],
)
async def test_events_about_a_thing(thing: str, found: list[str]) -> None:
    async with kept() as (it, log):
        fill(log)
        assert names(await it.command("events", thing=thing)) == found


async def test_events_since_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("bgphealth.daemon.recent.time.time", lambda: now)
    async with kept() as (it, log):
        log("started")
        now = 2000.0
        log("stopped")
        assert names(await it.command("events", since_s=500)) == ["stopped"]
        assert names(await it.command("events", since_s=1001)) == ["started", "stopped"]


@pytest.mark.parametrize(
    ("fields", "kind", "said"),
    [
        ({"thing": "dsn"}, "unknown_name", "there is no thing 'dsn'; did you mean dns?"),
        ({"thing": ["dns"]}, "bad_request", "thing must be"),
        ({"last": -1}, "bad_request", "last must be"),
        ({"last": True}, "bad_request", "last must be"),
        ({"last": 10**9}, "bad_request", "last must be"),
        ({"since_s": "10m"}, "bad_request", "since_s must be"),
        ({"since_s": float("nan")}, "bad_request", "since_s must be"),
        ({"follow": 1}, "bad_request", "follow must be"),
    ],
)
async def test_what_is_wrong_with_a_request_is_said(
    fields: dict[str, Any], kind: str, said: str
) -> None:
    async with kept() as (it, _):
        error = (await it.command("events", **fields))["error"]
        assert (error["kind"], said in error["message"]) == (kind, True)


def test_so_many_and_so_large_events_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "MOST_EVENTS", 100)
    keeper = Recent()
    log = Log(keeper)
    for number in range(250):
        log("announce", number=number)
    assert [kept.number for kept in keeper.all()] == list(range(150, 250))
    monkeypatch.setattr(recent, "MOST_BYTES", 10_000)
    log("crashed", exception="x" * 1_000_000)
    assert sum(len(kept.line) for kept in keeper.all()) <= 10_000
    assert json.loads(keeper.all()[-1].line)["too_long"] > 1_000_000


def test_what_events_are_about_is_counted_and_has_an_end() -> None:
    keeper = Recent()
    log, prefixes = Log(keeper), [f"198.18.{n // 256}.{n % 256}/32" for n in range(2000)]
    for _ in range(400):
        log("alternatives_seen", routes=prefixes)
    kept = keeper.all()
    assert sum(len(one.line) + len(one.about) for one in kept) <= recent.MOST_BYTES
    assert len(kept) > 200
    names_kept = kept[-1].about.split("\n")
    assert names_kept == prefixes[: len(names_kept)]
    assert len(kept[-1].about) <= 16 * 1024


async def test_who_follows_gets_what_comes_and_only_what_he_wants() -> None:
    async with kept() as (it, log):
        log("announce", route="192.0.2.53/32")
        reader, writer = await it.connect()
        writer.write(b'{"version": 1, "command": "events", "follow": true, "thing": "dns"}\n')
        async with asyncio.timeout(20):
            assert names(json.loads(await reader.readline())) == ["announce"]
            log("path_changed", uplink="tor1")
            log("withdraw", route="192.0.2.53/32")
            line = json.loads(await reader.readline())
            assert (line["version"], line["ok"]) == (1, True)
            assert line["event"]["event"] == "withdraw"
        writer.close()


async def test_followers_have_half_of_the_places_and_give_them_back() -> None:
    async with kept() as (it, _):
        writers = []
        for _ in range(control.MOST_CLIENTS // 2):
            reader, writer = await it.connect()
            writer.write(FOLLOW)
            async with asyncio.timeout(20):
                assert json.loads(await reader.readline())["ok"] is True
            writers.append(writer)
        assert (await it.ask(FOLLOW))["error"]["message"] == "8 others follow"
        assert (await it.command("drains"))["ok"] is True
        for writer in writers:
            writer.close()
        async with asyncio.timeout(20):
            while not (await it.ask(FOLLOW))["ok"]:
                await asyncio.sleep(0.01)


async def test_who_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "PATIENCE_S", 0.3)
    async with kept() as (it, log):
        reader, writer = await it.connect()
        writer.write(FOLLOW)
        async with asyncio.timeout(20):
            assert json.loads(await reader.readline())["ok"] is True
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            while it.control.clients:
                log("announce", padding="x" * 10_000)
                await asyncio.sleep(0.001)
        assert (await it.command("events", last=1))["ok"] is True
        writer.close()


async def test_who_falls_behind_what_is_kept_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "MOST_EVENTS", 5)
    async with kept() as (it, log):
        reader, writer = await it.connect()
        writer.write(FOLLOW)
        async with asyncio.timeout(20):
            assert json.loads(await reader.readline())["ok"] is True
            for _ in range(8):
                log("announce")
            error = json.loads(await reader.readline())["error"]
            assert error == {"kind": "busy", "message": "too slow: 3 events are gone"}
            assert await reader.read() == b""
        writer.close()
