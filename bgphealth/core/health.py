"""From the answers of single probes to one verdict per path and per service.

A path is one address family of one uplink. It is up while every gateway probe is up (the ToR is
there) and at least `beyond_need` of the beyond probes are (there is a network behind it). It is
degraded while it is up with too much loss or latency; as its quorum counts the best targets, one
bad target does not degrade it.

What is made anew with every answer is a tuple: a frozen dataclass takes four times as long to make.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import NamedTuple

from bgphealth.core.events import PathProbed, PathProbeOverdue, ServiceChecked, Verdict
from bgphealth.core.hysteresis import Hysteresis, Level
from bgphealth.core.quality import Window, patient_fall
from bgphealth.core.reasons import Reason
from bgphealth.core.settings import (
    Family,
    ProbeSettings,
    Quality,
    Role,
    ServiceSettings,
    Threshold,
    Timing,
    UplinkPath,
)


class PathKey(NamedTuple):
    """One address family of one uplink."""

    uplink: str
    family: Family


class PathProbe(NamedTuple):
    """A probe in its role on a path: the same target may serve both roles."""

    role: Role
    probe: ProbeSettings


class Judgement(NamedTuple):
    """A level, the reason for it, and the evidence in words."""

    level: Level
    reason: Reason
    evidence: str = ""


class Flaws(NamedTuple):
    """What is wrong with a path; the smaller, the better.

    A ToR that answers may still have a network behind it, a link that is down leads nowhere.
    `gateway_down` and `beyond_down` are numbers of probes.
    """

    link_down: bool
    gateway_down: int
    beyond_down: int
    degraded: bool


class Standing(NamedTuple):
    """How a path compares with others, given that its probes may be about to rise or to fall.

    Probes of several paths that fail together do not fall in the same instant, nor do they rise.
    """

    at_best: Flaws
    at_worst: Flaws

    def is_better_than(self, other: Standing) -> bool:
        """Tell whether it is the better one even if its own probes fall and the others' rise."""
        return self.at_worst < other.at_best


class ProbeHealth(NamedTuple):
    """All that is known of one probe of a path. `overdue`: its answer is later than usual."""

    window: Window
    hysteresis: Hysteresis = Hysteresis()
    overdue: bool = False
    detail: str = ""

    @property
    def level(self) -> Level:
        """What is believed of the probe."""
        return self.hysteresis.level

    @property
    def is_failing(self) -> bool:
        """Whether it gives no answer now, however long it takes to believe that."""
        return self.level is Level.DOWN or self.overdue or self.hysteresis.failed_run > 0

    @property
    def is_answering(self) -> bool:
        """Whether it gives answers now, however long it takes to believe that."""
        return self.hysteresis.ok_run > 0 and not self.overdue

    @property
    def is_suspect(self) -> bool:
        """Whether it may be about to go down: worth asking again soon."""
        return self.level is not Level.DOWN and self.is_failing

    def after(self, event: PathProbed, timing: Timing) -> ProbeHealth:
        """Return the health after one answer."""
        fall, rise = timing.fall, timing.rise
        if event.probe.kind.is_state:
            fall = rise = 1
        if self.window.lost:
            fall = patient_fall(fall, self.window.loss)
        after = self.hysteresis.after(event.verdict, rise=rise, fall=fall)
        window = self.window.after(event.verdict, event.rtt_s, fall)
        detail = self.detail if event.verdict is Verdict.OK else event.detail
        return ProbeHealth(window, after, overdue=False, detail=detail)

    def means_the_same_as(self, before: ProbeHealth) -> bool:
        """Tell whether everything that verdicts and pace are made of is as it was."""
        if self.hysteresis is before.hysteresis and self.overdue is before.overdue:
            return True
        return self.level is before.level and self.is_failing == before.is_failing


