"""Rise and fall: how many equal answers in a row it takes to believe them.

    INIT --rise × ok--> UP --fall × failed--> DOWN --rise × ok--> UP
    INIT --fall × failed--> DOWN

An answer of the other kind starts the count again; `unknown` leaves it as it is, because not
having asked says nothing about the path.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bgphealth.core.events import Verdict


class Level(StrEnum):
    """What is believed of a probe, a path or a service.

    `INIT`: nothing yet. `DEGRADED` (paths only): it works, badly; used when nothing better is left.
    `DAMPED`: it works, but went down too often: a path is used when nothing else works, a service
    is not announced.
    """

    INIT = "init"
    UP = "up"
    DEGRADED = "degraded"
    DAMPED = "damped"
    DOWN = "down"

    @property
    def works(self) -> bool:
        """Whether traffic gets through, be it badly."""
        return self in (Level.UP, Level.DEGRADED, Level.DAMPED)


@dataclass(frozen=True, slots=True)
class Hysteresis:
    """One probe's level and the run of equal answers that speaks for the next one."""

    level: Level = Level.INIT
    ok_run: int = 0
    failed_run: int = 0

    def after(self, verdict: Verdict, *, rise: int, fall: int) -> Hysteresis:
        """Return the state after one more answer; `rise` and `fall` are counts of answers."""
        if verdict is Verdict.UNKNOWN:
            return self
        if verdict is Verdict.OK:
            run = min(self.ok_run + 1, rise)
            if run == self.ok_run and self.level is Level.UP:
                return self
            return Hysteresis(Level.UP if run >= rise else self.level, ok_run=run)
        run = min(self.failed_run + 1, fall)
        return Hysteresis(Level.DOWN if run >= fall else self.level, failed_run=run)
