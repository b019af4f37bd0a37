"""``python -m lab compare``: the same fault, in rounds in which each of the peers has its turn.

A turn has a lab of its own, so that nothing else runs on the machine and nothing is left of the
turn before. It is not healed but taken down: what is compared is how long traffic stands still.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, Final

from bgphealth.frr.state import UnreadableError, parse_bfd_peers
from lab import convergence, dual_tor, faults, scene, watch
from lab.contenders import CONTENDERS, topology_of
from lab.errors import LabError, TimedOutError
from lab.measured import lab_up, machine
from lab.meter import DIRECTIONS, Flow, Meter
from lab.namespaces import NamespaceDriver

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lab.contenders import Contender
    from lab.driver import Driver
    from lab.experiment import Progress
    from lab.faults import Fault

VERSION: Final = 1
NAMES: Final = ("uplink-blackhole", "link-down", "tor-crash")
"""Faults of tor2, from worst to best told."""

FLOWS: Final = dict.fromkeys(dual_tor.FAMILIES, 12)
"""So many that some take each ToR, there and back."""
INTERVAL_S: Final = 0.02

SECONDS: Final = 25.0
"""How long a fault lasts at most: the slowest of the peers needs 22 s when all goes well."""
_UNMOVED_S: Final = 12.0
"""How long it lasts for those that cannot move every route: the longest of their timers, BGP's hold
time, is 9 s."""
_BASELINE_S: Final = 1.0
_QUIET_S: Final = 2.0
_READY_S: Final = 60.0
_END: Final = 10
"""Datagrams of a flow, the last ones: one of them is answered where traffic flows again."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one contender did in one round; by direction, or by route, and family."""

    lasted_s: float
    outage_s: Mapping[tuple[str, str], float | None]
    """None: the worst flow stood still until the end."""
    lost_s: Mapping[tuple[str, str], float]
    moved_s: Mapping[tuple[str, str], float | None]
    """When a route had left the ToR; None: it did not, or was never there."""
    acted_s: Mapping[tuple[str, str], float | None]
    """The same, from the verdict on; of whom no verdict is known, nothing."""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "lasted_s": round(self.lasted_s, 3),
            "outage_s": _named(self.outage_s),
            "lost_s": _named(self.lost_s),
            "moved_s": _named(self.moved_s),
            "acted_s": _named(self.acted_s),
        }


def _named(figures: Mapping[tuple[str, str], float | None]) -> dict[str, float | None]:
    return {
        f"{what} {family}": None if value is None else round(value, 3)
        for (what, family), value in figures.items()
    }


def since(flow: Flow, at: float) -> Flow:
    """Return what became of a flow from a moment on: what it lost before has other reasons."""
    first = bisect_left(flow.times, at)
    return replace(flow, times=flow.times[first:], answers=flow.answers[first:])


def outage(flows: Sequence[Flow]) -> float | None:
    """Return the longest outage of any flow; None when one has not ended."""
    if any("1" not in flow.answers[-_END:] for flow in flows):
        return None
    return max(flow.outage_s(INTERVAL_S) for flow in flows)


def middle(figures: Sequence[float | None]) -> float | None:
    """Return the median, where None is longer than anything; None for one that is among these."""
    found = median(float("inf") if figure is None else figure for figure in figures)
    return None if found == float("inf") else round(found, 3)


