"""A scenario: what happens to a host, told by a person, and what should come of it.

`bgphealth.config` builds these from the file; times are seconds from the start.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from bgphealth.core.events import Verdict
from bgphealth.core.health import PathKey, PathProbe
from bgphealth.core.hysteresis import Level
from bgphealth.core.orders import Target
from bgphealth.core.reasons import Reason
from bgphealth.core.settings import Address, Prefix, ProbeSettings, Settings

GOOD_RTT_S = 0.001
"""The round-trip time while the file says nothing else."""


class Behaviour(StrEnum):
    """How a probe or a check is answered.

    `FAILED`: nothing comes back, and that is known at the timeout; a session is down, which is
    known at once. `REFUSED`: a failure that comes back like an answer. `UNKNOWN`: it could not be
    asked.
    """

    OK = "ok"
    FAILED = "failed"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class AskedPath(NamedTuple):
    """One probe of one path."""

    path: PathKey
    probe: PathProbe


class AskedService(NamedTuple):
    """One check of one service."""

    service: str
    check: ProbeSettings


Asked: TypeAlias = AskedPath | AskedService


@dataclass(frozen=True, slots=True)
class Answers:
    """From now on these are answered so; what is None stays as it is.

    `loss` is a ratio from 0 to 1 of what is lost on top of the behaviour.
    """

    asked: tuple[Asked, ...]
    behaviour: Behaviour | None = None
    loss: float | None = None
    rtt_s: float | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """From now on the links of these uplinks are up or down."""

    uplinks: tuple[str, ...]
    up: bool


@dataclass(frozen=True, slots=True)
class AddressStep:
    """From now on these addresses are on the host, or missing there."""

    addresses: tuple[Address, ...]
    there: bool


@dataclass(frozen=True, slots=True)
class Drain:
    """The operator drains something, for `lasts_s` or until it is undrained."""

    target: Target
    lasts_s: float | None
    forced: bool


@dataclass(frozen=True, slots=True)
class Undrain:
    """The operator ends a drain."""

    target: Target


@dataclass(frozen=True, slots=True)
class Others:
    """From now on another host has a healthy path to these prefixes, or none, or who knows."""

    prefixes: tuple[Prefix, ...]
    seen: Verdict


Change: TypeAlias = Answers | Link | AddressStep | Drain | Undrain | Others


@dataclass(frozen=True, slots=True)
class Step:
    """Something happens. `said` is that in words; empty where nobody need hear it again."""

    at: float
    said: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class PathExpected:
    """The verdict on a path; what is None is not looked at, here and below."""

    path: PathKey
    level: Level | None
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class ServiceExpected:
    """The verdict on a service."""

    service: str
    level: Level | None
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class RouteExpected:
    """What is announced for a prefix; for a default via the one uplink of that number.

    `uplinks` are those that may carry it: exactly these, none for "not announced".
    """

    prefix: Prefix
    path_id: int
    announced: bool | None
    uplinks: frozenset[str] | None
    local_pref: int | None
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class ChangesExpected:
    """How many announcements and withdrawals there were after `since`; None for any number."""

    since: float
    at_least: int
    at_most: int | None


Expected: TypeAlias = PathExpected | ServiceExpected | RouteExpected | ChangesExpected


@dataclass(frozen=True, slots=True)
class Expectation:
    """What should be so at a time, and where in the file that is said."""

    at: float
    line: int
    expected: Expected


@dataclass(frozen=True, slots=True)
class Scenario:
    """The whole file. `config` names the configuration that `settings` come from."""

    about: str
    config: str
    settings: Settings
    seed: int
    end: float
    steps: tuple[Step, ...]
    expectations: tuple[Expectation, ...]
