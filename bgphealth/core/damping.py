"""Flap damping: what has gone down often waits before it is used again (RFC 2439).

Each fall costs `PENALTY`; penalties decay by half in every half-life. From the suppress level on,
what is up again is not used, until its penalty has decayed to the reuse level. A ceiling keeps the
wait below `max_suppress_s`, however long the flapping lasted (section 4.2).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from bgphealth.core.settings import Damping

PENALTY = 1000.0
"""What one fall costs: the unit of the levels in the file, as in FRR's ``bgp dampening``."""


class Penalty(NamedTuple):
    """The penalty of one path or service as it was at `at`; it decays by itself.

    `suppressed`: it has reached the suppress level, and not yet come down to the reuse level.
    """

    value: float = 0.0
    at: float = 0.0
    suppressed: bool = False

    def decayed(self, at: float, damping: Damping) -> Penalty:
        """Return the penalty at a later time."""
        value = self.value * 0.5 ** (max(0.0, at - self.at) / damping.half_life_s)
        return Penalty(value, at, self.suppressed and value > damping.reuse)

    def after_fall(self, at: float, damping: Damping) -> Penalty:
        """Return the penalty after one more fall."""
        before = self.decayed(at, damping)
        value = min(before.value + PENALTY, _ceiling(damping))
        return Penalty(value, at, before.suppressed or value >= damping.suppress)

    def reuse_in_s(self, at: float, damping: Damping) -> float:
        """Return how long it is still suppressed, in seconds; 0.0 when it is not."""
        now = self.decayed(at, damping)
        if not now.suppressed:
            return 0.0
        return damping.half_life_s * math.log2(now.value / damping.reuse)


def _ceiling(damping: Damping) -> float:
    """Return the penalty that takes just `max_suppress_s` to decay to the reuse level."""
    return damping.reuse * math.exp2(damping.max_suppress_s / damping.half_life_s)
