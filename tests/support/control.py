"""A control socket whose program is an engine and nothing else."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from structlog.testing import LogCapture

from bgphealth.core import engine
from bgphealth.core.events import Event, Started, Verdict
from bgphealth.core.settings import Settings
from bgphealth.core.state import State
from bgphealth.daemon import draining, looking
from bgphealth.daemon.control import Control
from bgphealth.daemon.history import History
from bgphealth.daemon.operator import Operator
from bgphealth.daemon.peers import Rights
from bgphealth.daemon.reporting import Troubles
from bgphealth.daemon.requests import Command
from bgphealth.daemon.snapshot import Defaults, Known
from tests.support.hosts import CHECK_RISE, RISE, checked, host, round_of


@dataclass
class Steered:
    """An engine in the place of the program."""

    state: State
    now: float = 100.0
    keeps: bool = True
    kept: list[int] = field(default_factory=list)
    history: History = field(default_factory=lambda: History(0.0))

    @property
    def known(self) -> Known:
        return Known(
            self.now,
            1_700_000_000.0 + self.now,
            self.state,
            self.history.times,
            told=None,
            truth=None,
            defaults=Defaults({}, {}),
            troubles=Troubles({}, {}, {}, {}, {}, {}, {}),
            source_of={},
            gateway_of={},
        )

    def post(self, event: Event) -> None:
        self.state, effects = engine.step(self.state, event)
        for effect in effects:
            self.history.effect(effect)

    def feed(self, events: Iterable[Event]) -> None:
        for event in events:
            self.post(event)

    async def keep_drains(self) -> bool:
        self.kept.append(len(self.state.drains.orders))
        return self.keeps


def steered(settings: Settings | None = None) -> Steered:
    """Return one of which everything is up."""
    settings = settings or host()
    made = Steered(engine.initial(settings))
    rounds = [e for u in settings.uplinks for _ in range(RISE) for e in round_of(u, Verdict.OK)]
    made.feed([Started(0.0), *rounds, *[checked(Verdict.OK)] * CHECK_RISE])
    return made


@dataclass
class Listening:
    """A control socket that listens."""

    path: Path
    steered: Steered
    log: list[Any]
    control: Control

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not true():
                await asyncio.sleep(0.005)

    async def stay(self) -> tuple[dict[str, Any], asyncio.StreamWriter]:
        """Ask something on a connection that stays; return the answer."""
        reader, writer = await self.connect()
        writer.write(b'{"version": 1, "command": "drains"}\n')
        async with asyncio.timeout(20):
            return json.loads(await reader.readline()), writer

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(str(self.path))

    async def ask(self, line: bytes) -> dict[str, Any]:
        """Say one line on a connection of its own, and return the answer."""
        reader, writer = await self.connect()
        try:
            writer.write(line)
            async with asyncio.timeout(20):
                answer: dict[str, Any] = json.loads(await reader.readline())
            return answer
        finally:
            writer.close()

    async def command(self, command: str, /, **fields: object) -> dict[str, Any]:
        return await self.ask(
            json.dumps({"version": 1, "command": command, **fields}).encode() + b"\n"
        )


def _is_there(path: Path) -> bool:
    return path.is_socket()


@asynccontextmanager
async def listening(
    of: Steered | None = None,
    directory: Path | None = None,
    rights: Rights | None = None,
    more: Mapping[str, Command] | None = None,
) -> AsyncIterator[Listening]:
    """Listen in a directory, or in one of its own."""
    capture = LogCapture()
    log = structlog.wrap_logger(None, processors=[capture])
    of = of or steered()
    with tempfile.TemporaryDirectory() as own:
        path = Path(directory or own, "socket")
        control = Control(
            path,
            Operator(draining.commands(of), looking.commands(of, "bgphealth.yaml"), more or {}),
            log,
            rights or Rights(),
        )
        serving = asyncio.create_task(control.serve())
        try:
            async with asyncio.timeout(20):
                while not _is_there(path) and not serving.done():
                    await asyncio.sleep(0.005)
            yield Listening(path, of, capture.entries, control)
        finally:
            serving.cancel()
            await asyncio.wait({serving})
