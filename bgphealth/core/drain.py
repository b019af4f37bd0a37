"""Drains: what the operator has taken out of use, how far that has gone, and when it ends.

Whatever is drained is still announced for the settle time, so that its traffic goes elsewhere while
it still arrives; then it is not. A drain can end by itself.

The settle time has two halves. At first our AS is prepended once more: for everybody above the ToR
another path is shorter, but not for the ToR itself, which goes on delivering meanwhile. Only then
does GRACEFUL_SHUTDOWN (RFC 8326) follow, for those who do not go by the length. Said at once, it
would have the ToR send what it still gets back to where it came from.

An uplink whose drain was not forced carries again while no other uplink works: its drain is
suspended, and begins anew with the settle time when another one works. That is so for each choice
of uplinks by itself: one may be needed for a service that no other uplink may carry.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from bgphealth.core.events import Drained, TimePassed, Undrained
from bgphealth.core.health import PathKey
from bgphealth.core.orders import Order, Target, What
from bgphealth.core.reasons import Reason
from bgphealth.core.settings import LOOPBACK, Scope, Settings


class Leg(NamedTuple):
    """An uplink, as one of those that may carry something."""

    scope: Scope
    uplink: str

    @property
    def path(self) -> PathKey:
        """The path that it goes over."""
        return PathKey(self.uplink, self.scope.family)


Thing: TypeAlias = Leg | str
"""What is drained by itself: a leg, or a service by its name."""


class Stage(IntEnum):
    """How far a drain has gone: announced prepended, with GRACEFUL_SHUTDOWN, or not any more."""

    PREPENDED = 1
    SHUTDOWN = 2
    DRAINED = 3


class Settling(NamedTuple):
    """When a drained thing is announced with GRACEFUL_SHUTDOWN, and when no more."""

    shutdown_at: float
    settled_at: float
    is_shut_down: bool = False

    @property
    def stage(self) -> Stage:
        """How far it is."""
        return Stage.SHUTDOWN if self.is_shut_down else Stage.PREPENDED

    @property
    def until(self) -> float:
        """When the next stage begins."""
        return self.settled_at if self.is_shut_down else self.shutdown_at

    def at(self, at: float) -> Settling:
        """Return it as it is at a time."""
        return self if at < self.shutdown_at else self._replace(is_shut_down=True)


@dataclass(frozen=True, slots=True)
class DrainStarted:
    """Something is drained from now on, or until another time than before."""

    at: float
    target: Target
    order: Order


@dataclass(frozen=True, slots=True)
class DrainEnded:
    """A drain is over: undrained, its time is up, or what it drained is not in the file."""

    at: float
    target: Target
    reason: Reason


@dataclass(frozen=True, slots=True)
class DrainSuspended:
    """A drained path carries again, because no other one works."""

    at: float
    path: PathKey


@dataclass(frozen=True, slots=True)
class DrainResumed:
    """A path whose drain was suspended is drained again, because another one works."""

    at: float
    path: PathKey


DrainEffect: TypeAlias = DrainStarted | DrainEnded | DrainSuspended | DrainResumed


@dataclass(frozen=True, slots=True)
class Drains:
    """All drains of the host.

    `settling` is what is still announced; what is drained and not in it is not.
    """

    orders: Mapping[Target, Order] = field(default_factory=dict)
    settling: Mapping[Thing, Settling] = field(default_factory=dict)
    suspended: frozenset[Leg] = frozenset()

    @property
    def uplinks(self) -> Mapping[str, Order]:
        """The drained uplinks, by name."""
        return {t.name: order for t, order in self.orders.items() if t.what is What.UPLINK}

    def stage(self, thing: Thing) -> Stage | None:
        """Return how far a leg or a service is drained; None for not at all."""
        if not any(target in self.orders for target in _covering(thing)):
            return None
        settling = self.settling.get(thing)
        return Stage.DRAINED if settling is None else settling.stage

    @property
    def next_at(self) -> float | None:
        """When `TimePassed` is needed next; None for never."""
        ends = (order.until for order in self.orders.values() if order.until is not None)
        stages = (settling.until for settling in self.settling.values())
        return min((*ends, *stages), default=None)


class Outcome(NamedTuple):
    """The drains after an event, what changed, and what needs a fresh verdict to be used again."""

    drains: Drains
    effects: tuple[DrainEffect, ...] = ()
    released: tuple[PathKey | str, ...] = ()


def exists(target: Target, settings: Settings) -> bool:
    """Tell whether the file has such a thing. The host loopback cannot be drained by itself."""
    match target.what:
        case What.SERVICE:
            return target.name != LOOPBACK and target.name in (s.name for s in settings.services)
        case What.UPLINK:
            return target.name in (uplink.name for uplink in settings.uplinks)
        case What.HOST:
            return True


def after(drains: Drains, event: Drained | Undrained | TimePassed, settings: Settings) -> Outcome:
    """Return what an event makes of the drains."""
    match event:
        case Drained(at=at, target=target, order=order):
            if not exists(target, settings):
                return Outcome(drains, (DrainEnded(at, target, Reason.NOT_IN_FILE),))
            if order.until is not None and order.until <= at:
                return Outcome(drains, (DrainEnded(at, target, Reason.DRAIN_EXPIRED),))
            return _begin(drains, at, target, order, settings)
        case Undrained(at=at, target=target):
            if target not in drains.orders:
                return Outcome(drains)
            return _end(drains, at, {target: Reason.UNDRAINED}, settings)
        case TimePassed(at):
            expired = [
                target
                for target, order in drains.orders.items()
                if order.until is not None and order.until <= at
            ]
            settling = {
                thing: later.at(at)
                for thing, later in drains.settling.items()
                if later.settled_at > at
            }
            if settling != drains.settling:
                drains = replace(drains, settling=settling)
            return _end(drains, at, dict.fromkeys(expired, Reason.DRAIN_EXPIRED), settings)


def keep(drains: Drains, at: float, before: Settings, settings: Settings) -> Outcome:
    """Return the drains under another file: those of what is not there any more are over.

    For a choice of uplinks that is new, it is as it was for the whole family.
    """
    gone = [target for target in drains.orders if not exists(target, settings)]
    outcome = _end(drains, at, dict.fromkeys(gone, Reason.NOT_IN_FILE), settings)
    left, scopes = outcome.drains, set(before.scopes)

    def earlier(leg: Leg) -> Leg:
        return leg if leg.scope in scopes else Leg(Scope(leg.scope.family), leg.uplink)

    there: dict[Thing, Thing] = {s.name: s.name for s in settings.services}
    there |= {leg: earlier(leg) for uplink in left.uplinks for leg in _legs(uplink, settings)}
    left = Drains(
        left.orders,
        {new: left.settling[old] for new, old in there.items() if old in left.settling},
        frozenset(
            new for new, old in there.items() if isinstance(new, Leg) and old in left.suspended
        ),
    )
    return outcome._replace(drains=left)


def suspend(drains: Drains, at: float, needed: Set[Leg], settle_s: float) -> Outcome:
    """Return the drains when just these drained legs are needed, because no other one works."""
    if needed == drains.suspended:
        return Outcome(drains)
    # What ends here was carrying until now: it goes as gracefully as at first.
    resumed = [leg for leg in drains.suspended - needed if drains.stage(leg)]
    settling = {thing: until for thing, until in drains.settling.items() if thing not in needed}
    if settle_s > 0:
        settling |= dict.fromkeys(resumed, _settling(at, settle_s))
    was, now = _paths(drains.suspended), _paths(needed)
    effects: tuple[DrainEffect, ...] = (
        *(DrainSuspended(at, path) for path in sorted(now - was)),
        *(DrainResumed(at, path) for path in sorted(_paths(resumed) - now)),
    )
    return Outcome(Drains(drains.orders, settling, frozenset(needed)), effects)


def _begin(drains: Drains, at: float, target: Target, order: Order, settings: Settings) -> Outcome:
    before = drains.orders.get(target)
    if before is not None:
        # What is drained already does not come back for the settle time.
        order = order._replace(since=before.since)
    new = [thing for thing in _covered(target, settings) if drains.stage(thing) is None]
    settling = _settling(order.since, settings.drain_settle_s).at(at)
    settles = dict.fromkeys(new, settling) if settling.settled_at > at else {}
    after = Drains(
        {**drains.orders, target: order}, {**drains.settling, **settles}, drains.suspended
    )
    return Outcome(after, (DrainStarted(at, target, order),) if order != before else ())


def _settling(since: float, settle_s: float) -> Settling:
    return Settling(since + settle_s / 2, since + settle_s)


def _end(drains: Drains, at: float, ended: Mapping[Target, Reason], settings: Settings) -> Outcome:
    if not ended:
        return Outcome(drains)
    orders = {target: order for target, order in drains.orders.items() if target not in ended}
    left = replace(drains, orders=orders)
    free = [
        thing
        for target in ended
        for thing in _covered(target, settings)
        if left.stage(thing) is None
    ]
    # What is still announced, or again, needs no new verdict: it has one all the time.
    in_use = {*drains.settling, *drains.suspended}
    paths = _paths(thing for thing in free if isinstance(thing, Leg))
    released: list[PathKey | str] = sorted(
        paths - _paths(thing for thing in in_use if isinstance(thing, Leg))
    )
    released += [name for name in free if isinstance(name, str) and name not in in_use]
    return Outcome(
        Drains(
            orders,
            {thing: until for thing, until in drains.settling.items() if thing not in free},
            frozenset(drains.suspended.difference(free)),
        ),
        tuple(DrainEnded(at, target, reason) for target, reason in ended.items()),
        tuple(released),
    )


def _covered(target: Target, settings: Settings) -> Iterator[Thing]:
    """Return what a drain is about. The host's own loopback stays: what the host sends needs it."""
    match target.what:
        case What.SERVICE:
            yield target.name
        case What.HOST:
            yield from (s.name for s in settings.services if s.name != LOOPBACK)
        case What.UPLINK:
            yield from _legs(target.name, settings)


def _legs(uplink: str, settings: Settings) -> Iterator[Leg]:
    """Return what an uplink may be needed for; nothing if it is none."""
    families = {p.family for u in settings.uplinks if u.name == uplink for p in u.paths}
    for scope in settings.scopes:
        if scope.family in families and uplink in scope:
            yield Leg(scope, uplink)


def _paths(legs: Iterable[Leg]) -> set[PathKey]:
    return {leg.path for leg in legs}


def _covering(thing: Thing) -> tuple[Target, ...]:
    if isinstance(thing, Leg):
        return (Target(What.UPLINK, thing.uplink),)
    if thing == LOOPBACK:
        return ()
    return Target(What.SERVICE, thing), Target(What.HOST)