def spread(figures: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Return the least and the most; None is longer than anything."""
    some = sorted(figure for figure in figures if figure is not None)
    return (some[0] if some else None, None if None in figures else some[-1])


def phase_s(contender: Contender, number: int, rounds: int) -> float:
    """Return how much later the fault of a round is made.

    Where checks are far apart, what they need depends on when the fault comes between two of them.
    """
    return contender.period_s * (number + 0.5) / rounds


def estimate_s(contenders: Sequence[Contender], rounds: int) -> float:
    """Return about how long it all takes."""
    return rounds * sum(contender.round_s for contender in contenders)


def turn(driver: Driver, contender: Contender, fault: Fault, seconds: float, phase: float) -> Turn:
    """Measure one fault on a lab that is up; it is not healed.

    Args:
        driver: the lab.
        contender: who runs on its server.
        fault: what is made.
        seconds: how long it lasts at most; it ends sooner when all has moved that can.
        phase: how much later it is made.

    Raises:
        LabError: It could not be measured.
    """
    watcher = watch.RouteWatch(driver)
    meter = meter_of(contender, driver)
    try:
        watcher.start()
        _wait_ready(driver, watcher, contender)
        time.sleep(contender.settles_s)
        meter.start()
        time.sleep(_BASELINE_S + phase)
        fault_at = time.monotonic()
        faults.run_steps(driver, steps(contender, fault))
        _wait_moved(watcher, contender, fault, fault_at, seconds)
        lasted_s = time.monotonic() - fault_at
        flows = meter.stop()
        moved = _moved(watcher.changes, fault, fault_at)
        clear = decided(driver, contender, fault, fault_at)
    finally:
        meter.abandon()
        watcher.stop()
    return _seen(flows, moved, clear, fault_at, lasted_s)


def decided(
    driver: Driver, contender: Contender, fault: Fault, fault_at: float
) -> dict[str, float]:
    """Return by family when it was clear what to do: bgphealth's verdict, or that one was told."""
    if not fault.sessions_stay or contender.base != dual_tor.NAME:
        return {}  # What goes with a link or a session goes before any verdict.
    if contender.told is not None:
        told = watch.read_told(driver)
        return {} if told is None else dict.fromkeys(dual_tor.FAMILIES, told - fault_at)
    verdicts = watch.read_verdicts(driver)
    found = {
        family: watch.first_verdict(verdicts, family, fault.uplinks, fault_at)
        for family in dual_tor.FAMILIES
    }
    return {family: at for family, at in found.items() if at is not None}


def meter_of(contender: Contender, driver: Driver) -> Meter:
    """Return what sends during a turn; where the source moves, each datagram chooses its own."""
    return Meter(driver, FLOWS, INTERVAL_S, reopened=contender.source_moves)


def steps(contender: Contender, fault: Fault) -> tuple[faults.Step, ...]:
    """Return what makes the fault, and tells those who see nothing of it at the same time."""
    if contender.told is None:
        return fault.inject
    return (*fault.inject, faults.shell(dual_tor.SERVER, contender.told))


def _wait_ready(driver: Driver, watcher: watch.RouteWatch, contender: Contender) -> None:
    """Wait until traffic goes as it should, and until those who count answers have counted."""
    convergence.wait_until(
        f"{contender.name}: ready", lambda: unready(driver, watcher, contender), _READY_S
    )
    if contender.base == dual_tor.NAME and contender.told is None:
        convergence.wait_converged(driver)


def unready(driver: Driver, watcher: watch.RouteWatch, contender: Contender) -> list[str]:
    """Return which routes are not where they should be, and which session BFD does not watch."""
    if not watcher.is_ready():
        return ["a first report of the route listeners"]
    both = tuple(dual_tor.TOR_BEHIND.values())
    astray = [
        f"{name} {family} is over {'+'.join(change.uplinks) or 'nothing'}"
        for (name, family), change in watcher.now().items()
        if change.uplinks != (contender.used if name == "default" else both)
    ]
    return astray or (_unwatched(driver) if contender.has_bfd else [])


def _unwatched(driver: Driver) -> list[str]:
    done = driver.run(dual_tor.SERVER, ["vtysh", "-c", "show bfd peers json"], check=False)
    try:
        peers = parse_bfd_peers(done.stdout.encode())
    except UnreadableError as error:
        return [f"BFD: {error}"]
    up = {str(peer.address) for peer in peers if peer.is_up}
    tors = scene.of(driver.topology.name).link_gateway
    wanted = [address for family in dual_tor.FAMILIES for address in tors[family].values()]
    return [f"BFD with {address} is not up" for address in wanted if address not in up]


def _wait_moved(
    watcher: watch.RouteWatch, contender: Contender, fault: Fault, fault_at: float, seconds: float
) -> None:
    expected = fault.expected
    # What a dead session or a dead link takes away moves without anybody's help.
    able = contender.moves if fault.sessions_stay else frozenset(watch.ROUTES)
    wanted = {name: getattr(expected, name) for name in able}
    routes = {name: tors for name, tors in wanted.items() if tors is not None}

    def unmoved() -> list[str]:
        return [
            f"{name} {family}"
            for (name, family), change in watcher.now().items()
            if name in routes and set(change.uplinks) != routes[name]
        ]

    if able == frozenset(watch.ROUTES):
        try:
            convergence.wait_until("moved", unmoved, fault_at + seconds - time.monotonic())
        except TimedOutError:
            return  # A finding.
        time.sleep(_QUIET_S)
    else:
        # What it cannot move, it must have been given the time to.
        time.sleep(min(seconds, _UNMOVED_S) + fault_at - time.monotonic())


def _moved(
    changes: Sequence[watch.RouteChange], fault: Fault, fault_at: float
) -> dict[tuple[str, str], float | None]:
    return {
        (route, family): watch.first_without(changes, route, family, fault.uplinks, fault_at)
        for route in ("default", "service")
        for family in dual_tor.FAMILIES
    }


def _seen(
    flows: Mapping[str, Sequence[Flow]],
    moved: Mapping[tuple[str, str], float | None],
    clear: Mapping[str, float],
    fault_at: float,
    lasted_s: float,
) -> Turn:
    own = {
        (direction, family): [
            since(flow, fault_at) for flow in flows[direction] if flow.family == family
        ]
        for direction in DIRECTIONS
        for family in dual_tor.FAMILIES
    }
    return Turn(
        lasted_s,
        {key: outage(some) for key, some in own.items()},
        {
            key: fmean(sum(b - a for a, b in flow.gaps(INTERVAL_S)) for flow in some)
            for key, some in own.items()
        },
        moved,
        {
            (route, family): None if at is None else at - clear[family]
            for (route, family), at in moved.items()
            if family in clear
        },
    )


def run(
    fault: Fault, names: Sequence[str], seconds: float, rounds: int, progress: Progress
) -> Iterator[dict[str, Any]]:
    """Measure a fault, with each contender in each round, in labs of their own.

    Yields the result of all rounds so far after each: what is there must not be lost with the rest.

    Args:
        fault: what is made.
        names: of the contenders; those that cannot take part are left out and named.
        seconds: how long the fault lasts at most.
        rounds: how often each has its turn.
        progress: told what is done from now on.

    Raises:
        LabError: A lab is up already, or nothing could be measured.
    """
    on = machine()
    chosen = [CONTENDERS[name] for name in names]
    absent = {c.name: why for c in chosen if (why := c.missing()) is not None}
    there = [c for c in chosen if c.name not in absent]
    if not there:
        raise LabError(f"nobody can take part: {'; '.join(absent.values())}")
    progress(
        f"{len(there)} contenders, {rounds} rounds: about "
        f"{estimate_s(there, rounds) / 60:.0f} minutes"
    )
    turns: dict[str, list[dict[str, Any]]] = {contender.name: [] for contender in there}
    for number in range(rounds):
        for contender in there:
            progress(f"round {number + 1} of {rounds}: {contender.title}")
            driver = NamespaceDriver(topology_of(contender))
            with lab_up(driver, lambda _: None, converges=False):
                phase = phase_s(contender, number, rounds)
                found = turn(driver, contender, fault, seconds, phase)
            turns[contender.name].append(found.as_json())
        yield {
            "version": VERSION,
            "driver": NamespaceDriver.name,
            "machine": on,
            "fault": fault.name,
            "summary": fault.summary,
            "seconds": seconds,
            "rounds": number + 1,
            "contenders": [summary(contender, turns[contender.name]) for contender in there],
            "absent": absent,
        }


def summary(contender: Contender, rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what one contender did: the medians and the spread of its turns, and the turns.

    Args:
        contender: who it was.
        rounds: its turns, as JSON can hold them.
    """
    return {
        "name": contender.name,
        "title": contender.title,
        "moves": sorted(contender.moves),
        **{
            what: {
                key: _figure([each[what].get(key) for each in rounds]) for key in rounds[0][what]
            }
            for what in ("outage_s", "lost_s", "moved_s", "acted_s")
        },
        "rounds": rounds,
    }


def _figure(figures: Sequence[float | None]) -> dict[str, float | None]:
    least, most = spread(figures)
    return {"median": middle(figures), "least": least, "most": most}
