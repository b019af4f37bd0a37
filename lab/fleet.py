"""What a fleet of hosts says to its fabric when something in it fails.

Each host is played by `bgphealth.simulation`: the real engine, policy and probe schedule, on a
clock that jumps. The fabric is reckoned: which probe crosses what (`lab.fleet_faults`), and what
bgpd tells each ToR when the communities of a service change.

Two hosts whose probes are answered alike, at the same phase of their schedule, do the same. So each
such situation is played once, and counted for every host that is in it. Where luck decides what is
lost, each host has its own and is played by itself; a thousand hosts then stand for the others.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from bgphealth.core.events import Event, PathProbed
from bgphealth.core.intents import Announcement
from bgphealth.core.policy_services import all_steering
from bgphealth.core.scenario import Answers, Behaviour, Scenario, Step
from bgphealth.core.settings import Family, Mode, Prefix, Role, Settings
from bgphealth.core.state import IntentsChanged, State
from bgphealth.simulation.play import Player, play
from bgphealth.simulation.routes import carriers
from lab.errors import LabError
from lab.fleet_faults import (
    FAULTS,
    Fabric,
    FleetFault,
    Situation,
    Variant,
    at_first_target,
    beyond,
)

BIN_S = 0.1
"""Messages are counted in bins of this width."""

PHASES = 20
"""Hosts begin to ask at this many different times within an interval."""

MOST_BY_LUCK = 1_000
"""So many hosts of a fleet are played where each has its own luck, unless all are asked for."""

_UNDAMPED_TAIL_S = 12.0
"""Without damping nothing happens later than this."""

_WARM_S = 12.0
"""How long all is well before anything happens: the windows of the probes are full by then."""

_SETTLED = round(5 / BIN_S)
"""So many bins after loss began, the pace of the probes is what it stays."""

LOSSES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0)
"""At these losses it is measured how often a target is asked."""

TIMERS = ((0.2, 0.025), (0.2, 0.05), (0.2, None), (0.5, 0.1), (0.5, None), (1.0, 0.2))
"""With these `interval` and `suspect_interval` it is measured how soon a dark ToR is left."""

_Attributes: TypeAlias = tuple[object, ...]
_RibOut: TypeAlias = dict[str, dict[Prefix, _Attributes]]


class Part(NamedTuple):
    """What one host goes through: its situation, its phase, and its luck where that counts."""

    situation: Situation
    phase: int
    luck: int


class Sent(NamedTuple):
    """UPDATE messages to the ToR of one uplink, and how many routes were in them."""

    at: float
    uplink: str
    messages: int
    routes: int


class Told(NamedTuple):
    """What came of one host; times are seconds after the fault.

    `defaults` counts changes of the injected defaults, which never leave the host. `fewest` is how
    many uplinks the worst off of its prefixes had at least. `kept`: at some time no path worked.
    `probes` are the answers and timeouts in each bin, target by target.
    """

    sent: tuple[Sent, ...]
    defaults: int
    fewest: int
    kept: bool
    probes: tuple[tuple[int, ...], ...]


class _Host(Player):
    """A player that knows what each ToR hears, and how much each target is asked."""

    def __init__(self, settings: Settings, begin: float, end: float) -> None:
        super().__init__(settings)
        self._settings, self._begin = settings, begin
        self._heard: _RibOut = {}
        self._uplinks_of: Counter[Prefix] = Counter()
        self._bins = {a.probe.probe: [0] * round((end - begin) / BIN_S) for a in beyond(settings)}
        self.sent: list[Sent] = []
        self.defaults = 0
        self.fewest = len(settings.uplinks)

    @property
    def probes(self) -> tuple[tuple[int, ...], ...]:
        """How often each target was asked, in each bin."""
        return tuple(map(tuple, self._bins.values()))

    def post(self, event: Event) -> None:
        """Take an event; count it, if it is the answer of a target."""
        super().post(event)
        if isinstance(event, PathProbed) and event.role is Role.BEYOND:
            place = int((event.at - self._begin) / BIN_S)
            bins = self._bins[event.probe]
            if event.at >= self._begin and place < len(bins):
                bins[place] += 1

    def _send(self, effect: IntentsChanged) -> None:
        before = {key for key in self._sent if key.path_id}
        super()._send(effect)
        after = {key for key in self._sent if key.path_id}
        services = [route for route in self._sent.values() if not route.key.path_id]
        heard = rib_out(self._settings, services)
        if effect.at >= self._begin:
            at = effect.at - self._begin
            self.defaults += len(before ^ after)
            for uplink, routes in heard.items():
                messages, count = updates(self._heard[uplink], routes)
                if messages:
                    self.sent.append(Sent(at, uplink, messages, count))
        self._heard = heard
        uplinks_of = Counter(prefix for routes in heard.values() for prefix in routes)
        uplinks_of.update(key.prefix for key in after)
        self._uplinks_of = Counter(dict.fromkeys(self._uplinks_of, 0)) | uplinks_of
        fewest = min((uplinks_of[prefix] for prefix in self._uplinks_of), default=0)
        if effect.at >= self._begin:
            self.fewest = min(self.fewest, fewest)


def rib_out(settings: Settings, routes: Iterable[Announcement]) -> _RibOut:
    """Return what bgpd announces to the ToR of each uplink: prefixes with their attributes.

    The steering communities stay on the host; what they make of the route differs with them.
    """
    ours = {uplink.name: all_steering(settings, uplink) for uplink in settings.uplinks}
    steering = frozenset[object]().union(*ours.values())
    heard: _RibOut = {uplink.name: {} for uplink in settings.uplinks}
    for route in routes:
        others = tuple(c for c in route.communities if c not in steering)
        for name in carriers(settings, route):
            own = tuple(c for c in route.communities if c in ours[name])
            attributes = (own, others, route.large_communities, route.med, route.as_path)
            heard[name][route.key.prefix] = attributes
    return heard


def updates(
    before: Mapping[Prefix, _Attributes], after: Mapping[Prefix, _Attributes]
) -> tuple[int, int]:
    """Return how many UPDATE messages a ToR gets, and how many routes are in them.

    One message has all prefixes of a family that are withdrawn, or all that are announced with the
    same attributes.
    """
    withdrawn = [(prefix.version,) for prefix in before if prefix not in after]
    announced = [(p.version, how) for p, how in after.items() if before.get(p) != how]
    return len(set(withdrawn)) + len(set(announced)), len(withdrawn) + len(announced)


def live(settings: Settings, fault: FleetFault, part: Part) -> Told:
    """Return what one host does about a fault."""
    begin = _WARM_S + part.phase * settings.path_timing.interval_s / PHASES
    steps = []
    for start, stop in fault.spells:
        dark = tuple(asked for asked, loss in part.situation if loss == 1)
        lossy = [Answers((asked,), loss=loss) for asked, loss in part.situation if loss < 1]
        steps.append(Step(begin + start, "", (Answers(dark, Behaviour.FAILED), *lossy)))
        hit = tuple(asked for asked, _ in part.situation)
        steps.append(Step(begin + stop, "", (Answers(hit, Behaviour.OK, loss=0.0),)))
    tail_s = fault.tail_s if settings.damping else min(fault.tail_s, _UNDAMPED_TAIL_S)
    end = begin + fault.heals_s + tail_s
    scenario = Scenario(fault.summary, "", settings, part.luck, end, tuple(steps), ())
    host = _Host(settings, begin, end)
    played = play(scenario, host)
    after = (state for at, state in played.states if at >= begin)
    kept = any(not working(state, family) for state in after for family in settings.families)
    return Told(tuple(host.sent), host.defaults, host.fewest, kept, host.probes)


def working(state: State, family: Family) -> int:
    """Return how many paths of a family work."""
    verdicts = state.path_verdicts.items()
    return sum(verdict.level.works for key, verdict in verdicts if key.family is family)


def part_of(
    fabric: Fabric, settings: Settings, fault: FleetFault, host: int, *, jitter: bool
) -> Part:
    """Return what a host goes through."""
    situation = fault.hits(fabric, settings, host)
    by_luck = any(loss < 1 for _, loss in situation)
    phase = fabric.phase(host, PHASES) if jitter else 0
    return Part(situation, phase, fabric.seed * 1_000_000 + host if by_luck else 0)


def run(  # noqa: PLR0913 - what it is about, and how
    fabric: Fabric,
    settings: Settings,
    fault: FleetFault,
    variant: Variant,
    *,
    jobs: int | None = None,
    each: bool = False,
) -> dict[str, Any]:
    """Return what all hosts of a fabric do about a fault, as JSON.

    Args:
        fabric: how large it is.
        settings: every host's file.
        fault: what happens.
        variant: with or without damping and jitter.
        jobs: how many processes play; None for as many as there are processors.
        each: play every host, also those in the same situation, and however many.

    Raises:
        LabError: The file is of a mode that speaks no BGP, or has no probe beyond the ToRs.
    """
    if settings.mode is Mode.LOCAL:
        raise LabError("a host in mode local speaks no BGP")
    if not beyond(settings):
        raise LabError("the file has no paths.beyond: its hosts see nothing of the fabric")
    if not variant.damping:
        settings = replace(settings, damping=None)
    began = time.monotonic()
    parts = [
        part_of(fabric, settings, fault, host, jitter=variant.jitter)
        for host in range(fabric.hosts)
    ]
    if not each and any(part.luck for part in parts):
        parts = parts[:MOST_BY_LUCK]
    different = parts if each else list(dict.fromkeys(parts))
    told = _play(partial(live, settings, fault), different, jobs or os.cpu_count() or 1)
    of_part = dict(zip(different, told, strict=True))
    of_hosts = told if each else [of_part[part] for part in parts]
    found = _counted(fabric, fault, of_hosts)
    return {
        "fault": fault.name,
        "damping": variant.damping,
        "jitter": variant.jitter,
        "hosts": len(parts),
        "played": len(different),
        "took_s": round(time.monotonic() - began, 1),
        **found,
    }


def appetite(
    fabric: Fabric, settings: Settings, loss: float, *, hosts: int = 5
) -> dict[str, float]:
    """Return how often a path asks a target that loses so much, and how often the others.

    A path that misses answers is suspect, and asks all its targets faster. In probes per second.
    """
    fault = at_first_target(loss, 40.0)
    asked = beyond(settings)
    of_target = Counter(each.probe.probe for each in asked)
    sums = [0] * len(of_target)
    for host in range(hosts):
        part = part_of(fabric, settings, fault, host, jitter=True)
        for number, bins in enumerate(live(settings, fault, part).probes):
            sums[number] += sum(bins[_SETTLED:])
    seconds = hosts * (len(bins) - _SETTLED) * BIN_S
    rates = [n / seconds / of for n, of in zip(sums, of_target.values(), strict=True)]
    others = max(rates[1:], default=0.0)
    return {"loss": loss, "asked_pps": round(rates[0], 1), "others_pps": round(others, 1)}


def timers(
    settings: Settings, interval_s: float, suspect_interval_s: float | None
) -> dict[str, Any]:
    """Return how soon a host with these timers leaves a ToR that goes dark: at best, at worst."""
    timing = replace(settings.path_timing, interval_s=interval_s)
    settings = replace(settings, path_timing=timing, suspect_interval_s=suspect_interval_s)
    fault = FAULTS["tor-dark"]._replace(spells=((0.0, 5.0),), tail_s=0.0)
    situation = fault.hits(Fabric(), settings, 0)
    told = [live(settings, fault, Part(situation, phase, 0)) for phase in range(0, PHASES, 2)]
    left_s = [host.sent[0].at for host in told]
    return {
        "interval_s": interval_s,
        "suspect_interval_s": suspect_interval_s,
        "left_s": [round(min(left_s), 2), round(max(left_s), 2)],
    }


def as_json(
    fabric: Fabric,
    settings: Settings,
    runs: list[dict[str, Any]],
    appetites: list[dict[str, float]],
    timed: list[dict[str, Any]],
) -> dict[str, Any]:
    """Return everything, with what it rests on."""
    paths = [path for uplink in settings.uplinks for path in uplink.paths]
    return {
        **fabric._asdict(),
        "racks": fabric.racks,
        "uplinks": len(settings.uplinks),
        "paths": len(paths),
        "targets": len({each.probe.probe for each in beyond(settings)}),
        "prefixes": sum(len(service.prefixes) for service in settings.services),
        "interval_s": settings.path_timing.interval_s,
        "suspect_interval_s": settings.suspect_interval_s,
        "took_s": round(sum(run["took_s"] for run in runs), 1),
        "runs": runs,
        "appetite": appetites,
        "timers": timed,
    }


def _play(play_one: partial[Told], parts: list[Part], jobs: int) -> list[Told]:
    if jobs == 1:
        return [play_one(part) for part in parts]
    with ProcessPoolExecutor(jobs) as pool:
        return list(pool.map(play_one, parts, chunksize=20))


def _counted(fabric: Fabric, fault: FleetFault, hosts: list[Told]) -> dict[str, Any]:
    """Return the sums and peaks over all hosts."""
    of_tors: dict[tuple[int, str], Counter[int]] = {}
    everywhere: Counter[int] = Counter()
    for number, host in enumerate(hosts):
        for at, uplink, messages, _ in host.sent:
            tor = of_tors.setdefault((number // fabric.rack, uplink), Counter())
            tor[int(at / BIN_S)] += messages
            everywhere[int(at / BIN_S)] += messages
    sent = [each for host in hosts for each in host.sent]
    last_s = max((each.at for each in sent), default=None)
    targets = zip(*(host.probes for host in hosts), strict=True)
    probes = [[sum(of_bin) for of_bin in zip(*target, strict=True)] for target in targets]
    return {
        "updates": sum(each.messages for each in sent),
        "routes": sum(each.routes for each in sent),
        "peak_100ms": _peak(everywhere, 1),
        "peak_1s": _peak(everywhere, 10),
        "tor_updates": max((tor.total() for tor in of_tors.values()), default=0),
        "tor_peak_1s": max((_peak(tor, 10) for tor in of_tors.values()), default=0),
        "most_of_a_host": max(sum(each.messages for each in host.sent) for host in hosts),
        "hosts_moved": sum(bool(host.sent) for host in hosts),
        "hosts_kept": sum(host.kept for host in hosts),
        "fewest_uplinks": min(host.fewest for host in hosts),
        "default_changes": sum(host.defaults for host in hosts),
        "steady_s": None if last_s is None else round(max(0.0, last_s - fault.heals_s), 2),
        "probes_peak_pps": max(map(max, probes)) * round(1 / BIN_S),
        "series": sorted((round(place * BIN_S, 1), n) for place, n in everywhere.items()),
    }


def _peak(bins: Counter[int], width: int) -> int:
    """Return the most that there is in so many bins in a row."""
    return max((sum(bins[b + n] for n in range(width)) for b in bins), default=0)
