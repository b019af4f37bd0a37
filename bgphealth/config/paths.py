"""From `paths` of the file to what is said of every path, in each mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgphealth.core.settings import Damping, Family, ProbeSettings, Quality, Timing

if TYPE_CHECKING:
    from bgphealth.config.model import FlapDamping, Paths, Service

_FEWEST_ANSWERS, _MOST_ANSWERS = 20, 1000
"""A window of fewer answers says nothing about loss; one of more costs memory for nothing."""


def only(family: Family, probes: list[ProbeSettings]) -> tuple[ProbeSettings, ...]:
    """Return what is asked in a family: what has no target (exec, link) is asked in each."""
    return tuple(p for p in probes if p.target is None or Family.of(p.target) is family)


def timing(section: Paths | Service) -> Timing:
    """Return how often to ask."""
    return Timing(
        interval_s=section.interval,
        timeout_s=section.timeout,
        fall=section.fall,
        rise=section.rise,
    )


def suspect_interval(paths: Paths) -> float | None:
    """Return the interval on suspicion, None where it is no shorter."""
    suspect_s = paths.suspect_interval
    return suspect_s if suspect_s is not None and suspect_s < paths.interval else None


def quality(paths: Paths) -> Quality:
    """Return when a path is degraded."""
    degraded = paths.degraded
    answers = round(degraded.window / paths.interval)
    return Quality(
        window=min(max(answers, _FEWEST_ANSWERS), _MOST_ANSWERS),
        loss=degraded.loss.threshold,
        latency_s=degraded.latency.threshold if degraded.latency else None,
    )


def damping(section: FlapDamping | None) -> Damping | None:
    """Return how falls count, None for not at all."""
    if section is None or section.suppress is None:
        return None
    return Damping(
        half_life_s=section.half_life,
        suppress=section.suppress,
        reuse=section.reuse,
        max_suppress_s=section.max_suppress,
    )
