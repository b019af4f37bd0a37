"""Has what happens counted, and the metrics exposed where the file says; nothing where it does not.

Whatever goes wrong here, the probes go on: what cannot be listened on or written to is said in the
log, once per reason, and tried again.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from bgphealth.core.settings import MetricsSettings, Mode, Settings
from bgphealth.daemon.observer import Observer
from bgphealth.daemon.scrape import Scrape
from bgphealth.daemon.snapshot import Known
from bgphealth.daemon.textfile import Textfile
from bgphealth.frr import setup
from bgphealth.frr.state import Vtysh

FRESH_S = 1.0
"""How old what is answered may be: who asks more often gets the same again."""

RETRY_S = 10.0
"""How soon to begin again after a mistake of our own."""

TICK_S = 0.25
"""How often the loop's lag is measured."""

_RELEASE_S = 600.0
"""How often FRR is asked for its version."""


class Watched(Protocol):
    """A run of the program, as far as it is looked at."""

    observer: Observer | None

    @property
    def settings(self) -> Settings:
        """The file as it counts now."""

    @property
    def known(self) -> Known:
        """All that is known of it at this moment."""


class Metrics:
    """The metrics of one run."""

    def __init__(self, program: Watched, log: FilteringBoundLogger) -> None:
        self._program = program
        self._log = log
        self._changed = asyncio.Event()
        self._frr = ""
        self._rendering: asyncio.Task[bytes] | None = None
        self._began_at = 0.0
        self._follow(program.settings.metrics)

    def configure(self, settings: Settings) -> None:
        """Go on with another file, once it counts."""
        self._changed.set()
        if self._program.observer is not None:
            self._program.observer.configure(settings)

    async def run(self) -> None:
        """Expose them until cancelled."""
        while True:
            self._changed.clear()
            metrics = self._program.settings.metrics
            self._follow(metrics)
            exposing = asyncio.create_task(self._keep_exposing(metrics))
            try:
                while metrics == self._program.settings.metrics:
                    await self._changed.wait()
                    self._changed.clear()
            finally:
                exposing.cancel()
                await asyncio.wait({exposing})

    def _follow(self, metrics: MetricsSettings | None) -> None:
        """Have what happens counted, if anybody reads it."""
        if metrics is None:
            self._program.observer = None
        elif self._program.observer is None:
            self._program.observer = Observer()

    async def _keep_exposing(self, metrics: MetricsSettings | None) -> None:
        while True:
            try:
                await self._expose(metrics)
            except Exception:  # noqa: BLE001 - whatever it is, it ends here
                # A mistake of ours in counting is none in steering.
                self._log.exception("metrics_failed")
                await asyncio.sleep(RETRY_S)
            else:
                return  # There is nothing to expose.

    async def _expose(self, metrics: MetricsSettings | None) -> None:
        observer = self._program.observer
        if metrics is None or observer is None:
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(_watch_lag(observer))
            if self._program.settings.mode is Mode.FRR:
                group.create_task(self._watch_release())
            if metrics.listen is not None:
                group.create_task(Scrape(metrics.listen, self._text, self._log).serve())
            if metrics.textfile is not None:
                textfile = Textfile(metrics.textfile, self._text, self._log)
                group.create_task(textfile.keep(metrics.interval_s))

    async def _text(self) -> bytes:
        """Return the metrics as they were at most `FRESH_S` ago; one for all who ask at a time."""
        now = asyncio.get_running_loop().time()
        if self._rendering is None or (self._rendering.done() and now - self._began_at >= FRESH_S):
            self._began_at = now
            self._rendering = asyncio.create_task(self._render())
        # One who gives up must not take it from the others.
        rendering = self._rendering
        text = await asyncio.shield(rendering)
        # With many services it is large, and nobody needs it any more after that.
        asyncio.get_running_loop().call_later(FRESH_S, self._forget, rendering)
        return text

    def _forget(self, rendering: asyncio.Task[bytes]) -> None:
        if self._rendering is rendering:
            self._rendering = None

    async def _render(self) -> bytes:
        # Here, so that who has no metrics need not have their library in memory.
        from bgphealth.daemon import exposition  # noqa: PLC0415

        observer = self._program.observer or Observer()
        return await exposition.render(self._program.known, observer, self._frr)

    async def _watch_release(self) -> None:
        while True:
            self._frr = await setup.release(Vtysh()) or self._frr
            await asyncio.sleep(_RELEASE_S)


async def _watch_lag(observer: Observer) -> None:
    """Measure how late the loop comes to what is due."""
    loop = asyncio.get_running_loop()
    while True:
        due_at = loop.time() + TICK_S
        await asyncio.sleep(TICK_S)
        observer.lags.add(max(0.0, loop.time() - due_at))
