"""What a probe answers, and what every kind of probe can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias

from bgphealth.core.events import Verdict
from bgphealth.core.settings import ProbeSettings


class Outcome(NamedTuple):
    """The answer of one probe. `rtt_s` is the round-trip time in seconds where there is one."""

    verdict: Verdict
    detail: str = ""
    rtt_s: float | None = None


Answer: TypeAlias = Callable[[Outcome], None]


class Prober(Protocol):
    """One kind of probe, bound to one path (or to none, for checks of local services)."""

    def ask(self, probe: ProbeSettings, timeout_s: float, answer: Answer) -> None:
        """Ask once. `answer` is called exactly once, at the latest soon after `timeout_s`."""

    def close(self) -> None:
        """Free the sockets; what is still under way is not answered any more."""


def no_answer(timeout_s: float) -> Outcome:
    """Return the outcome of a probe that was asked and got nothing back in time."""
    return Outcome(Verdict.FAILED, f"no answer within {timeout_s * 1000:.0f} ms")


def unknown(detail: str) -> Outcome:
    """Return the outcome of a probe that could not be asked."""
    return Outcome(Verdict.UNKNOWN, detail)
