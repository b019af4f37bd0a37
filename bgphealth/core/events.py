"""What can happen to the engine. Each event carries its own time; the engine has no clock.

`at` is seconds on one monotonic clock, the same for all events of a run.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from bgphealth.core.orders import Order, Target, What
from bgphealth.core.settings import Address, Family, Prefix, ProbeSettings, Role


class Verdict(StrEnum):
    """The answer of one probe.

    `UNKNOWN` means that we could not ask (no permission, no address, cannot send, our own process
    was stalled): it never counts as `FAILED`.
    """

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Started:
    """The program runs: what needs no verdict (services without checks) is decided now."""

    at: float


@dataclass(frozen=True, slots=True)
class Settled:
    """It is `engine.settling_s` after the start: what has no verdict yet is not waited for."""

    at: float


class PathProbed(NamedTuple):
    """A probe of one path has its answer. `detail` says in words why it is not ok.

    `rtt_s` is the round-trip time in seconds, for kinds that have one.
    """

    # A tuple, unlike the others: made with every answer, and that in a quarter of the time.
    at: float
    uplink: str
    family: Family
    role: Role
    probe: ProbeSettings
    verdict: Verdict
    detail: str = ""
    rtt_s: float | None = None


@dataclass(frozen=True, slots=True)
class PathProbeOverdue:
    """A probe of one path has no answer yet after `suspect_interval_s`, long before its timeout."""

    at: float
    uplink: str
    family: Family
    role: Role
    probe: ProbeSettings


@dataclass(frozen=True, slots=True)
class ServiceChecked:
    """A check of a local service has its answer. `detail` says in words why it is not ok."""

    at: float
    service: str
    check: ProbeSettings
    verdict: Verdict
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LinkChanged:
    """The kernel says that an uplink's interface gained or lost its link (RFC 2863 operstate)."""

    at: float
    uplink: str
    up: bool


@dataclass(frozen=True, slots=True)
class AddressesSeen:
    """Of the addresses that matter, all that this host has and all that it has not."""

    at: float
    there: frozenset[Address]
    missing: frozenset[Address]


@dataclass(frozen=True, slots=True)
class AddressWithdrawn:
    """ExaBGP has acknowledged the last withdrawal of a host prefix that left the file."""

    at: float
    address: Address


@dataclass(frozen=True, slots=True)
class Drained:
    """The operator drains something; or did, before a restart, and `since` is in the past."""

    at: float
    what: What
    name: str
    since: float
    until: float | None = None
    forced: bool = False

    @property
    def target(self) -> Target:
        """What is drained."""
        return Target(self.what, self.name)

    @property
    def order(self) -> Order:
        """How it is drained."""
        return Order(self.since, self.until, self.forced)


@dataclass(frozen=True, slots=True)
class Undrained:
    """The operator ends a drain."""

    at: float
    what: What
    name: str

    @property
    def target(self) -> Target:
        """What is not drained any more."""
        return Target(self.what, self.name)


@dataclass(frozen=True, slots=True)
class AlternativesSeen:
    """bgpd was asked who else announces these prefixes; to those in `healthy` somebody does.

    `detail` says in words who.
    """

    at: float
    asked: tuple[Prefix, ...]
    healthy: tuple[Prefix, ...]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class AlternativesUnknown:
    """bgpd could not be asked who else announces what is down; `detail` says in words why."""

    at: float
    detail: str


@dataclass(frozen=True, slots=True)
class TimePassed:
    """It is as late as the engine wanted to know of (`State.next_at`)."""

    at: float


Event: TypeAlias = (
    Started
    | Settled
    | PathProbed
    | PathProbeOverdue
    | ServiceChecked
    | LinkChanged
    | AddressesSeen
    | AddressWithdrawn
    | Drained
    | Undrained
    | AlternativesSeen
    | AlternativesUnknown
    | TimePassed
)
