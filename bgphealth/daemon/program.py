"""The program that runs under ExaBGP.

Probes and the kernel post events; `_post` alone owns the engine's state and calls `step`, for one
event after the other; the driver gets the full set of intents. All of it runs on one event loop, so
there are no locks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Set
from dataclasses import replace
from functools import partial
from ipaddress import ip_network
from time import time
from typing import NamedTuple, TextIO

from structlog.typing import FilteringBoundLogger

from bgphealth.core import engine, fallback_order, policy
from bgphealth.core.addresses import AddressesChanged
from bgphealth.core.drain import DrainEnded, DrainStarted, Leg
from bgphealth.core.errors import BgphealthError
from bgphealth.core.events import (
    AddressWithdrawn,
    Drained,
    Event,
    LinkChanged,
    PathProbed,
    ServiceChecked,
    Settled,
    Started,
    TimePassed,
)
from bgphealth.core.health import PathKey
from bgphealth.core.intents import RouteKey
from bgphealth.core.orders import Target, What
from bgphealth.core.reasons import Reason
from bgphealth.core.reconcile import Withdraw
from bgphealth.core.reconfigure import reconfigure
from bgphealth.core.settings import Address, Mode, Prefix, Settings
from bgphealth.core.state import AlternativesWanted, Effect, IntentsChanged, PaceChanged, State
from bgphealth.daemon import standing
from bgphealth.daemon.alone import Aloud, LocalReporter, Nobody, Speaker
from bgphealth.daemon.alternatives import AlternativesWatch, Healthy, trusted
from bgphealth.daemon.closed_loop import ClosedLoop, Lookups, Remedies
from bgphealth.daemon.drained import DrainMemory
from bgphealth.daemon.held import HeldAddresses
from bgphealth.daemon.history import History
from bgphealth.daemon.lifeline import Lifeline
from bgphealth.daemon.notify import Notifier
from bgphealth.daemon.observer import Observer
from bgphealth.daemon.probing import Now, Probing
from bgphealth.daemon.questions import KernelView
from bgphealth.daemon.recorder import Recorder
from bgphealth.daemon.remembered import Remembered
from bgphealth.daemon.reporting import Reporter
from bgphealth.daemon.snapshot import Defaults, Known, Told
from bgphealth.exabgp.commands import PING
from bgphealth.exabgp.driver import Acknowledged, Driver, DriverEvent, Refused
from bgphealth.fallback import leftovers
from bgphealth.fallback.conntrack import Flusher
from bgphealth.fallback.defaults import kernel_defaults
from bgphealth.fallback.mptcp import EndpointKeeper
from bgphealth.fallback.netlink import Netlink
from bgphealth.fallback.tables import Applied
from bgphealth.fallback.watch import Sources, UplinkWatch
from bgphealth.frr.alternatives import alternatives
from bgphealth.frr.routes import injected
from bgphealth.frr.state import Vtysh

LATE_S = 5.0
"""How long ExaBGP may leave anything unanswered before there is no progress any more."""

_PATIENCE = 3
_SETTLES = 6
_SLACK_S = 2.0


class _Steered(NamedTuple):
    """What decisions are handed to."""

    driver: Speaker
    probing: Probing


class Program:
    """One run of the program. Needs a running event loop."""

    def __init__(
        self, settings: Settings, log: FilteringBoundLogger, recorder: Recorder | None = None
    ) -> None:
        self._settings = settings
        self._log = log
        self._recorder = recorder
        self._reporter = Reporter(log)
        if settings.mode is Mode.LOCAL:
            self._reporter = LocalReporter(log, lambda: self._settings)
        self._loop = asyncio.get_running_loop()
        self._state = engine.initial(settings)
        self.history = History(self._loop.time())
        """Since when things are as they are, and what became of the last reload."""
        self._events: deque[Event] = deque()
        self._steered: _Steered | None = None
        self._closed_loop: ClosedLoop | None = None
        self._alternatives = AlternativesWatch(self._who_else, self._post)
        self._deciding = False
        self._links: Mapping[str, bool] = {}
        self._sources = Sources({}, {}, {})
        report = self._reporter.addresses
        self._held = HeldAddresses(settings, self._post, report, self._loop.time)
        self._broken: asyncio.Future[None] = self._loop.create_future()
        self._watch = self._watch_uplinks(settings)
        self._watching: asyncio.Task[None]
        self._group: asyncio.TaskGroup
        self._remembered: Remembered | None = None
        self._drain_memory: DrainMemory | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._owned: Set[RouteKey] = policy.owned(settings)
        self._leaving: set[RouteKey] = set()
        self._to_remember = asyncio.Event()
        self._saving = asyncio.Lock()
        self._answered_at = self._loop.time()
        self.serves = asyncio.Event()
        """Set once the engine has taken what an earlier run left, and takes what is asked of it."""
        self.notifier: Notifier | None = None
        """Who hears how it goes, if anybody."""
        self.endpoints: EndpointKeeper | None = None
        """Who keeps the MPTCP endpoints, if anybody; to be given before it runs."""
        self.observer: Observer | None = None
        """Who counts what happens, if anybody."""

    @property
    def settings(self) -> Settings:
        """The file as it counts now."""
        return self._settings

    @property
    def state(self) -> State:
        """What the engine knows."""
        return self._state

    @property
    def now(self) -> float:
        """The clock of the events."""
        return self._loop.time()

    def asked(self, thing: str | None) -> list[Now]:
        """Return what can be asked now of an uplink or a service, or of all there is."""
        return [] if self._steered is None else self._steered.probing.now(thing)

    @property
    def known(self) -> Known:
        """All that is known at this moment."""
        paths, seen = self._state.paths, self._closed_loop
        driver = None if self._steered is None else self._steered.driver
        return Known(
            now=self.now,
            wall=time(),
            state=self._state,
            times=self.history.times,
            told=Told.of(driver) if isinstance(driver, Driver) else None,
            truth=None if seen is None else seen.truth,
            defaults=Defaults({}, {}) if seen is None else Defaults(seen.tiers, seen.defaults),
            troubles=self._reporter.troubles,
            source_of={path: self._sources.on_link(path) for path in paths},
            gateway_of={path: self._sources.gateway(path) for path in paths},
        )

    def post(self, event: Event) -> None:
        """Have the engine take an event; what it decides is under way when this returns."""
        self._post(event)

    async def run(self, life: Lifeline, remembered: Remembered, drained: DrainMemory) -> None:
        """Run under ExaBGP until cancelled."""
        self._held.keep()
        self._watch.endpoints = self.endpoints
        await self._watch.start()
        self._remembered = remembered
        self._remember_drains(drained)
        # An address of ours stays until it is certain that nothing is announced for it.
        ours = {RouteKey(ip_network(address)) for address in self._held.left}
        left = (remembered.load() | ours) - self._owned
        self._leaving |= left
        # Before anything is announced: what is announced must be known to be ours.
        self._save()
        driver = Driver(life.writer.write, self._owned | left, self._driver_event)
        life.listen(driver.received)
        if self._settings.mode is Mode.FRR:
            self._closed_loop = ClosedLoop(
                self._settings,
                self._owned | left,
                Lookups(partial(injected, Vtysh()), kernel_defaults),
                Remedies(driver.doubt, driver.refresh, self._tell_standing),
                self._log,
            )
        for key in sorted(left, key=str):
            at, reason = self._loop.time(), str(Reason.NOT_IN_FILE)
            self._log.info("withdraw", at=at, route=str(key), reason=reason)
        await self._serve(driver)

    async def run_alone(self, drained: DrainMemory) -> None:
        """Run in local mode, where nobody is told of anything, until cancelled."""
        self._watch.endpoints = self.endpoints
        await self._watch.start()
        self._remember_drains(drained)
        await self._serve(Nobody())

    async def dry_run(self, stdout: TextIO) -> None:
        """Probe and decide, print what would be sent, and touch nothing, until cancelled.

        Raises:
            ConfigurationError: an interface does not exist.
        """
        settings = self._settings
        read_only = replace(settings, fallback=replace(settings.fallback, enabled=False))
        self._watch = self._watch_uplinks(read_only)
        await self._watch.require()
        await self._watch.start()
        if settings.mode is Mode.LOCAL:
            await self._serve(Aloud(settings, stdout))
            return

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

    async def reload(self, settings: Settings) -> None:
        """Go on with another file, once started. What it does not change goes on undisturbed."""
        await self.serves.wait()
        if self._steered is None or settings == self._settings:
            return
        await self._drain_first({u.name for u in self._settings.uplinks}, settings)
        before, self._settings = self._settings, settings
        driver = self._steered.driver
        owned_before, self._owned = self._owned, policy.owned(settings)
        self._leaving = (self._leaving | owned_before) - self._owned
        # Before anything is announced: what is announced must be known to be ours.
        await self._save_aside()
        # What was acknowledged meanwhile was asked for before: nothing has left by that.
        self._leaving |= owned_before - self._owned
        probing = self._steered.probing
        # Before the engine knows: an answer about the old interface is none about the new one.
        left = probing.leave(settings)
        # Whether they are there must be known before they are announced.
        self._held.configure(settings)
        at = self._loop.time()
        if self._recorder is not None:
            self._recorder.reconfigured(at, settings)
        asked_before = self._state
        self._state, effects = reconfigure(self._state, settings, at)
        self._take(effects, self._steered)
        # What has left the file was in the effects once more.
        self.history.reloaded(at, asked_before, self._state)
        if self._closed_loop is not None:
            self._closed_loop.configure(settings, self._owned)
        # New ones are asserted as soon as they are decided, like all that is ours at a start.
        driver.doubt(owned_before ^ self._owned)
        if _watched(before) != _watched(settings):
            await self._watch_others(before)
        probing.begin(settings)
        for path in self._state.suspects & left:
            probing.pace(path, suspect=True)
        for path in asked_before.suspects - self._state.suspects:
            probing.pace(path, suspect=False)
        self._answered_at = self._loop.time()
        self._set_timer()
        self._tell_standing()

    async def _drain_first(self, uplinks: Set[str], settings: Settings) -> None:
        """Have the traffic of what leaves the file leave first, and then its routes.

        What was drained before and has settled is not waited for, nor what no drain can relieve.
        """
        leaving = sorted(uplinks - {uplink.name for uplink in settings.uplinks})
        settle_s = self._settings.drain_settle_s
        if not leaving or not settle_s:
            return
        now = self._loop.time()
        for name in leaving:
            if Target(What.UPLINK, name) not in self._state.drains.orders:
                # Not for good: a restart with the file as it was must not find it drained.
                until = now + _SETTLES * settle_s
                self._post(Drained(now, What.UPLINK, name, now, until, forced=False))
        settling = self._state.drains.settling.items()
        settled = [
            s.settled_at for leg, s in settling if isinstance(leg, Leg) and leg.uplink in leaving
        ]
        await asyncio.sleep(max(settled, default=now) - now)

    async def keep_drains(self) -> bool:
        """Write down what is drained; return whether that was possible."""
        # A slow disk must not stop the probes.
        async with self._saving:
            return await asyncio.to_thread(self._save_drains)

    def makes_progress(self, late_s: float = LATE_S) -> bool:
        """Tell whether probes are answered or time out, and ExaBGP answers in time."""
        if self._steered is None:
            return True
        silent_s = self._loop.time() - self._answered_at
        return silent_s < silence_s(self._settings) and self._steered.driver.late_s < late_s

    async def _serve(self, driver: Speaker) -> None:
        probing = Probing(self._settings, self._kernel, self._post)
        self._steered = _Steered(driver, probing)
        if self._recorder is not None:
            self._recorder.begin(self._settings)
        self._post(Started(self._loop.time()))
        self._loop.call_later(engine.settling_s(self._settings), self._settled)
        self._log.info("started", uplinks=[u.name for u in self._settings.uplinks])
        try:
            async with asyncio.TaskGroup() as self._group:
                self._group.create_task(driver.run())
                self._group.create_task(self._remember())
                self._group.create_task(self._alternatives.run())
                if self._closed_loop is not None:
                    self._group.create_task(self._closed_loop.run())
                self._watching = self._group.create_task(self._watch.run())
                self.serves.set()
                await self._broken
        finally:
            self._steered.probing.close()
            self._steered = None
            if self._timer is not None:
                self._timer.cancel()
            self._save()
            self._save_drains()
            if self._recorder is not None:
                self._recorder.close()

    def _remember_drains(self, drained: DrainMemory) -> None:
        for target, order in drained.load(self.now).items():
            self._post(Drained(self.now, *target, order.since, order.until, order.forced))
        self._drain_memory = drained

    @property
    def _kernel(self) -> KernelView:
        return KernelView(self._source, self._on_link, self._gateway, self._link)

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
            if not self._broken.done():
                self._broken.set_exception(error)
        finally:
            self._deciding = False

    def _decide(self, event: Event, steered: _Steered) -> None:
        if isinstance(event, PathProbed | ServiceChecked):
            self._answered_at = event.at
        if self._recorder is not None:
            self._recorder.record(event)
        self._reporter.answer(event)
        if self.observer is not None:
            self.observer.answer(event)
        self._state, effects = engine.step(self._state, event)
        if effects:
            self._take(effects, steered)
            self._set_timer()
            self._tell_standing()

    def _set_timer(self) -> None:
        """Tell the engine how late it is when it wants to know."""
        at = self._state.next_at
        if self._timer is not None:
            if self._timer.when() == at and not self._timer.cancelled():
                return
            self._timer.cancel()
        # A timer may come a clock tick early.
        self._timer = None if at is None else self._loop.call_at(at, self._time_passed, at)

    def _time_passed(self, at: float) -> None:
        self._timer = None
        self._post(TimePassed(max(at, self._loop.time())))
        self._set_timer()

    def _take(self, effects: tuple[Effect, ...], steered: _Steered) -> None:
        for effect in effects:
            self._reporter.effect(effect)
            self.history.effect(effect)
            if self.observer is not None:
                self.observer.effect(effect)
            match effect:
                case IntentsChanged(intents=intents, undecided=undecided):
                    steered.driver.want(intents, undecided)
                case PaceChanged(path=path, suspect=suspect):
                    steered.probing.pace(path, suspect=suspect)
                case AddressesChanged(wanted=wanted, unwanted=unwanted):
                    self._held.keeper.want(wanted, unwanted)
                    self._watch.look_soon()
                case AlternativesWanted(prefixes=prefixes):
                    self._alternatives.want(prefixes)
                case DrainStarted() | DrainEnded():
                    self._to_remember.set()
        self._order_fallback(self._watch)

    async def _who_else(self, prefixes: tuple[Prefix, ...]) -> Healthy | str:
        state = self._state
        router_id = state.settings.host.router_id
        return await alternatives(Vtysh(), prefixes, trusted(state), router_id)

    def _settled(self) -> None:
        self._post(Settled(self._loop.time()))

    def _tell_standing(self) -> None:
        if self.notifier is not None:
            seen = self._closed_loop
            known = () if seen is None else (seen.drifts, seen.tiers)
            self.notifier.status(standing.in_words(self._state, *known))
            if standing.is_decided(self._state):
                self.notifier.ready()

    def _save(self) -> None:
        if self._remembered is not None:
            self._remembered.save(self._owned | self._leaving)

    def _save_drains(self) -> bool:
        memory, orders = self._drain_memory, self._state.drains.orders
        return memory is not None and memory.keep(orders, self._loop.time())

    async def _save_aside(self) -> None:
        # A slow disk must not stop the probes.
        async with self._saving:
            await asyncio.to_thread(self._save)

    async def _remember(self) -> None:
        while True:
            await self._to_remember.wait()
            self._to_remember.clear()
            await self._save_aside()
            await self.keep_drains()

    def _source(self, path: PathKey) -> Address | str:
        return self._sources.of(path)

    def _on_link(self, path: PathKey) -> Address | str:
        return self._sources.on_link(path)

    def _gateway(self, path: PathKey) -> Address | str:
        return self._sources.gateway(path)

    def _link(self, uplink: str) -> bool | None:
        return self._links.get(uplink)

    def _watch_uplinks(self, settings: Settings) -> UplinkWatch:
        told = (self._links_seen, self._sources_seen, self._applied)
        watch = UplinkWatch(settings, *told, self._held.keeper)
        if settings.flush_conntrack:
            watch.flusher = Flusher(settings, self._reporter.flushed)
        self._order_fallback(watch)
        return watch

    def _order_fallback(self, watch: UplinkWatch) -> None:
        state = self._state
        watch.order(fallback_order.ranks(state.settings, engine.verdicts_of(state)))

    async def _watch_others(self, before: Settings) -> None:
        """Follow the uplinks of the file as it is now, and leave nothing of the others."""
        self._watching.cancel()
        await asyncio.wait({self._watching})
        try:
            async with Netlink() as netlink:
                done = await leftovers.remove(before, self._settings, netlink)
        except BgphealthError as error:
            failed = {uplink.name: error for uplink in before.uplinks}
            self._applied(Applied((), failed))
        else:
            self._applied(Applied(tuple(done), {}))
        self._links = {}
        known = self._watch.flusher
        self._watch = self._watch_uplinks(self._settings)
        if known is not None and self._watch.flusher is not None:
            self._watch.flusher.follow(known)
        self._watch.endpoints = self.endpoints
        await self._watch.start()
        self._watching = self._group.create_task(self._watch.run())

    def _links_seen(self, links: Mapping[str, bool]) -> None:
        for uplink, up in links.items():
            if self._links.get(uplink) != up:
                self._post(LinkChanged(self._loop.time(), uplink, up))
        self._links = links

    def _sources_seen(self, sources: Sources) -> None:
        self._reporter.sources(sources)
        self._sources = sources

    def _applied(self, applied: Applied) -> None:
        self._reporter.kernel(applied)
        if self.observer is not None:
            self.observer.kernel(applied)

    def _driver_event(self, event: DriverEvent) -> None:
        self._reporter.driver(event)
        if self._closed_loop is not None:
            self._closed_loop.driver(event)
        match event:
            case Acknowledged(command):
                gone = {c.key for c in command.changes if isinstance(c, Withdraw)}
            case Refused(Withdraw(key)) if key.neighbor is not None:
                # ExaBGP does not know that neighbor any more, so nothing is announced to it.
                gone = {key}
            case _:
                return
        if left := gone & self._leaving:
            self._leaving -= gone
            self._to_remember.set()
            self._withdrawn({key.prefix for key in left} - {key.prefix for key in self._leaving})

    def _withdrawn(self, prefixes: Set[Prefix]) -> None:
        """Tell the engine of addresses that nothing is announced for any more."""
        for prefix in prefixes:
            if prefix.prefixlen == prefix.max_prefixlen:
                self._post(AddressWithdrawn(self._loop.time(), prefix.network_address))
        self._set_timer()


def silence_s(settings: Settings) -> float:
    """Return how long no answer may come before the probes make no progress any more."""
    timings = (settings.path_timing, *(s.timing for s in settings.services if s.checks))
    return _PATIENCE * min(t.interval_s + t.timeout_s for t in timings) + _SLACK_S


def _watched(settings: Settings) -> object:
    """Return everything that following the uplinks depends on."""
    return settings.uplinks, settings.fallback, settings.sources, settings.flush_conntrack
