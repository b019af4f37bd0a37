"""In which order the uplinks' fallback defaults shall serve, should every better default be gone.

The order is the policy's own: who carries the family comes first, whatever that is worth (while
no path works, those that are kept), then what works all the same (degraded, damped, drained), then
what is down. A path without a verdict is not ranked: it stays where it is. In local mode, where the
order is all that there is, none is ranked while nobody carries: nothing changes then.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from bgphealth.core.carrying import Verdicts, usable
from bgphealth.core.health import PathKey
from bgphealth.core.hysteresis import Level
from bgphealth.core.settings import Mode, Scope, Settings


class Rank(IntEnum):
    """Where a path's fallback default stands; within a rank, the uplinks' numbers decide."""

    CARRIES = 0
    WORKS = 1
    DOWN = 2


def ranks(settings: Settings, verdicts: Verdicts) -> Mapping[PathKey, Rank]:
    """Return the rank of each path that has a verdict."""
    found: dict[PathKey, Rank] = {}
    for family in settings.families:
        carriers = usable(settings, verdicts, Scope(family)).uplinks
        if settings.mode is Mode.LOCAL and not carriers:
            continue
        for uplink, level in verdicts.levels_in(Scope(family)).items():
            if level is Level.INIT:
                continue
            spare = Rank.WORKS if level.works else Rank.DOWN
            found[PathKey(uplink, family)] = Rank.CARRIES if uplink in carriers else spare
    return found
