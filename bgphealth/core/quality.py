"""Loss and latency of one probe, over a window of its last answers.

Two things look alike at first: random loss, and the beginning of the end. Failures in a row are
therefore set aside until an answer comes: few of them were loss; as many as take the probe down
were an outage, which says nothing about the quality of the path before or after it.

The other way round, a probe that is known to lose answers needs a longer run of failures to be
called dead: with a loss of 30 %, three in a row happen every few seconds.
"""

from __future__ import annotations

from array import array
from math import ceil, isnan, log, nan, sqrt
from struct import Struct
from typing import NamedTuple

from bgphealth.core.events import Verdict

MIN_SAMPLES = 20
"""Fewer answers than this say nothing about loss."""

_CONFIDENCE_Z = 2.33
"""Quantile of the normal distribution: 99 % sure, one-sided."""

_CHANCE = 1e-6
"""How likely random loss may be to look like death, at each probe."""

_MAX_FALL = 5
"""A lossy probe needs at most so many times `fall`."""


_RTT = Struct("d")
_LOST = _RTT.pack(nan)


class Window(NamedTuple):
    """The last answers of one probe.

    `packed` holds their round-trip times, because the window moves with every answer: one object
    is copied faster than fifty are touched.
    """

    size: int
    packed: bytes = b""
    lost: int = 0
    set_aside: int = 0

    @property
    def answers(self) -> tuple[float | None, ...]:
        """The round-trip times in seconds, oldest first, None for a lost answer."""
        return tuple(None if isnan(rtt) else rtt for rtt in array("d", self.packed))

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
            return self._replace(set_aside=self.set_aside + 1)
        if self.set_aside >= fall:
            return Window(self.size, _RTT.pack(rtt_s or 0.0))
        moved = self.packed + _LOST * self.set_aside + _RTT.pack(rtt_s or 0.0)
        packed = moved[-self.size * _RTT.size :]
        # Most paths lose nothing, and then there is nothing to count.
        lost = sum(map(isnan, array("d", packed))) if self.lost or self.set_aside else 0
        return Window(self.size, packed, lost)

    def of_size(self, size: int) -> Window:
        """Return the window with as much of it as there is room for in another size."""
        packed = self.packed[-size * _RTT.size :]
        return Window(size, packed, sum(map(isnan, array("d", packed))), self.set_aside)

    @property
    def loss(self) -> float | None:
        """The ratio of lost answers, from 0 to 1; None while there are too few."""
        count = self._count
        if count < min(MIN_SAMPLES, self.size):
            return None
        return self.lost / count

    @property
    def sure_loss(self) -> float | None:
        """The loss that there is at least, with 99 % confidence; None while there are too few.

        The lower bound of Wilson's interval: five lost of fifty may be bad luck at 4 %.
        """
        loss, count, z = self.loss, self._count, _CONFIDENCE_Z
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

    @property
    def _count(self) -> int:
        return len(self.packed) // _RTT.size


def patient_fall(fall: int, loss: float | None) -> int:
    """Return how many failures in a row it takes at this loss to be more than bad luck."""
    if not loss or loss >= 1:
        return fall if not loss else fall * _MAX_FALL
    return max(fall, min(ceil(log(_CHANCE) / log(loss)), fall * _MAX_FALL))
