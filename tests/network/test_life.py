"""The life of the process, with the test in the place of ExaBGP and of the service manager."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from bgphealth.daemon import starts
from tests.support.neighbors import Neighbor, configuration, neighbors
from tests.support.netns import ip, isolated
from tests.support.program import BOTH_UP, Run, program_over

pytestmark = pytest.mark.network

BOTH = "next-hop 192.0.0.8 local-preference 100 community [65101:1 65101:2]"
WEB = "192.0.2.80/32"


@contextmanager
def file_of(uplinks: int = 2) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        yield configuration(Path(directory), uplinks)


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def with_web(file: Path) -> None:
    edit(file, "{dns: {", f"{{web: {{prefixes: [{WEB}]}}, dns: {{")


def without_web(file: Path) -> None:
    edit(file, f"web: {{prefixes: [{WEB}]}}, ", "")


def is_up(run: Run) -> bool:
    return set(BOTH_UP) <= set(run.table().values())


def remembered(file: Path) -> list[str]:
    data = json.loads(file.with_name("bgphealth.routes.json").read_text())
    return [entry["prefix"] for entry in data["routes"]]


@isolated
async def test_what_left_the_file_while_it_was_away_is_withdrawn() -> None:
    with neighbors(2), file_of() as file:
        with_web(file)
        async with program_over(file) as run:
            await run.until(lambda: is_up(run) and WEB in run.table())
            assert WEB in remembered(file)
            run.process.kill()
        without_web(file)
        async with program_over(file) as run:
            await run.until(lambda: f"withdraw route {WEB}" in " ".join(run.routes()))
            await run.until(lambda: WEB not in remembered(file))
            await run.until(lambda: is_up(run))
            (event,) = run.events("withdraw")
            assert (event["route"], event["reason"]) == (WEB, "not_in_file")


@isolated
async def test_the_first_verdict_takes_no_service_away_from_the_other_uplinks() -> None:
    """The run before may have left it announced to all of them."""
    with neighbors(2), file_of() as file:
        async with program_over(file) as run:
            await run.until(lambda: is_up(run))
            said = [c for c in run.routes() if "192.0.2.53/32" in c or "10.255.10.1/32" in c]
            assert len(said) == 2


@isolated
async def test_a_path_that_never_gets_a_verdict_is_not_waited_for() -> None:
    with neighbors(2), file_of() as file:
        ip("address", "flush", "dev", "eth2")
        async with program_over(file) as run:
            await run.until(lambda: "192.0.2.53/32" in run.table())
            assert run.table()["192.0.2.53/32"].endswith("[65101:1]")
            assert [e for e in run.events("path_changed") if e["uplink"] == "tor2"] == []


@isolated
async def test_what_was_not_acknowledged_is_not_forgotten() -> None:
    with neighbors(1), file_of(1) as file:
        with_web(file)
        async with program_over(file) as run:
            await run.until(lambda: WEB in run.table())
            run.answering = False
            without_web(file)
            run.process.send_signal(signal.SIGHUP)
            await run.until(lambda: f"withdraw route {WEB}" in " ".join(run.routes()))
            run.process.terminate()
            assert await run.ends() == 0
        assert WEB in remembered(file)


@isolated
async def test_a_state_that_makes_no_sense_is_said_and_written_anew() -> None:
    with neighbors(1), file_of(1) as file:
        state = file.with_name("bgphealth.routes.json")
        state.write_text('{"version": 1, "routes": [{"prefix": "192.0.2.1/33"}]}')
        async with program_over(file) as run:
            await run.until(lambda: run.events("started"))
            assert len(run.events("state_ignored")) == 1
            assert "192.0.2.53/32" in remembered(file)


@isolated
async def test_without_its_directories_it_says_so_and_works() -> None:
    nowhere = {"STATE_DIRECTORY": "/proc/nowhere", "RUNTIME_DIRECTORY": "/proc/nowhere"}
    with neighbors(2), file_of() as file:
        async with program_over(file, environment=nowhere) as run:
            await run.until(lambda: is_up(run))
            assert len(run.events("state_not_kept")) == 1


@isolated
async def test_a_dry_run_writes_nothing() -> None:
    with neighbors(2), file_of() as file:
        async with program_over(file, "--dry-run") as run:
            await run.until(lambda: is_up(run))
            assert list(file.parent.iterdir()) == [file]


@isolated
async def test_a_file_that_is_wrong_at_the_start_is_waited_for() -> None:
    with neighbors(2), file_of() as file:
        edit(file, "mode: frr", "mode: fr")
        async with program_over(file) as run:
            await run.until(lambda: run.events("file_refused"))
            assert ":2: mode: " in str(run.events("file_refused")[0]["problems"])
            # Replies and events of ExaBGP must be read all the same.
            run.reply(b"neighbor 127.0.0.1 connected\n" * 25_000 + b"neighbor 127.0.0.1 up\n")
            assert run.process.stdin is not None
            async with asyncio.timeout(20):
                await run.process.stdin.drain()
            assert run.commands == []
            edit(file, "mode: fr\n", "mode: frr\n")
            await run.until(lambda: is_up(run))
            assert len(run.events("neighbor_up")) == 1


@isolated
async def test_waiting_for_a_file_ends_with_a_signal_and_with_exabgp() -> None:
    with file_of() as file:
        file.write_text("nonsense")
        for end in ("signal", "pipe"):
            async with program_over(file) as run:
                await run.until(lambda: run.events("file_refused"))
                if end == "signal":
                    run.process.terminate()
                else:
                    assert run.process.stdin is not None
                    run.process.stdin.close()
                assert await run.ends(within_s=2) == 0


@isolated
async def test_sighup_follows_the_file() -> None:
    with neighbors(2), file_of() as file:
        async with program_over(file) as run:
            await run.until(lambda: is_up(run))
            with_web(file)
            run.process.send_signal(signal.SIGHUP)
            await run.until(lambda: run.table().get(WEB) == f"announce route {WEB} {BOTH}")
            without_web(file)
            run.process.send_signal(signal.SIGHUP)
            await run.until(lambda: WEB not in run.table())
            await run.until(lambda: len(run.events("reloaded")) == 2)
            first, second = run.events("reloaded")
            assert (first["services_added"], second["services_removed"]) == (["web"], ["web"])
            assert run.events("render_needed")[0]["files"] == ["frr.conf"]
            await run.until(lambda: WEB not in remembered(file))
            # All that was said is about that one prefix.
            said = [command for command in run.routes() if command.startswith("withdraw")]
            assert len(said) == 1


@isolated
async def test_sighup_with_a_file_that_is_wrong_changes_nothing() -> None:
    with neighbors(2), file_of() as file:
        async with program_over(file) as run:
            await run.until(lambda: is_up(run))
            commands = list(run.commands)
            edit(file, "fall: 3", "fall: many")
            run.process.send_signal(signal.SIGHUP)
            await run.until(lambda: run.events("reload_refused"))
            assert "paths.fall" in str(run.events("reload_refused")[0]["problems"])
            edit(file, "fall: many", "fall: 3")
            edit(file, "asn: 65101", "asn: 65102")
            run.process.send_signal(signal.SIGHUP)
            await run.until(lambda: len(run.events("reload_refused")) == 2)
            assert "restart of ExaBGP" in str(run.events("reload_refused")[1]["problems"])
            edit(file, "asn: 65102", "asn: 65101")
            run.process.send_signal(signal.SIGHUP)
            await run.until(lambda: run.events("reloaded"))
            assert run.commands == commands
            assert run.events("render_needed") == []


@isolated
async def test_an_edited_uplink_keeps_its_routes_and_is_asked_anew() -> None:
    with neighbors(2) as (_, tor2), file_of() as file:
        async with program_over(file) as run:
            await run.until(lambda: is_up(run))
            commands = list(run.commands)
            edit(file, "eth2, ", "eth2, probe_source: 10.0.2.1, ")
            run.process.send_signal(signal.SIGHUP)
            await run.until(lambda: run.events("reloaded"))
            await run.until(
                lambda: [e for e in run.events("path_changed") if e["from"] == "init"][2:]
            )
            assert [c for c in run.commands if c not in commands] == []
            tor2.go_dark()
            await run.until(lambda: "0.0.0.0/0 0.0.0.2" not in run.table())


@isolated
async def test_an_uplink_that_leaves_the_file_leaves_nothing_behind() -> None:
    with neighbors(2), file_of() as file:
        async with program_over(file) as run:
            await run.until(lambda: is_up(run))
            whole = f"{file.read_text()}policy: {{drain_settle: 200ms}}\n"
            file.write_text(whole)
            run.process.send_signal(signal.SIGHUP)
            await run.until(lambda: run.events("reloaded"))
            file.write_text("\n".join(s for s in whole.splitlines() if "tor2:" not in s))
            run.process.send_signal(signal.SIGHUP)
            await run.until(lambda: "0.0.0.0/0 0.0.0.2" not in run.table())
            await run.until(lambda: "[65101:1]" in run.table()["192.0.2.53/32"])
            await run.until(lambda: "eth2" not in ip("rule"))
            ours = ("route", "show", "table", "all", "proto", "179", "dev", "eth2")
            await run.until(lambda: ip(*ours) == "")
            file.write_text(whole)
            run.process.send_signal(signal.SIGHUP)
            await run.until(lambda: is_up(run))
            assert "oif eth2 lookup 17902" in ip("rule")


@isolated
async def test_a_missing_interface_comes_by_itself() -> None:
    with neighbors(1), file_of(2) as file:
        async with program_over(file) as run:
            await run.until(lambda: "0.0.0.0/0 0.0.0.1" in run.table())
            tor2 = Neighbor(2)
            try:
                await run.until(lambda: is_up(run))
            finally:
                tor2.end()


@isolated
async def test_a_crash_loop_waits_and_still_obeys() -> None:
    with neighbors(1), file_of(1) as file:
        for _ in range(starts.SPARE):
            async with program_over(file) as run:
                await run.until(lambda: run.events("started"))
                run.process.kill()
        for end in ("signal", "pipe", "shutdown"):
            async with program_over(file) as run:
                await run.until(lambda: run.events("crash_loop"))
                (event,) = run.events("crash_loop")
                assert float(str(event["wait_s"])) > starts.WINDOW_S - 30
                run.reply(b"neighbor 127.0.0.1 connected\n" * 25_000)
                assert run.process.stdin is not None
                async with asyncio.timeout(20):
                    await run.process.stdin.drain()
                match end:
                    case "signal":
                        run.process.terminate()
                    case "pipe":
                        run.process.stdin.close()
                    case "shutdown":
                        run.reply(b"shutdown 1 1\n")
                assert await run.ends(within_s=2) == 0
                assert run.events("started") == []


@isolated
async def test_another_exabgp_has_no_part_in_a_crash_loop() -> None:
    with neighbors(1), file_of(1) as file:
        for _ in range(starts.SPARE):
            async with program_over(file) as run:
                await run.until(lambda: run.events("started"))
                run.process.kill()
        # The shell is its parent here.
        shell = ("sh", "-c", '"$@"; exit $?', "sh")
        async with program_over(file, wrapper=shell) as run:
            await run.until(lambda: run.events("started"))
            assert run.events("crash_loop") == []


@isolated
async def test_it_ends_when_its_parent_does_though_the_pipe_is_open() -> None:
    """The test holds the other end of the pipe, so there is never an end of file."""
    with neighbors(1), file_of(1) as file:
        fifo = file.with_name("fifo")
        os.mkfifo(fifo)
        held = os.open(fifo, os.O_RDWR)
        shell = ("sh", "-c", '"$@" <"$FIFO" & wait', "sh")
        async with program_over(file, wrapper=shell, environment={"FIFO": str(fifo)}) as run:
            await run.until(lambda: run.events("started"))
            run.process.kill()
            await run.until(lambda: run.events("stopped"))
            assert run.events("stopped")[0]["reason"] == "exabgp_gone"
        os.close(held)


class Manager:
    """The service manager's end of the notification socket."""

    def __init__(self, directory: Path, watchdog_s: float = 1.0) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"{directory}/notify")
        self.socket.setblocking(False)  # noqa: FBT003 - as the socket module has it
        self.environment = {
            "NOTIFY_SOCKET": f"{directory}/notify",
            "WATCHDOG_USEC": str(int(watchdog_s * 1e6)),
            "WATCHDOG_PID": "1",
        }
        self.messages: list[str] = []

    def heard(self) -> list[str]:
        """Everything that was said until now."""
        while True:
            try:
                self.messages += self.socket.recv(65536).decode().splitlines()
            except BlockingIOError:
                return self.messages

    async def is_fed(self, within_s: float) -> bool:
        """Whether the watchdog is fed (again) within this time."""
        self.heard()
        self.messages = [m for m in self.messages if m != "WATCHDOG=1"]
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if "WATCHDOG=1" in self.heard():
                return True
            await asyncio.sleep(0.02)
        return False


