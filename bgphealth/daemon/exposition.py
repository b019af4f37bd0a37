"""What is known of a run, in Prometheus's text format.

It is made on the event loop, because what it is made of changes there. A host with 1,000 services
has some 10,000 series, which take a tenth of a second: so it is made in portions, and what waits
(an answer of a probe, above all) comes in between.
"""

from __future__ import annotations

import asyncio
import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby, islice
from typing import NamedTuple, TypeAlias

from prometheus_client import ProcessCollector, generate_latest
from prometheus_client.metrics_core import Metric as Family_
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from bgphealth.core.events import Verdict
from bgphealth.core.hysteresis import Level
from bgphealth.core.reasons import About, Reason
from bgphealth.core.settings import Family, Mode
from bgphealth.core.state import State
from bgphealth.core.truth import State as RouteState
from bgphealth.core.truth import Tier, Where
from bgphealth.daemon import metric_names as names
from bgphealth.daemon.closed_loop import Truth
from bgphealth.daemon.metric_names import PREFIX, PROCESS, Metric, Type
from bgphealth.daemon.observer import Histogram, Observer, probes_of
from bgphealth.daemon.reload import ReloadOutcome
from bgphealth.daemon.snapshot import Known, Told
from bgphealth.fallback.tables import Applied

PORTION = 400
"""Series at a time: some 4 ms. Smaller ones would wait too often for a loop that has much to do."""

_SERVICE_LEVELS = [level for level in Level if level is not Level.DEGRADED]
_PATH_REASONS = [
    (level, reason)
    for reason in Reason
    for meaning in reason.meanings
    for level in Level
    if meaning.about is About.PATH and meaning.outcome == level
]


class Row(NamedTuple):
    """One series: its name, the values of its labels, and its own value."""

    series: str
    labels: tuple[str, ...]
    value: float


Rows: TypeAlias = Iterator[tuple[Metric, Iterable[Row]]]


async def render(known: Known, observer: Observer, frr: str) -> bytes:
    """Return all metrics of a run; other things on the loop come in between.

    Args:
        known: all that is known of it.
        observer: what was counted.
        frr: the version of FRR, empty while it is not known.
    """
    process = ProcessCollector(namespace=PREFIX.rstrip("_"), registry=None)
    parts = [_worded(generate_latest(process))]
    for metric, found in _all(known, observer, frr):
        rows = _merged(metric, found)
        head = True
        while portion := list(islice(rows, PORTION)):
            text = generate_latest(_Portion(metric, portion))
            # HELP and TYPE come once.
            parts.append(text if head else text.split(b"\n", 2)[2])
            head = False
            await asyncio.sleep(0)
    return b"".join(parts)


class _Portion(Collector):
    """Some series of one metric."""

    def __init__(self, metric: Metric, rows: Iterable[Row]) -> None:
        self._metric = metric
        self._rows = rows

    def collect(self) -> Iterable[Family_]:
        """Return them for prometheus-client."""
        metric = self._metric
        labels = (*metric.labels, "le") if metric.type is Type.HISTOGRAM else metric.labels
        family = Family_(metric.name.removesuffix("_total"), metric.meaning, metric.type.value)
        family.samples = [
            # Of a histogram only the buckets have the last label.
            Sample(row.series, dict(zip(labels, row.labels, strict=False)), row.value)
            for row in self._rows
        ]
        return [family]


def _worded(text: bytes) -> bytes:
    """Return the metrics of the process with our HELP lines."""
    lines = text.decode().splitlines(keepends=True)
    meanings = {metric.name: metric.meaning for metric in PROCESS}
    for place, line in enumerate(lines):
        if line.startswith("# HELP "):
            name = line.split()[2]
            lines[place] = f"# HELP {name} {meanings[name]}\n"
    return "".join(lines).encode()


def _merged(metric: Metric, rows: Iterable[Row]) -> Iterator[Row]:
    """Return rows of which no two are one series: two checks may have the same words."""
    if metric not in _WORDED:
        yield from rows
        return
    # Those of an uplink or a service stand together, and are forgotten before the next one's.
    for _, group in groupby(rows, lambda row: row.labels[0]):
        values: dict[tuple[str, tuple[str, ...]], float] = {}
        for series, labels, value in group:
            before = values.get((series, labels))
            if before is None:
                values[series, labels] = value
            else:
                add = metric.type is Type.COUNTER
                values[series, labels] = before + value if add else min(before, value)
        yield from (Row(*key, value) for key, value in values.items())


_WORDED = (names.PROBE_UP, names.PROBE_ANSWERS, names.CHECK_UP, names.CHECK_ANSWERS)
"""Metrics with a label that is a probe in words."""


