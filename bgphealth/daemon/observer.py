"""Counts what happens, for the metrics. What is now is looked up when somebody asks."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict

from bgphealth.core.events import Event, PathProbed, ServiceChecked, Verdict
from bgphealth.core.health import PathProbe
from bgphealth.core.hysteresis import Level
from bgphealth.core.reasons import Reason
from bgphealth.core.settings import Family, ProbeSettings, Role, Settings, UplinkPath
from bgphealth.core.state import DecisionChanged, Effect, PathChanged, ServiceChanged
from bgphealth.fallback.tables import Applied

DURATIONS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
LAGS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class Histogram:
    """Values by how large they are; `counts` has one more than there are bounds."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


def _durations() -> Histogram:
    return Histogram(DURATIONS_S)


class Observer:
    """Counters since the start; a reload forgets only those of what has left the file."""

    def __init__(self) -> None:
        self.answers: defaultdict[tuple[str, Family, Role, ProbeSettings, Verdict], int] = (
            defaultdict(int)
        )
        self.checks: defaultdict[tuple[str, ProbeSettings, Verdict], int] = defaultdict(int)
        self.durations: defaultdict[tuple[str, Family, Role], Histogram] = defaultdict(_durations)
        self.path_transitions: Counter[tuple[str, Family, Level, Reason]] = Counter()
        self.service_transitions: Counter[tuple[str, Level, Reason]] = Counter()
        self.decisions: Counter[Reason] = Counter()
        self.lags = Histogram(LAGS_S)
        self.applied: Applied | None = None
        """What the last look at the kernel came to; None before the first."""

    def answer(self, event: Event) -> None:
        """Count an answer."""
        # This runs with every answer: a slice of the tuple is the key.
        if isinstance(event, PathProbed):
            self.answers[event[1:6]] += 1
            if event.rtt_s is not None and event.verdict is Verdict.OK:
                self.durations[event[1:4]].add(event.rtt_s)
        elif isinstance(event, ServiceChecked):
            self.checks[event.service, event.check, event.verdict] += 1

    def effect(self, effect: Effect) -> None:
        """Count an effect of the engine."""
        match effect:
            case PathChanged(path=path, after=after):
                self.path_transitions[*path, after.level, after.reason] += 1
            case ServiceChanged(service=service, after=after):
                self.service_transitions[service, after.level, after.reason] += 1
            case DecisionChanged(after=after):
                self.decisions[after.reason] += 1

    def kernel(self, applied: Applied) -> None:
        """Note what a look at the kernel came to."""
        self.applied = applied

    def configure(self, settings: Settings) -> None:
        """Forget what is not in the file."""
        paths = {(u.name, path.family): path for u in settings.uplinks for path in u.paths}
        checks = {service.name: service.checks for service in settings.services}
        for key in [k for k in self.answers if not _asks(paths.get(k[:2]), *k[2:4])]:
            del self.answers[key]
        roles = {(*key, of.role) for key, path in paths.items() for of in probes_of(path)}
        for timed in self.durations.keys() - roles:
            del self.durations[timed]
        for transition in [k for k in self.path_transitions if k[:2] not in paths]:
            del self.path_transitions[transition]
        for answered in [k for k in self.checks if k[1] not in checks.get(k[0], ())]:
            del self.checks[answered]
        for changed in [k for k in self.service_transitions if k[0] not in checks]:
            del self.service_transitions[changed]


def probes_of(path: UplinkPath) -> tuple[PathProbe, ...]:
    """Return the probes of a path in their roles."""
    gateway = (PathProbe(Role.GATEWAY, probe) for probe in path.gateway)
    beyond = (PathProbe(Role.BEYOND, probe) for probe in path.beyond)
    return (*gateway, *beyond)


def _asks(path: UplinkPath | None, role: Role, probe: ProbeSettings) -> bool:
    return path is not None and PathProbe(role, probe) in probes_of(path)