@asynccontextmanager
async def managed(file: Path, wrapper: tuple[str, ...] = ()) -> AsyncIterator[tuple[Manager, Run]]:
    """Run it under a service manager, which is told when it is ready."""
    manager = Manager(file.parent)
    environment = manager.environment
    with manager.socket:
        async with program_over(file, wrapper=wrapper, environment=environment) as run:
            await run.until(lambda: "READY=1" in manager.heard())
            yield manager, run


@isolated
async def test_the_service_manager_is_told() -> None:
    with neighbors(2) as (_, tor2), file_of() as file:
        async with managed(file) as (manager, run):
            first = manager.messages.index("READY=1")
            up = "STATUS=2 of 2 uplinks up (ipv4), 2 of 2 services announced"
            assert up in manager.messages[: first + 1]
            # The log comes through a pipe of its own, maybe later.
            await run.until(
                lambda: len([e for e in run.events("path_changed") if e["to"] == "up"]) == 2
            )
            assert await manager.is_fed(within_s=5)
            tor2.go_dark()
            wanted = "STATUS=1 of 2 uplinks up (ipv4), 2 of 2 services announced; "
            wanted += "tor2 ipv4 down: beyond_failed"
            await run.until(lambda: wanted in manager.heard())
            run.process.send_signal(signal.SIGHUP)
            await run.until(lambda: "RELOADING=1" in manager.heard())
            await run.until(lambda: manager.heard().count("READY=1") == 2)
            run.process.terminate()
            assert await run.ends() == 0
            assert "STOPPING=1" in manager.heard()


