"""Runs one fault on a lab that is up, and measures what it did to traffic, verdict and routes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lab import convergence, faults, measured, routes, scene, watch
from lab.announced import AnnouncedWatch
from lab.errors import TimedOutError
from lab.meter import Flow, Meter

if TYPE_CHECKING:
    from lab.announced import Held, Told
    from lab.driver import Driver
    from lab.faults import Fault

BASELINE_S = 2.0
"""Traffic before the fault: it must be free of loss."""

QUIET_S = 1.5
"""Traffic after each change of routes, so that late losses are seen too."""

REACTION_S = 25.0
"""How long the fault lasts at most; less when everything that it should change has changed."""

_LOOK_S = 2.0
"""How long before the end of a fault in which nothing changes everything is looked at: that takes
its time, above all where commands enter containers, and ExaBGP must not be stopped for longer than
is said. What changes until the end, as a drain does, is looked at then."""

UNPROMISED_S = 4.0
"""How long a fault lasts that promises no change of routes."""

RECOVERY_S = 60.0

Progress = Callable[[str], None]


@dataclass(slots=True)
class Record:
    """Everything that was seen; times are CLOCK_MONOTONIC."""

    fault: Fault
    topology: str
    driver: str
    frr: str | None = None
    started_at: float = 0.0
    fault_at: float = 0.0
    healed_at: float | None = None
    recovered_at: float | None = None
    ended_at: float = 0.0
    reacted: bool = False
    flows: dict[str, list[Flow]] = field(default_factory=dict)
    spread: dict[str, dict[str, float]] = field(default_factory=dict)
    changes: list[watch.RouteChange] = field(default_factory=list)
    verdicts: list[watch.Verdict] = field(default_factory=list)
    before: routes.Snapshot | None = None
    during: routes.Snapshot | None = None
    after: routes.Snapshot | None = None
    sessions_before: list[routes.Session] = field(default_factory=list)
    sessions_during: list[routes.Session] = field(default_factory=list)
    sessions_after: list[routes.Session] = field(default_factory=list)
    sessions_with_server: list[routes.Session] = field(default_factory=list)
    """Before the fault, as the ToRs next to the server see them."""
    told: list[Told] = field(default_factory=list)
    held_before: Held | None = None
    held_during: Held | None = None
    held_after: Held = field(default_factory=dict)
    foreign_before: list[str] = field(default_factory=list)
    foreign_after: list[str] = field(default_factory=list)
    missing_after: list[str] = field(default_factory=list)
    said: Counter[str] = field(default_factory=Counter)
    """How often each event was logged from the fault to the end."""


def run(driver: Driver, fault: Fault, progress: Progress, meter: Meter | None = None) -> Record:
    """Measure one fault; the lab is left as it was found.

    Args:
        driver: the lab, which is up.
        fault: what is measured.
        progress: told what is done from now on.
        meter: the traffic to send, when it is not the usual one.

    Raises:
        LabError: The measurement could not be made.
    """
    record = Record(fault, driver.topology.name, driver.name, measured.frr_version(driver))
    numbered = scene.of(driver.topology.name).numbered
    meter = meter or Meter(driver, new_connections=fault.keeps_default and numbered)
    watcher, announced = watch.RouteWatch(driver), AnnouncedWatch(driver)
    routes.plant_foreign(driver)
    injected = False
    try:
        watcher.start()
        announced.start()
        convergence.wait_until(
            "route listeners", lambda: [] if watcher.is_ready() else ["a first report"], 60.0
        )
        _baseline(driver, meter, announced, record, progress)
        progress(f"fault: {fault.summary}")
        injected = True
        said_before = watch.count_events(driver)
        record.fault_at = time.monotonic()
        faults.run_steps(driver, fault.inject)
        watch_reaction(driver, watcher, announced, record)
        if fault.heal:
            progress("healed")
            record.healed_at = time.monotonic()
            faults.run_steps(driver, fault.heal)
        injected = False
        _watch_recovery(driver, announced, record, progress)
        record.flows = meter.stop()
        record.told = announced.told()
        record.foreign_after = routes.foreign(driver)
        record.verdicts = watch.read_verdicts(driver)
        record.said = watch.count_events(driver) - said_before
    finally:
        if injected:
            faults.run_steps(driver, fault.heal)
        meter.abandon()
        watcher.stop()
        announced.stop()
        routes.remove_foreign(driver)
    record.changes = sorted(watcher.changes, key=lambda change: change.at)
    return record


def _baseline(
    driver: Driver, meter: Meter, announced: AnnouncedWatch, record: Record, progress: Progress
) -> None:
    record.foreign_before = routes.foreign(driver)
    record.before = routes.snapshot(driver)
    record.sessions_before = routes.sessions(driver)
    record.sessions_with_server = [
        s for s in record.sessions_before if announced.is_from_server(s.node, s.neighbor)
    ]
    record.held_before = announced.held()
    record.started_at = time.monotonic()
    meter.start()
    progress(f"baseline: {BASELINE_S:.0f} s of traffic in both directions")
    _last(BASELINE_S)
    record.spread = meter.check_spread()


def _last(duration_s: float) -> None:
    """Let a stretch of the measurement pass."""
    time.sleep(duration_s)


def watch_reaction(
    driver: Driver, watcher: watch.RouteWatch, announced: AnnouncedWatch, record: Record
) -> None:
    """Wait until the fault has done what it does, look at it, and wait for its end."""
    expected = record.fault.expected

    def unchanged() -> list[str]:
        now = watcher.now()
        return [
            f"{name} {family} over {'+'.join(sorted(wanted)) or 'nothing'}"
            for name in watch.ROUTES
            if (wanted := getattr(expected, name)) is not None
            for family in ("ipv4", "ipv6")
            if set(now[name, family].uplinks) != wanted
        ]

    if expected:
        try:
            convergence.wait_until("reaction", unchanged, REACTION_S)
            record.reacted = True
        except TimedOutError:
            # A finding, not an accident: the report says what did not hold.
            record.reacted = False
        _last(max(QUIET_S, _left(record) - (_LOOK_S if record.fault.still else 0.0)))
    elif record.fault.heal:
        _last(UNPROMISED_S)
    if record.fault.heal:
        record.during = routes.snapshot(driver)
        record.sessions_during = routes.sessions(driver)
        record.held_during = announced.held()
    # Healed after so long, not when everything has been looked at.
    _last(_left(record))


def _left(record: Record) -> float:
    return max(0.0, record.fault_at + record.fault.lasts_s - time.monotonic())


def _watch_recovery(
    driver: Driver, announced: AnnouncedWatch, record: Record, progress: Progress
) -> None:
    progress(f"recovery: until {scene.of(record.topology).whole} again")
    try:
        if not record.fault.heal:
            # It mends itself: what it broke must be seen broken first, or it looks mended.
            _last(QUIET_S)
        convergence.wait_until("recovery", lambda: convergence.missing(driver), RECOVERY_S)
        record.recovered_at = time.monotonic()
    except TimedOutError:
        record.missing_after = convergence.missing(driver)
    _last(QUIET_S)
    record.after = routes.snapshot(driver)
    record.sessions_after = routes.sessions(driver)
    record.held_after = announced.held()
    record.ended_at = time.monotonic()
