"""What ExaBGP tells its helper of its own accord: neighbors that come and go, and its own end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.bgp_listener import listening
from tests.support.conversation import Conversation, conversation
from tests.support.exabgp import Encoder, Installed

pytestmark = pytest.mark.contract

EVENTS = "neighbor-changes;"
ROUTE = "announce route 10.0.0.1/32 next-hop 192.0.2.1"


async def until_events(exabgp: Conversation, count: int) -> list[str]:
    """Return so many lines; they are all that comes when nothing is said."""
    return [await exabgp.line() for _ in range(count)]


async def test_events_as_text(installed: Installed, tmp_path: Path) -> None:
    async with (
        listening() as peer,
        conversation(installed, tmp_path, peer, events=EVENTS) as exabgp,
    ):
        assert exabgp.greeting == ["neighbor 127.0.0.1 connected", "neighbor 127.0.0.1 up"]
        peer.reset()
        down, *rest = await until_events(exabgp, 3)
        assert down.startswith("neighbor 127.0.0.1 down - ")
        assert rest == exabgp.greeting


async def test_events_as_json(installed: Installed, tmp_path: Path) -> None:
    """Replies are the same words as with text, between the events."""
    async with (
        listening() as peer,
        conversation(installed, tmp_path, peer, events=EVENTS, encoder="json") as exabgp,
    ):
        peer.reset()
        seen = [json.loads(line) for line in (*exabgp.greeting, *await until_events(exabgp, 3))]
        assert {event["type"] for event in seen} == {"state"}
        assert {event["neighbor"]["address"]["peer"] for event in seen} == {"127.0.0.1"}
        states = [event["neighbor"]["state"] for event in seen]
        assert states == ["connected", "up", "down", "connected", "up"]
        assert seen[2]["neighbor"]["reason"]
        assert await exabgp.say(ROUTE, f"{ROUTE} nonsense") == ["done", "error"]


async def test_without_events_nothing_is_told(installed: Installed, tmp_path: Path) -> None:
    async with listening() as peer, conversation(installed, tmp_path, peer) as exabgp:
        peer.reset()
        await exabgp.mark()
        assert peer.sessions == 2
        assert exabgp.greeting == []
        assert await exabgp.line() == "done"
        assert await exabgp.say() == []


@pytest.mark.parametrize("encoder", ["text", "json"])
async def test_the_shutdown_notice(installed: Installed, encoder: Encoder, tmp_path: Path) -> None:
    """It is the last line before the pipe is closed."""
    async with (
        listening() as peer,
        conversation(installed, tmp_path, peer, encoder=encoder) as exabgp,
    ):
        process = exabgp.running.process
        process.terminate()
        notice = await exabgp.line()
        if encoder == "text":
            word, pid, _parent = notice.split()
            assert (word, int(pid)) == ("shutdown", process.pid)
        else:
            event = json.loads(notice)
            assert (event["type"], event["notification"]) == ("notification", "shutdown")
        assert await exabgp.line() == ""


async def test_connected_is_not_up(installed: Installed, tmp_path: Path) -> None:
    """It is said of a connection that the neighbor refuses, too: only `up` is a session."""
    async with (
        listening() as peer,
        conversation(installed, tmp_path, peer, events=EVENTS) as exabgp,
    ):
        await peer.stop()
        heard = await until_events(exabgp, 3)
        assert [line.split()[2] for line in heard] == ["down", "connected", "down"]
