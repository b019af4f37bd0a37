"""The program that runs under ExaBGP.

Probes and the kernel post events; `_post` alone owns the engine's state and calls `step`, for one
event after the other; the driver gets the full set of intents. All of it runs on one event loop, so
there are no locks.
"""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import BinaryIO, NamedTuple, TextIO

from structlog.typing import FilteringBoundLogger

from bgphealth.core import engine, policy
from bgphealth.core.events import Event, LinkChanged, Started
from bgphealth.core.health import PathKey
from bgphealth.core.settings import Address, Settings
from bgphealth.daemon.probing import Probing
from bgphealth.daemon.questions import KernelView
from bgphealth.daemon.reporting import Reporter
from bgphealth.exabgp import pipe
from bgphealth.exabgp.commands import PING
from bgphealth.exabgp.driver import Driver, DriverEvent, ShutdownNotice
from bgphealth.fallback.watch import Sources, UplinkWatch


class _Steered(NamedTuple):
    """What decisions are handed to."""

    driver: Driver
    probing: Probing


class Program:
    """One run of the program over one file. Needs a running event loop."""

    def __init__(self, settings: Settings, log: FilteringBoundLogger) -> None:
        self._settings = settings
        self._log = log
        self._reporter = Reporter(log)
        self._loop = asyncio.get_running_loop()
        self._state = engine.initial(settings)
        self._events: deque[Event] = deque()
        self._steered: _Steered | None = None
        self._deciding = False
        self._links: Mapping[str, bool] = {}
        self._sources = Sources({}, {}, {})
        self._stop_reason: asyncio.Future[str] = self._loop.create_future()
        self._watch = self._watch_uplinks(settings)

    async def run(self, stdin: BinaryIO, stdout: BinaryIO) -> None:
        """Run under ExaBGP until it goes away or a signal says so.

        Raises:
            ConfigurationError, HostError, PermissionDeniedError: the host is not as the file says.
        """
        await self._watch.start()
        writer = pipe.Writer()
        driver = Driver(writer.write, policy.owned(self._settings), self._driver_event)
        await pipe.connect(stdin, stdout, writer, driver.received, self._exabgp_gone)
        try:
            await self._serve(driver)
        finally:
            writer.close()

    async def dry_run(self, stdout: TextIO) -> None:
        """Probe and decide, print what would be sent, and touch nothing."""
        settings = self._settings
        read_only = replace(settings, fallback=replace(settings.fallback, enabled=False))
        self._watch = self._watch_uplinks(read_only)
        await self._watch.start()

        async def write(data: bytes) -> None:
            for line in data.decode("ascii").splitlines():
                if line == PING:
                    driver.received("exabgp dry-run")
                else:
                    stdout.write(f"{line}\n")
                driver.received("done")
            stdout.flush()

        driver = Driver(write, frozenset(), self._driver_event)
        await self._serve(driver)

    async def _serve(self, driver: Driver) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop, signal.Signals(number).name)
        kernel = KernelView(self._source, self._on_link, self._link)
        probing = Probing(self._settings, kernel, self._post)
        self._steered = _Steered(driver, probing)
        self._post(Started(self._loop.time()))
        self._log.info("started", uplinks=[u.name for u in self._settings.uplinks])
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(driver.run()),
                    group.create_task(self._watch.run()),
                ]
                reason = await self._stop_reason
                self._log.info("stopped", reason=reason)
                for task in tasks:
                    task.cancel()
        finally:
            probing.close()

    def _post(self, event: Event) -> None:
        """Take an event; decide at once, one event after the other."""
        self._events.append(event)
        if self._steered is None or self._deciding:
            return
        self._deciding = True
        try:
            while self._events:
                self._decide(self._events.popleft(), self._steered)
        except Exception as error:  # noqa: BLE001 - raised where the program waits
            # A mistake of ours: end loudly rather than go on with half a decision.
            if not self._stop_reason.done():
                self._stop_reason.set_exception(error)
        finally:
            self._deciding = False

    def _decide(self, event: Event, steered: _Steered) -> None:
        self._reporter.answer(event)
        self._state, effects = engine.step(self._state, event)
        for effect in effects:
            self._reporter.effect(effect)
            match effect:
                case engine.IntentsChanged(intents=intents, undecided=undecided):
                    steered.driver.want(intents, undecided)
                case engine.PaceChanged(path=path, suspect=suspect):
                    steered.probing.pace(path, suspect=suspect)

    def _source(self, path: PathKey) -> Address | str:
        return self._sources.of(path)

    def _on_link(self, path: PathKey) -> Address | str:
        return self._sources.on_link(path)

    def _link(self, uplink: str) -> bool | None:
        return self._links.get(uplink)

    def _watch_uplinks(self, settings: Settings) -> UplinkWatch:
        return UplinkWatch(settings, self._links_seen, self._sources_seen, self._reporter.kernel)

    def _links_seen(self, links: Mapping[str, bool]) -> None:
        for uplink, up in links.items():
            if self._links.get(uplink, True) != up:
                self._post(LinkChanged(self._loop.time(), uplink, up))
        self._links = links

    def _sources_seen(self, sources: Sources) -> None:
        self._reporter.sources(sources)
        self._sources = sources

    def _driver_event(self, event: DriverEvent) -> None:
        self._reporter.driver(event)
        if isinstance(event, ShutdownNotice):
            self._stop("exabgp_shutdown")

    def _exabgp_gone(self) -> None:
        self._stop("exabgp_gone")

    def _stop(self, reason: str) -> None:
        if not self._stop_reason.done():
            self._stop_reason.set_result(reason)