class PathHealth(NamedTuple):
    """All that is known of one path. `degraded` is why it is, None while it is not."""

    settings: UplinkPath
    quality: Quality
    probes: Mapping[PathProbe, ProbeHealth]
    link_up: bool = True
    degraded: Reason | None = None

    @classmethod
    def initial(cls, settings: UplinkPath, quality: Quality) -> PathHealth:
        """Return the health of a path that has not been probed yet."""
        gateway = (PathProbe(Role.GATEWAY, probe) for probe in settings.gateway)
        beyond = (PathProbe(Role.BEYOND, probe) for probe in settings.beyond)
        unasked = ProbeHealth(Window(quality.window))
        return cls(settings, quality, dict.fromkeys((*gateway, *beyond), unasked))

    def after_probe(self, event: PathProbed, timing: Timing) -> tuple[PathHealth, bool]:
        """Return the health after one answer, and whether that can change a verdict or the pace.

        Answers to probes that are not ours are ignored.
        """
        key = PathProbe(event.role, event.probe)
        before = self.probes.get(key)
        if before is None or not self.link_up:
            # An answer that was under way when the link went down says nothing about the link
            # that comes back.
            return self, False
        after = before.after(event, timing)
        # Not _replace: this runs with every answer.
        probes = {**self.probes, key: after}
        path = PathHealth(self.settings, self.quality, probes, self.link_up, self.degraded)
        if path.degraded or path.quality.latency_s or _may_degrade(before, after):
            path = path._replace(degraded=path.why_degraded())
        return path, path.degraded is not self.degraded or not after.means_the_same_as(before)

    def after_overdue(self, event: PathProbeOverdue, suspect_interval_s: float) -> PathHealth:
        """Return the health when an answer is late, which counts only if it usually is not."""
        key = PathProbe(event.role, event.probe)
        before = self.probes.get(key)
        if before is None or not self.link_up:
            return self
        usual_s = before.window.latency_s
        if usual_s is None or usual_s > suspect_interval_s / 2:
            return self
        return self._replace(probes={**self.probes, key: before._replace(overdue=True)})

    def after_link(self, *, up: bool) -> PathHealth:
        """Return the health after the link came or went; a link that comes back starts below."""
        if up == self.link_up:
            return self
        if up:
            return self._replace(link_up=True)
        down = ProbeHealth(Window(self.quality.window), Hysteresis(Level.DOWN))
        return self._replace(link_up=False, degraded=None, probes=dict.fromkeys(self.probes, down))

    def judge(self) -> Judgement:
        """Return the verdict on the whole path."""
        if not self.link_up:
            return Judgement(Level.DOWN, Reason.LINK_DOWN)
        gateway, beyond, need = self._gateway, self._beyond, self._need
        if _count(gateway.values(), Level.DOWN):
            return Judgement(Level.DOWN, Reason.GATEWAY_FAILED, _evidence(gateway))
        if len(beyond) - _count(beyond.values(), Level.DOWN) < need:
            return Judgement(Level.DOWN, Reason.BEYOND_FAILED, _evidence(beyond))
        if (
            _count(gateway.values(), Level.UP) < len(gateway)
            or _count(beyond.values(), Level.UP) < need
        ):
            return Judgement(Level.INIT, Reason.INIT)
        if self.degraded is not None:
            return Judgement(Level.DEGRADED, self.degraded, self._quality_in_words())
        return Judgement(Level.UP, Reason.PROBES_OK)

    @property
    def standing(self) -> Standing:
        """What is wrong with it, to be compared with other paths that are down."""
        return Standing(self._flaws(_stays_down), self._flaws(_may_be_down))

    @property
    def is_failing(self) -> bool:
        """Whether the last answers alone would not make a quorum."""
        answering = sum(not probe.is_failing for probe in self._beyond.values())
        return answering < self._need or any(p.is_failing for p in self._gateway.values())

    @property
    def is_answering(self) -> bool:
        """Whether the last answers alone would make a quorum."""
        answering = sum(probe.is_answering for probe in self._beyond.values())
        return answering >= self._need and all(p.is_answering for p in self._gateway.values())

    @property
    def is_suspect(self) -> bool:
        """Whether the path may be about to go down."""
        return self.link_up and any(probe.is_suspect for probe in self.probes.values())

    @property
    def loss(self) -> float | None:
        """The loss of the path, from 0 to 1: that of the worst probe which its verdict needs."""
        return self._of_those_needed(lambda probe: probe.window.loss)

    @property
    def latency_s(self) -> float | None:
        """The latency of the path in seconds: that of the slowest probe that its verdict needs."""
        return self._of_those_needed(lambda probe: probe.window.latency_s)

    @property
    def _gateway(self) -> dict[PathProbe, ProbeHealth]:
        return {key: probe for key, probe in self.probes.items() if key.role is Role.GATEWAY}

    @property
    def _beyond(self) -> dict[PathProbe, ProbeHealth]:
        return {key: probe for key, probe in self.probes.items() if key.role is Role.BEYOND}

    @property
    def _need(self) -> int:
        return self.settings.beyond_need if self.settings.beyond else 0

    def _of_those_needed(
        self, of: Callable[[ProbeHealth], float | None], unknown: float = 0.0
    ) -> float | None:
        """Return the worst value among the gateway probes and the best `need` beyond probes.

        What is not known yet counts as `unknown`; None when the path does not work anyway.
        """
        asked = {
            key: unknown if (value := of(probe)) is None else value
            for key, probe in self.probes.items()
            if probe.level is not Level.DOWN and not key.probe.kind.is_state
        }
        gateway = [value for key, value in asked.items() if key.role is Role.GATEWAY]
        beyond = sorted(value for key, value in asked.items() if key.role is Role.BEYOND)
        return max([*gateway, *beyond[: self._need]], default=None)

    def why_degraded(self) -> Reason | None:
        """Return why the path counts as degraded after the last answer, None when it does not."""
        lossy = self.degraded is Reason.LOSS
        # Into it only when the loss is sure: a small window strays far from the truth. Out of it
        # only when it is known: a run of lost answers may have been taken for an outage.
        if lossy:
            loss = self._of_those_needed(lambda probe: probe.window.loss, inf)
        else:
            loss = self._of_those_needed(lambda probe: probe.window.sure_loss)
        if _exceeds(loss, self.quality.loss, already=lossy):
            return Reason.LOSS
        allowed, slow = self.quality.latency_s, self.degraded is Reason.LATENCY
        if allowed is not None:
            unknown = inf if slow else 0.0
            latency_s = self._of_those_needed(lambda probe: probe.window.latency_s, unknown)
            if _exceeds(latency_s, allowed, already=slow):
                return Reason.LATENCY
        return None

    def _flaws(self, counts: Callable[[ProbeHealth], bool]) -> Flaws:
        return Flaws(
            link_down=not self.link_up,
            gateway_down=sum(map(counts, self._gateway.values())),
            beyond_down=sum(map(counts, self._beyond.values())),
            degraded=self.degraded is not None,
        )

    def _quality_in_words(self) -> str:
        loss, latency_s = self.loss or 0.0, self.latency_s or 0.0
        return f"loss {loss:.0%}, latency {latency_s * 1000:.1f} ms"


