"""At a start a service waits for the first verdict of all its paths, not of one.

An earlier run may have left it announced to all uplinks, and the verdicts come some hundredths of
a second apart: announced for the first path that is up, the service would leave the others until
theirs are there. A path that never gets a verdict is not waited for longer than `longest_s`.
"""

from __future__ import annotations

from bgphealth.core.engine import State
from bgphealth.core.hysteresis import Level
from bgphealth.core.intents import RouteKey
from bgphealth.core.settings import Family, Settings


def longest_s(settings: Settings) -> float:
    """Return how long after the start a path that works has its first verdict, in seconds."""
    timing = settings.path_timing
    return (timing.rise + timing.fall) * timing.interval_s + timing.timeout_s


def held(state: State) -> frozenset[RouteKey]:
    """Return the announcements that are for several uplinks, while one of them has no verdict."""
    waiting = {
        path.family for path, verdict in state.path_verdicts.items() if verdict.level is Level.INIT
    }
    return frozenset(
        key
        for key in state.intents
        if not key.path_id and key.neighbor is None and Family.of(key.prefix) in waiting
    )
