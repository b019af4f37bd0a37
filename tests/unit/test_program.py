"""The program's own part: what is wired to what is in the network tests."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from bgphealth.core.events import Drained
from bgphealth.core.orders import What
from bgphealth.core.settings import Mode, Timing
from bgphealth.daemon.drained import DrainMemory
from bgphealth.daemon.lifeline import Lifeline
from bgphealth.daemon.program import Program, silence_s
from bgphealth.daemon.remembered import Remembered
from bgphealth.fallback import leftovers
from bgphealth.fallback.watch import UplinkWatch
from tests.support.hosts import host


def test_who_asks_seldom_may_be_silent_for_long() -> None:
    """The host loopback is not asked: its pace says nothing."""
    base = host()
    loopback, dns = base.services
    alone = replace(base, services=(loopback,), path_timing=Timing(60, 5, 3, 3))
    assert silence_s(alone) > 3 * 60
    assert silence_s(replace(alone, services=(loopback, dns))) < 30


def _see_nothing(monkeypatch: pytest.MonkeyPatch, looked: asyncio.Event) -> None:
    """Leave the kernel of this host alone."""

    async def start(_: UplinkWatch) -> None:
        await looked.wait()

    async def run(_: UplinkWatch) -> None:
        await asyncio.Event().wait()

    async def remove(*_: object) -> list[Any]:
        return []

    monkeypatch.setattr(UplinkWatch, "start", start)
    monkeypatch.setattr(UplinkWatch, "run", run)
    monkeypatch.setattr(leftovers, "remove", remove)


async def test_a_reload_during_the_start_waits_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    looked = asyncio.Event()
    _see_nothing(monkeypatch, looked)
    before = host(mode=Mode.DIRECT)
    after = replace(before, services=before.services[:1])
    log = structlog.get_logger()
    program = Program(before, log)
    memories = Remembered(tmp_path / "state", log), DrainMemory(tmp_path / "drains", log)
    running = asyncio.create_task(program.run(Lifeline(), *memories))
    reloading = asyncio.create_task(program.reload(after))
    await asyncio.sleep(0.01)
    looked.set()
    async with asyncio.timeout(10):
        await reloading
    assert program.settings == after
    # What left the file is forgotten.
    assert program.history.times.routes.keys() <= program.state.decisions.keys()
    running.cancel()
    await asyncio.wait({running})


@pytest.mark.parametrize("left_s", [None, 0.5])
async def test_a_drain_that_has_settled_is_not_waited_for_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, left_s: float | None
) -> None:
    looked, loop, settle_s = asyncio.Event(), asyncio.get_running_loop(), 3600.0
    looked.set()
    _see_nothing(monkeypatch, looked)
    before = replace(host(mode=Mode.DIRECT), drain_settle_s=settle_s)
    after = replace(before, uplinks=before.uplinks[:1])
    log = structlog.get_logger()
    program = Program(before, log)
    memories = Remembered(tmp_path / "state", log), DrainMemory(tmp_path / "drains", log)
    running = asyncio.create_task(program.run(Lifeline(), *memories))
    await program.serves.wait()
    name, now = before.uplinks[1].name, loop.time()
    since = now - settle_s + (left_s or -1.0)
    program.post(Drained(now, What.UPLINK, name, since, None, forced=True))
    async with asyncio.timeout(20):
        await program.reload(after)
    assert program.settings == after
    assert loop.time() >= since + settle_s
    running.cancel()
    await asyncio.wait({running})
