"""Loss and latency of one probe, over a window of its last answers.

Two things look alike at first: random loss, and the beginning of the end. Failures in a row are
therefore set aside until an answer comes: few of them were loss; as many as take the probe down
were an outage, which says nothing about the quality of the path before or after it.

The other way round, a probe that is known to lose answers needs a longer run of failures to be
called dead: with a loss of 30 %, three in a row happen every few seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, log, sqrt

from bgphealth.core.events import Verdict

MIN_SAMPLES = 20
"""Fewer answers than this say nothing about loss."""

_CONFIDENCE_Z = 2.33
"""Quantile of the normal distribution: 99 % sure, one-sided."""

_CHANCE = 1e-6
"""How likely random loss may be to look like death, at each probe."""

_MAX_FALL = 5
"""A lossy probe needs at most so many times `fall`."""


@dataclass(frozen=True, slots=True)
class Window:
    """The last answers of one probe: the round-trip time in seconds, or None for a lost one."""

    size: int
    answers: tuple[float | None, ...] = ()
    lost: int = 0
    set_aside: int = 0

    def after(self, verdict: Verdict, rtt_s: float | None, fall: int) -> Window:
        """Return the window after one answer.

        Args:
            verdict: the answer.
            rtt_s: its round-trip time in seconds, if it has one.
            fall: how many failures in a row are an outage.
        """
        if verdict is Verdict.UNKNOWN:
            return self
        if verdict is Verdict.FAILED:
            return replace(self, set_aside=self.set_aside + 1)
        if self.set_aside >= fall:
            return Window(self.size, (rtt_s or 0.0,))
        answers = (*self.answers, *(None,) * self.set_aside, rtt_s or 0.0)[-self.size :]
        return Window(self.size, answers, answers.count(None))

    @property
    def loss(self) -> float | None:
        """The ratio of lost answers, from 0 to 1; None while there are too few."""
        if len(self.answers) < min(MIN_SAMPLES, self.size):
            return None
        return self.lost / len(self.answers)

    @property
    def sure_loss(self) -> float | None:
        """The loss that there is at least, with 99 % confidence; None while there are too few.

        The lower bound of Wilson's interval: five lost of fifty may be bad luck at 4 %.
        """
        loss, count, z = self.loss, len(self.answers), _CONFIDENCE_Z
        if loss is None:
            return None
        middle = loss + z * z / (2 * count)
        margin = z * sqrt(loss * (1 - loss) / count + z * z / (4 * count * count))
        return (middle - margin) / (1 + z * z / count)

    @property
    def latency_s(self) -> float | None:
        """The mean round-trip time in seconds of the answers; None while there are too few."""
        rtts = [rtt for rtt in self.answers if rtt is not None]
        if len(rtts) < min(MIN_SAMPLES, self.size) / 2:
            return None
        return sum(rtts) / len(rtts)


def patient_fall(fall: int, loss: float | None) -> int:
    """Return how many failures in a row it takes at this loss to be more than bad luck."""
    if not loss or loss >= 1:
        return fall if not loss else fall * _MAX_FALL
    return max(fall, min(ceil(log(_CHANCE) / log(loss)), fall * _MAX_FALL))
