"""Flap damping: what has gone down often waits before it is used again (RFC 2439).

Each fall costs `PENALTY`; penalties decay by half in every half-life. From the suppress level on,
what is up again is not used, until its penalty has decayed to the reuse level. A ceiling keeps the
wait below `max_suppress_s`, however long the flapping lasted (section 4.2).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from bgphealth.core.health import Judgement
from bgphealth.core.hysteresis import Level
from bgphealth.core.reasons import Reason
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
        value = before.value + PENALTY
        if _wait_s(value, damping) > damping.max_suppress_s:
            value = damping.reuse * math.exp2(damping.max_suppress_s / damping.half_life_s)
        return Penalty(value, at, before.suppressed or value >= damping.suppress)

    def reuse_in_s(self, at: float, damping: Damping) -> float:
        """Return how long it is still suppressed, in seconds; 0.0 when it is not."""
        now = self.decayed(at, damping)
        if not now.suppressed:
            return 0.0
        return _wait_s(now.value, damping)


def weigh(
    before: Judgement, verdict: Judgement, penalty: Penalty | None, at: float, damping: Damping
) -> tuple[Judgement, Penalty | None]:
    """Return what becomes of a verdict on something that may flap, and its penalty.

    Args:
        before: the verdict until now.
        verdict: the one that its probes or checks speak for.
        penalty: what earlier falls have left, None when there were none.
        at: now.
        damping: what falls cost.
    """
    # When everything fell at once, the prober may be what is wrong.
    shared = verdict.reason is Reason.SHARED_FATE
    if before.level.works and verdict.level is Level.DOWN and not shared:
        return verdict, (penalty or Penalty()).after_fall(at, damping)
    if penalty is None or not verdict.level.works:
        return verdict, penalty
    penalty = penalty.decayed(at, damping)
    if not penalty.suppressed:
        return verdict, penalty
    wait_s = penalty.reuse_in_s(at, damping)
    evidence = f"penalty {penalty.value:.0f}, {damping.reuse:.0f} in {wait_s:.0f} s"
    return Judgement(Level.DAMPED, Reason.DAMPED, evidence), penalty


def _wait_s(value: float, damping: Damping) -> float:
    """Return how long it takes to decay to the reuse level."""
    return damping.half_life_s * math.log2(value / damping.reuse)
