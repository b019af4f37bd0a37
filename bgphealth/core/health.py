"""From the answers of single probes to one verdict per path and per service.

A path is one address family of one uplink. It is up while every gateway probe is up (the ToR is
there) and at least `beyond_need` of the beyond probes are (there is a network behind it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from bgphealth.core.events import PathProbed, ServiceChecked, Verdict
from bgphealth.core.hysteresis import Hysteresis, Level
from bgphealth.core.reasons import Reason
from bgphealth.core.settings import (
    Family,
    ProbeSettings,
    Role,
    ServiceSettings,
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


@dataclass(frozen=True, slots=True)
class PathHealth:
    """All that is known of one path."""

    settings: UplinkPath
    probes: Mapping[PathProbe, Hysteresis]
    details: Mapping[PathProbe, str] = field(default_factory=dict)
    link_up: bool = True

    @classmethod
    def initial(cls, settings: UplinkPath) -> PathHealth:
        """Return the health of a path that has not been probed yet."""
        gateway = (PathProbe(Role.GATEWAY, probe) for probe in settings.gateway)
        beyond = (PathProbe(Role.BEYOND, probe) for probe in settings.beyond)
        return cls(settings, {probe: Hysteresis() for probe in (*gateway, *beyond)})

    def after_probe(self, event: PathProbed, timing: Timing) -> PathHealth:
        """Return the health after one answer; answers to probes that are not ours are ignored."""
        key = PathProbe(event.role, event.probe)
        before = self.probes.get(key)
        if before is None or not self.link_up:
            # An answer that was under way when the link went down says nothing about the link
            # that comes back.
            return self
        after = before.after(event.verdict, rise=timing.rise, fall=timing.fall)
        if after == before and event.verdict is Verdict.OK:
            return self
        details = {**self.details, key: event.detail}
        return replace(self, probes={**self.probes, key: after}, details=details)

    def after_link(self, *, up: bool) -> PathHealth:
        """Return the health after the link came or went; a link that comes back starts below."""
        if up == self.link_up:
            return self
        probes = self.probes if up else dict.fromkeys(self.probes, Hysteresis(Level.DOWN))
        return replace(self, link_up=up, probes=probes, details={})

    def judge(self) -> Judgement:
        """Return the verdict on the whole path."""
        if not self.link_up:
            return Judgement(Level.DOWN, Reason.LINK_DOWN)
        gateway = [p for p in self.probes if p.role is Role.GATEWAY]
        beyond = [p for p in self.probes if p.role is Role.BEYOND]
        if self._count(gateway, Level.DOWN):
            return Judgement(Level.DOWN, Reason.GATEWAY_FAILED, self._evidence(gateway))
        need = self.settings.beyond_need if beyond else 0
        if len(beyond) - self._count(beyond, Level.DOWN) < need:
            return Judgement(Level.DOWN, Reason.BEYOND_FAILED, self._evidence(beyond))
        if self._count(gateway, Level.UP) < len(gateway) or self._count(beyond, Level.UP) < need:
            return Judgement(Level.INIT, Reason.INIT)
        return Judgement(Level.UP, Reason.PROBES_OK)

    def _count(self, probes: list[PathProbe], level: Level) -> int:
        return sum(self.probes[probe].level is level for probe in probes)

    def _evidence(self, probes: list[PathProbe]) -> str:
        return "; ".join(
            f"{key.probe}: {self.details.get(key) or 'no answer yet'}"
            for key in probes
            if self.probes[key].level is Level.DOWN
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
        """Return the verdict on the whole service: up while every check is."""
        if not self.checks:
            return Judgement(Level.UP, Reason.NO_CHECKS)
        levels = {check: state.level for check, state in self.checks.items()}
        down = [check for check, level in levels.items() if level is Level.DOWN]
        if down:
            evidence = "; ".join(f"{check}: {self.details.get(check, '')}" for check in down)
            return Judgement(Level.DOWN, Reason.CHECK_FAILED, evidence)
        if Level.INIT in levels.values():
            return Judgement(Level.INIT, Reason.INIT)
        return Judgement(Level.UP, Reason.CHECKS_OK)
