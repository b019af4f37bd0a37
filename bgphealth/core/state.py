"""What the engine knows, and what it tells of each change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from bgphealth.core import policy
from bgphealth.core.addresses import AddressChanged, Addresses, AddressesChanged
from bgphealth.core.damping import Penalty
from bgphealth.core.decisions import Decision, Decisions
from bgphealth.core.drain import DrainEffect, Drains
from bgphealth.core.guard import Guard
from bgphealth.core.health import Judgement, PathHealth, PathKey, ServiceHealth
from bgphealth.core.intents import Intents, RouteKey
from bgphealth.core.preference import Preference
from bgphealth.core.settings import Prefix, Scope, Settings


@dataclass(frozen=True, slots=True)
class PathChanged:
    """The verdict on a path changed."""

    at: float
    path: PathKey
    before: Judgement
    after: Judgement


@dataclass(frozen=True, slots=True)
class ServiceChanged:
    """The verdict on a service changed."""

    at: float
    service: str
    before: Judgement
    after: Judgement


@dataclass(frozen=True, slots=True)
class DecisionChanged:
    """Another decision, or the same one for another reason, was taken for a route."""

    at: float
    key: RouteKey
    before: Decision | None
    after: Decision


@dataclass(frozen=True, slots=True)
class IntentsChanged:
    """The full set of announcements that is wanted from now on.

    Routes in `undecided` wait for their first verdict: leave them as they are.
    """

    at: float
    intents: Intents
    undecided: frozenset[RouteKey]


@dataclass(frozen=True, slots=True)
class PaceChanged:
    """The probes of a path shall come every `suspect_interval_s` (`suspect`), or normally again."""

    at: float
    path: PathKey
    suspect: bool


@dataclass(frozen=True, slots=True)
class AlternativesWanted:
    """From now on bgpd shall be asked who else announces these prefixes, and no others."""

    at: float
    prefixes: tuple[Prefix, ...]


Effect: TypeAlias = (
    PathChanged
    | ServiceChanged
    | DecisionChanged
    | IntentsChanged
    | PaceChanged
    | AlternativesWanted
    | DrainEffect
    | AddressChanged
    | AddressesChanged
)


class State(NamedTuple):
    """Everything that the engine knows. Make one with `engine.initial`, never by hand.

    `held_since` are the paths that would be down, or up again, were it not for shared fate;
    `suspects` those that are probed at the faster pace. The penalties are of those that have fallen
    since the start. `settled`: the start is over, and no path is waited for any more. `guards` are
    the prefixes of guarded services that are down. `preference` is what is in use, in local mode.
    """

    settings: Settings
    paths: Mapping[PathKey, PathHealth]
    services: Mapping[str, ServiceHealth]
    path_verdicts: Mapping[PathKey, Judgement]
    service_verdicts: Mapping[str, Judgement]
    last_usable: Mapping[Scope, frozenset[str]]
    decisions: Decisions
    held_since: Mapping[PathKey, float]
    suspects: frozenset[PathKey]
    path_penalties: Mapping[PathKey, Penalty]
    service_penalties: Mapping[str, Penalty]
    settled: bool
    drains: Drains
    guards: Mapping[Prefix, Guard]
    addresses: Addresses = Addresses()
    preference: Preference = Preference()

    @property
    def next_at(self) -> float | None:
        """When `TimePassed` is needed next; None for never."""
        times = (self.drains.next_at, self.addresses.next_at, self.preference.next_at)
        return min((at for at in times if at is not None), default=None)

    @property
    def intents(self) -> Intents:
        """What is wanted in the BGP table now."""
        return policy.intents(self.decisions)

    def with_path(self, key: PathKey, health: PathHealth) -> State:
        """Return the state with another health of one path."""
        # Not _replace, nor by names: this runs with every answer.
        return State(self.settings, {**self.paths, key: health}, *self[2:])