def _all(known: Known, observer: Observer, frr: str) -> Rows:
    yield from _program(known, observer, frr)
    yield from _paths(known.state, observer)
    yield from _services(known.state, observer)
    yield from _routes(known.state, observer)
    yield from _kernel(known.state, observer.applied)
    yield from _drains(known)
    if known.truth is not None:
        yield from _truth(known.truth, known.defaults.tiers, known.state)
    if known.told is not None:
        yield from _exabgp(known.told, known.state)


def _program(known: Known, observer: Observer, frr: str) -> Rows:
    exabgp = "" if known.told is None else known.told.version
    versions = (_version(), platform.python_version(), exabgp, frr)
    last = known.times.reload
    to_wall_s = known.wall - known.now
    yield _one(names.EXPOSED_AT, known.wall)
    yield _rows(names.BUILD_INFO, [(versions, 1)])
    yield _one(names.RELOAD_OK, last is None or last.outcome is not ReloadOutcome.REFUSED)
    yield _one(names.RELOAD_OK_AT, known.times.taken + to_wall_s)
    yield names.LOOP_LAG, _buckets(names.LOOP_LAG, (), observer.lags)


def _version() -> str:
    try:
        return version("bgphealth")
    except PackageNotFoundError:  # It was not installed, but run from its tree.
        return ""


def _paths(state: State, counted: Observer) -> Rows:
    paths = [(u.name, path.family, path) for u in state.settings.uplinks for path in u.paths]
    keys = list(state.paths)
    yield _rows(
        names.PATH_STATE,
        (
            ((*key, level), state.path_verdicts[key].level is level)
            for key in keys
            for level in Level
        ),
    )
    yield _rows(
        names.PATH_TRANSITIONS,
        (
            ((*key, *to), counted.path_transitions[*key, *to])
            for key in keys
            for to in _PATH_REASONS
        ),
    )
    links = {key.uplink: health.link_up for key, health in state.paths.items()}
    yield _rows(names.LINK_UP, (((uplink,), up) for uplink, up in links.items()))
    yield _known(names.PATH_LOSS, ((key, health.loss) for key, health in state.paths.items()))
    latencies = ((key, health.latency_s) for key, health in state.paths.items())
    yield _known(names.PATH_LATENCY, latencies)
    yield _rows(
        names.PROBE_UP,
        (
            ((*key, probe.role, str(probe.probe)), health.level is Level.UP)
            for key, path in state.paths.items()
            for probe, health in path.probes.items()
            if health.level is not Level.INIT
        ),
    )
    yield _rows(
        names.PROBE_ANSWERS,
        (
            (
                (uplink, family, role, str(probe), verdict),
                counted.answers.get((uplink, family, role, probe, verdict), 0),
            )
            for uplink, family, path in paths
            for role, probe in probes_of(path)
            for verdict in Verdict
        ),
    )
    durations = list(counted.durations.items())
    rows = (row for key, of in durations for row in _buckets(names.PROBE_DURATION, key, of))
    yield names.PROBE_DURATION, rows


def _services(state: State, counted: Observer) -> Rows:
    yield _rows(
        names.SERVICE_STATE,
        (
            ((name, level), verdict.level is level)
            for name, verdict in state.service_verdicts.items()
            for level in _SERVICE_LEVELS
        ),
    )
    yield _rows(names.SERVICE_TRANSITIONS, list(counted.service_transitions.items()))
    yield _rows(
        names.CHECK_UP,
        (
            ((name, str(check)), hysteresis.level is Level.UP)
            for name, health in state.services.items()
            for check, hysteresis in health.checks.items()
            if hysteresis.level is not Level.INIT
        ),
    )
    yield _rows(
        names.CHECK_ANSWERS,
        (
            (
                (service.name, str(check), verdict),
                counted.checks.get((service.name, check, verdict), 0),
            )
            for service in state.settings.services
            for check in service.checks
            for verdict in Verdict
        ),
    )
    yield _one(names.MISSING_ADDRESSES, len(state.addresses.missing))


def _routes(state: State, counted: Observer) -> Rows:
    now = Counter(decision.reason for decision in state.decisions.values())
    about = About.DEFAULT if state.settings.mode is Mode.LOCAL else About.ANNOUNCEMENT
    reasons = [r for r in Reason if any(meaning.about is about for meaning in r.meanings)]
    yield _rows(names.ROUTES, (((reason,), now[reason]) for reason in reasons))
    taken = counted.decisions
    yield _rows(names.DECISIONS_TAKEN, (((reason,), taken[reason]) for reason in reasons))
    if state.settings.mode is Mode.LOCAL:
        in_use = state.preference.in_use
        yield _rows(
            names.DEFAULT_IN_USE,
            ((key, in_use.get(key.family) == key.uplink) for key in state.paths),
        )
        return
    yield _rows(
        names.ROUTE_WANTED,
        (
            ((str(key),), decision.outward is not None)
            for key, decision in state.decisions.items()
            if decision.reason is not Reason.INIT
        ),
    )


