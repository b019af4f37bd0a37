"""The uplink's own interface: does it have a carrier, does it have an address.

There is nothing to send: the kernel announces changes, and `fallback` has looked already.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from bgphealth.core.events import Verdict
from bgphealth.core.settings import LinkQuestion, ProbeSettings
from bgphealth.probes.binding import Source
from bgphealth.probes.outcome import Answer, Outcome, unknown

LinkState: TypeAlias = Callable[[], bool | None]
"""Returns whether the link is up (RFC 2863), or None when nobody has looked yet."""


class LinkProber:
    """Answers for one path from what is known of its interface, at once and without I/O.

    Args:
        interface: the uplink's interface.
        link: the last look at its state.
        address: the last look at the address that the path has.
    """

    def __init__(self, interface: str, link: LinkState, address: Source) -> None:
        self._interface = interface
        self._link = link
        self._has = address

    def ask(self, probe: ProbeSettings, timeout_s: float, answer: Answer) -> None:  # noqa: ARG002
        """Answer before returning. See `Prober.ask`."""
        what = probe.question.what if isinstance(probe.question, LinkQuestion) else "carrier"
        answer(self._address() if what == "address" else self._carrier())

    def close(self) -> None:
        """Nothing is open."""

    def _carrier(self) -> Outcome:
        match self._link():
            case None:
                return unknown(f"{self._interface} has not been looked at yet")
            case True:
                return Outcome(Verdict.OK)
            case False:
                return Outcome(Verdict.FAILED, f"{self._interface} has no carrier")

    def _address(self) -> Outcome:
        if self._link() is None:
            return unknown(f"{self._interface} has not been looked at yet")
        address = self._has()
        return Outcome(Verdict.FAILED, address) if isinstance(address, str) else Outcome(Verdict.OK)