def _stays_down(probe: ProbeHealth) -> bool:
    return probe.level is Level.DOWN and not probe.is_answering


def _may_be_down(probe: ProbeHealth) -> bool:
    return probe.is_failing


def _may_degrade(before: ProbeHealth, after: ProbeHealth) -> bool:
    """Tell whether an answer can have made the path's loss worse; most of them cannot."""
    return after.window.lost > before.window.lost or after.level is not before.level


def _exceeds(value: float | None, threshold: Threshold, *, already: bool) -> bool:
    """Compare with the level that counts now; a value that is not known changes nothing."""
    if value is None:
        return already
    return value > threshold.leave if already else value >= threshold.enter


def _count(probes: Iterable[ProbeHealth], level: Level) -> int:
    return sum(probe.level is level for probe in probes)


def _evidence(probes: Mapping[PathProbe, ProbeHealth]) -> str:
    return "; ".join(
        f"{key.probe}: {probe.detail or 'no answer yet'}"
        for key, probe in probes.items()
        if probe.level is Level.DOWN
    )


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """All that is known of one service."""

    settings: ServiceSettings
    checks: Mapping[ProbeSettings, Hysteresis]
    details: Mapping[ProbeSettings, str] = field(default_factory=dict)

    @classmethod
    def initial(cls, settings: ServiceSettings) -> ServiceHealth:
        """Return the health of a service that has not been checked yet."""
        return cls(settings, {check: Hysteresis() for check in settings.checks})

    def after_check(self, event: ServiceChecked) -> ServiceHealth:
        """Return the health after one answer; answers to checks that are not ours are ignored."""
        before = self.checks.get(event.check)
        if before is None:
            return self
        timing = self.settings.timing
        after = before.after(event.verdict, rise=timing.rise, fall=timing.fall)
        if after == before and event.verdict is Verdict.OK:
            return self
        details = {**self.details, event.check: event.detail}
        return replace(self, checks={**self.checks, event.check: after}, details=details)

    def judge(self) -> Judgement:
        """Return the verdict on the whole service: up while as many checks are as it needs."""
        if not self.checks:
            return Judgement(Level.UP, Reason.NO_CHECKS)
        levels = [state.level for state in self.checks.values()]
        need, failed = self.settings.need, self._failed_in_words()
        if len(levels) - levels.count(Level.DOWN) < need:
            return Judgement(Level.DOWN, Reason.CHECK_FAILED, failed)
        if levels.count(Level.UP) < need:
            return Judgement(Level.INIT, Reason.INIT)
        return Judgement(Level.UP, Reason.CHECKS_OK, failed)

    def _failed_in_words(self) -> str:
        return "; ".join(
            f"{check}: {self.details.get(check, '')}"
            for check, state in self.checks.items()
            if state.level is Level.DOWN
        )