@isolated
async def test_an_uplink_that_is_not_there_does_not_hold_the_start_up() -> None:
    with neighbors(1), file_of(2) as file:
        async with managed(file):
            pass


@isolated
async def test_the_watchdog_is_fed_only_while_there_is_progress() -> None:
    with neighbors(1), file_of(1) as file:
        async with managed(file) as (manager, run):
            run.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(0.1)  # What it had sent before.
            assert not await manager.is_fed(within_s=2)
            run.process.send_signal(signal.SIGCONT)
            assert await manager.is_fed(within_s=5)
            # An ExaBGP that reads, but answers nothing.
            run.answering = False
            with_web(file)
            run.process.send_signal(signal.SIGHUP)
            await run.until(lambda: run.events("exabgp_not_answering"))
            async with asyncio.timeout(20):
                while await manager.is_fed(within_s=2):
                    pass


@isolated
async def test_a_stopped_exabgp_is_no_progress() -> None:
    """The shell is its parent here, and is stopped in ExaBGP's place."""
    with neighbors(1), file_of(1) as file:
        shell = ("sh", "-c", '"$@"; exit $?', "sh")
        async with managed(file, wrapper=shell) as (manager, run):
            run.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(1.1)  # What it had sent before.
            assert not await manager.is_fed(within_s=2)
            run.process.send_signal(signal.SIGCONT)
            assert await manager.is_fed(within_s=5)
