"""A run of the program, with the test in ExaBGP's place."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.neighbors import configuration

_BOTH = "next-hop 192.0.0.8 local-preference 100 community [65101:1 65101:2]"
BOTH_UP = [
    "announce route 0.0.0.0/0 next-hop 10.0.1.0 path-information 0.0.0.1 local-preference 100",
    "announce route 0.0.0.0/0 next-hop 10.0.2.0 path-information 0.0.0.2 local-preference 100",
    f"announce route 10.255.10.1/32 {_BOTH}",
    f"announce route 192.0.2.53/32 {_BOTH}",
]


class Run:
    """A run of the program, with the test in ExaBGP's place."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.commands: list[str] = []
        self.log: list[dict[str, object]] = []
        self.answering = True
        self._tasks = [
            asyncio.create_task(self._take_commands()),
            asyncio.create_task(self._take_log()),
        ]

    def table(self) -> dict[str, str]:
        """What ExaBGP's table would be: route and path to the whole command."""
        table: dict[str, str] = {}
        for command in self.routes():
            words = command.split()
            path = words[words.index("path-information") + 1] if "path-information" in words else ""
            if words[0] == "announce":
                table[f"{words[2]} {path}".strip()] = command
            else:
                table.pop(f"{words[2]} {path}".strip(), None)
        return table

    def routes(self) -> Iterator[str]:
        """Every command, with one route each."""
        for command in self.commands:
            shared, is_batch, prefixes = command.partition(" nlri ")
            if not is_batch:
                yield command
            verb, _, attributes = shared.partition(" attributes ")
            for prefix in prefixes.split():
                yield f"{verb} route {prefix} {attributes}"

    def events(self, name: str) -> list[dict[str, object]]:
        return [entry for entry in self.log if entry["event"] == name]

    async def until(self, true: Callable[[], object]) -> None:
        try:
            async with asyncio.timeout(20):
                while not true():
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"commands: {self.commands}\nlog: {self.log}") from None

    async def ends(self, within_s: float = 10) -> int:
        async with asyncio.timeout(within_s):
            await asyncio.gather(*self._tasks)
            return await self.process.wait()

    def reply(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    async def _take_commands(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            command = line.decode().rstrip()
            if command != "version":
                self.commands.append(command)
            if self.answering and command == "version":
                self.reply(b"exabgp 5.0.15\n")
            if self.answering:
                self.reply(b"done\n")

    async def _take_log(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            if line.startswith(b"{"):
                self.log.append(json.loads(line))
            else:
                self.log.append({"event": "text", "text": line.decode()})


@asynccontextmanager
async def program(
    *arguments: str, uplinks: int = 2, wrapper: tuple[str, ...] = ()
) -> AsyncIterator[Run]:
    """Run it over a file of its own."""
    with tempfile.TemporaryDirectory() as directory:
        file = configuration(Path(directory), uplinks)
        async with program_over(file, *arguments, wrapper=wrapper) as run:
            yield run


@asynccontextmanager
async def program_over(
    file: Path,
    *arguments: str,
    wrapper: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Run]:
    """Run it over a file; what it keeps is kept beside the file."""
    kept = {"STATE_DIRECTORY": str(file.parent), "RUNTIME_DIRECTORY": str(file.parent)}
    process = await asyncio.create_subprocess_exec(
        *wrapper,
        *(sys.executable, "-m", "bgphealth", "-c", str(file), "run", *arguments),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env={**os.environ, **kept, **(environment or {})},
    )
    try:
        yield Run(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
