"""The life of the process under ExaBGP, from the first byte on its pipe to the last; or alone.

Whatever happens, ExaBGP must neither be frozen by unread replies nor ended by a helper that keeps
dying. So the pipe is read from the beginning, a start that comes too soon after others waits, and a
file that is wrong is waited for, not died of: what was announced stays announced meanwhile.

In local mode there is no ExaBGP: the service manager starts the program, and signals end it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from structlog.typing import FilteringBoundLogger

from bgphealth import trust
from bgphealth.core.errors import BgphealthError, ConfigurationError
from bgphealth.core.settings import Mode, Settings
from bgphealth.daemon import draining, loading, looking, places, recent, rechecking, starts
from bgphealth.daemon.control import Control
from bgphealth.daemon.drained import DrainMemory
from bgphealth.daemon.endpoints import EndpointMemory
from bgphealth.daemon.lifeline import Lifeline
from bgphealth.daemon.metrics import Metrics
from bgphealth.daemon.notify import Notifier
from bgphealth.daemon.operator import Operator
from bgphealth.daemon.peers import Rights
from bgphealth.daemon.program import Program
from bgphealth.daemon.recent import Recent
from bgphealth.daemon.recorder import Recorder
from bgphealth.daemon.reloading import Reloader
from bgphealth.daemon.remembered import Remembered
from bgphealth.fallback.mptcp import EndpointKeeper

READY_S = 30.0
"""The service manager is told after this time that the start is over, whatever is missing."""

_LOOK_S = 1.0
"""How often to look at a wrong file, and how often the watchdog is fed at least."""


async def dry_run(
    settings: Settings, log: FilteringBoundLogger, stdout: TextIO, recorder: Recorder | None
) -> None:
    """Probe, decide and print until a signal comes; write nothing but a recording."""
    reason = await Lifeline().hold(Program(settings, log, recorder).dry_run(stdout))
    log.info("stopped", reason=reason)


class Life:
    """One run over one file. Needs a running event loop."""

    def __init__(
        self,
        file: Path,
        log: FilteringBoundLogger,
        recorder: Recorder | None = None,
        kept: Recent | None = None,
    ) -> None:
        self._file = file
        self._log = log
        self._recorder = recorder
        self._recent = kept or Recent()
        self._load = loading.load if recorder is None else recorder.load
        self._lifeline = Lifeline()
        self._notifier = Notifier()
        self._program: Program | None = None
        self._is_alone = False

    async def run(self, stdin: BinaryIO, stdout: BinaryIO) -> None:
        """Run until ExaBGP goes away or a signal says so."""
        await self._lifeline.connect(stdin, stdout)
        try:
            await self._hold(self._live())
        finally:
            self._lifeline.writer.close()

    async def run_alone(self) -> None:
        """Run in local mode until a signal says so."""
        self._is_alone = True
        self._lifeline.follow_reloads()
        await self._hold(self._live_alone())

    async def _hold(self, work: Coroutine[Any, Any, None]) -> None:
        pid_file = self._write_pid()
        try:
            reason = await self._lifeline.hold(work)
            if self._is_alone:
                # Below ExaBGP the service goes on, with the next bgphealth; systemd, told
                # otherwise, would wait for its end and then kill it.
                self._notifier.stopping()
            self._log.info("stopped", reason=reason)
        finally:
            with suppress(OSError):
                if pid_file.read_text(encoding="ascii") == f"{os.getpid()}\n":
                    pid_file.unlink()

    async def _live_alone(self) -> None:
        beating = asyncio.create_task(self._beat())
        try:
            await self._steer(await self._first_good_file())
        finally:
            beating.cancel()

    async def _live(self) -> None:
        start = await asyncio.to_thread(starts.note, self._start_files())
        beating = asyncio.create_task(self._beat())
        try:
            if start.wait_s:
                self._log.error("crash_loop", starts=start.recent, wait_s=round(start.wait_s, 1))
                self._notifier.status(f"waiting: started {start.recent} times within a minute")
                await asyncio.sleep(start.wait_s)
            await self._steer(await self._first_good_file())
        except Exception:
            if start.is_noted:
                raise
            # Nothing can be written down: the only way not to die too often is to die late.
            self._log.exception("crashed", wait_s=starts.LINGER_S)
            await asyncio.sleep(starts.LINGER_S)
            raise
        finally:
            beating.cancel()

    def _start_files(self) -> list[Path]:
        state = places.state_file(self._file)
        runtime = places.runtime_file(self._file, "starts")
        return [runtime, state.with_name(runtime.name)]

    async def _first_good_file(self) -> Settings:
        """Return the file as soon as it is right; ExaBGP keeps what it has until then."""
        said: list[str] = []
        while True:
            looked = _signature(self._file)
            self._lifeline.reload.clear()
            try:
                settings = await asyncio.to_thread(self._load, self._file)
                self._require_place(settings)
            except BgphealthError as error:
                if said != (said := str(error).splitlines()):
                    self._log.error("file_refused", file=str(self._file), problems=said)
                    self._notifier.status(f"waiting: {said[0]}")
            else:
                return settings
            while looked == _signature(self._file) and not self._lifeline.reload.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._lifeline.reload.wait(), _LOOK_S)

    def _require_place(self, settings: Settings) -> None:
        """Raise `ConfigurationError` where the mode cannot be done from where we were started."""
        if (settings.mode is Mode.LOCAL) is self._is_alone:
            return
        place = "ExaBGP, which starts bgphealth" if self._is_alone else "no ExaBGP around it"
        raise ConfigurationError(
            f"{self._file}: mode {settings.mode} needs {place}: 'bgphealth render all -o DIR' "
            "writes the units and configurations for it"
        )

    async def _look_who_can_change(self, settings: Settings) -> None:
        """Say what of what we do is in the hands of others, each time that the file is read."""

        def look() -> list[str]:
            return list(trust.writable_by_others(self._file, settings, {os.geteuid()}))

        for said in await asyncio.to_thread(look):
            self._log.warning("writable_by_others", what=said)

    async def _steer(self, settings: Settings) -> None:
        await self._look_who_can_change(settings)
        program = self._program = Program(settings, self._log, self._recorder)
        program.notifier = self._notifier
        program.endpoints = self._endpoints()
        drained = DrainMemory(places.state_file(self._file, "drains"), self._log)
        metrics = Metrics(program, self._log)
        reloader = Reloader(
            self._file,
            self._load,
            program,
            signalled=self._lifeline.reload,
            notifier=self._notifier,
            log=self._log,
        )
        operator = Operator(
            draining.commands(program),
            looking.commands(program, str(self._file.absolute())),
            reloader.commands(),
            rechecking.commands(program),
            recent.commands(self._recent, lambda: program.state),
        )
        socket = places.control_socket(self._file, settings)
        control = Control(socket, operator, self._log, Rights.of(settings))

        async def configure(after: Settings) -> None:
            await control.configure(Rights.of(after))
            metrics.configure(after)
            await self._look_who_can_change(after)

        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen(program, control))
            group.create_task(metrics.run())
            if self._is_alone:
                group.create_task(program.run_alone(drained))
            else:
                remembered = Remembered(places.state_file(self._file), self._log)
                group.create_task(program.run(self._lifeline, remembered, drained))
            group.create_task(reloader.run(configure))

    def _endpoints(self) -> EndpointKeeper:
        memory = EndpointMemory(places.state_file(self._file, "endpoints"), self._log)
        return EndpointKeeper(memory.load(), memory.keep)

    async def _listen(self, program: Program, control: Control) -> None:
        await program.serves.wait()
        # Without it, clients have to read the file: slower, and no worse.
        with suppress(OSError):
            places.note_socket(self._file, places.control_socket(self._file, program.settings))
        await control.serve()

    async def _beat(self) -> None:
        """Feed the watchdog for as long as there is progress, and no longer."""
        ready_at = asyncio.get_running_loop().time() + READY_S
        beat_s = min(_LOOK_S, (self._notifier.watchdog_s or 2 * _LOOK_S) / 2)
        while True:
            progress = self._program is None or self._program.makes_progress()
            if progress and not self._lifeline.exabgp_is_stopped:
                self._notifier.watchdog()
            if asyncio.get_running_loop().time() >= ready_at:
                self._notifier.ready()
            await asyncio.sleep(beat_s)

    def _write_pid(self) -> Path:
        """Write down whom to send SIGHUP to; without that file, it has to be looked up."""
        file = places.runtime_file(self._file, "pid")
        with suppress(OSError):
            places.replace_file(file, f"{os.getpid()}\n")
        return file


def _signature(file: Path) -> object:
    """Return what changes when a file does; a missing one has a signature of its own."""
    try:
        found = file.stat()
    except OSError as error:
        return error.errno
    return found.st_ino, found.st_size, found.st_mtime_ns