def _exabgp(told: Told, state: State) -> Rows:
    table, counts = told.acknowledged, told.counts
    taken = [
        (key, table.get(key) == decision.announcement)
        for key, decision in state.decisions.items()
        if decision.reason is not Reason.INIT
    ]
    yield _rows(names.ROUTE_ACKNOWLEDGED, (((str(key),), is_taken) for key, is_taken in taken))
    yield _one(names.EXABGP_ROUTES_PENDING, sum(not is_taken for _, is_taken in taken))
    yield _rows(
        names.EXABGP_SESSION,
        (((name,), said.state == "up") for name, said in told.neighbors.items()),
    )
    yield _one(names.EXABGP_SENT, counts.get("sent", 0))
    answers = ("acknowledged", "refused", "lost")
    yield _rows(names.EXABGP_ANSWERED, (((each,), counts.get(each, 0)) for each in answers))
    yield _one(names.EXABGP_PENDING, told.pending)
    yield _one(names.EXABGP_UNANSWERED, told.late_s)
    yield _one(names.EXABGP_REFUSED, len(told.refused))


def _truth(truth: Truth, tiers: Mapping[Family, Tier], state: State) -> Rows:
    yield _rows(
        names.ROUTE_VERIFIED,
        (
            ((str(key),), truth.states[key] is RouteState.SEEN)
            for key, decision in state.decisions.items()
            if decision.outward is not None and key in truth.states
        ),
    )
    yield _rows(
        names.DEFAULT_TIER,
        (((family, tier), served is tier) for family, served in tiers.items() for tier in Tier),
    )
    yield _one(names.BGPD_KNOWN, truth.looked_at is not None and not truth.unknown)
    drifts = Counter((drift.where, drift.state) for drift in truth.drifts)
    yield _rows(
        names.DRIFTING,
        (
            ((where, kind), drifts[where, kind])
            for where in Where
            for kind in RouteState
            if kind is not RouteState.SEEN
        ),
    )
    yield _one(names.DRIFTED, truth.drifted)
    yield _one(names.LOOKUPS, truth.looks)
    yield _one(names.REASSERTIONS, truth.asserted)


def _kernel(state: State, applied: Applied | None) -> Rows:
    settings = state.settings
    if applied is None or not settings.fallback.enabled:
        return
    paths = list(state.paths)
    if settings.fallback.defaults:
        present = (((*key,), key in applied.present) for key in paths)
        yield _rows(names.FALLBACK_PRESENT, present)
        yield _rows(names.FALLBACK_BEATEN, (((*key,), key in applied.beaten) for key in paths))
    failed = (((uplink.name,), uplink.name in applied.failed) for uplink in settings.uplinks)
    yield _rows(names.KERNEL_FAILED, failed)
    yield _one(names.SOURCES_UNMET, len(applied.unmet))


def _drains(known: Known) -> Rows:
    to_wall_s = known.wall - known.now
    orders = known.state.drains.orders.items()
    yield _rows(
        names.DRAIN_START, (((*target,), order.since + to_wall_s) for target, order in orders)
    )
    ends = (((*target,), order.until) for target, order in orders)
    yield _rows(
        names.DRAIN_END, ((labels, at + to_wall_s) for labels, at in ends if at is not None)
    )


def _one(metric: Metric, value: float) -> tuple[Metric, Iterable[Row]]:
    return metric, [Row(metric.name, (), value)]


def _rows(
    metric: Metric, values: Iterable[tuple[tuple[str, ...], float]]
) -> tuple[Metric, Iterable[Row]]:
    return metric, (Row(metric.name, labels, value) for labels, value in values)


def _known(
    metric: Metric, values: Iterable[tuple[tuple[str, ...], float | None]]
) -> tuple[Metric, Iterable[Row]]:
    return _rows(metric, [(labels, value) for labels, value in values if value is not None])


def _buckets(metric: Metric, labels: tuple[str, ...], histogram: Histogram) -> list[Row]:
    """Return a histogram; a list, so that nothing is counted between its rows."""
    rows, count = [], 0
    bounds = [*(repr(bound) for bound in histogram.bounds), "+Inf"]
    for bound, here in zip(bounds, histogram.counts, strict=True):
        count += here
        rows.append(Row(f"{metric.name}_bucket", (*labels, bound), count))
    rows.append(Row(f"{metric.name}_count", labels, count))
    rows.append(Row(f"{metric.name}_sum", labels, histogram.sum))
    return rows
