"""From verdicts to intents: what a network engineer would have decided, and why.

- The default via an uplink is announced while its path works; with a lower local preference while
  the path is degraded, so that it is used only when no clean one is left.
- A service goes to the uplinks whose path of its family is up, or to the degraded ones when none
  is: one announcement, with one community per uplink that may carry it. In direct mode, where
  ExaBGP speaks to the ToRs itself, it is one announcement to each of their ToRs, and no default.
- Or a service goes to degraded uplinks beside the clean ones, as a worse path: with `on_degraded`.
- A service that only some uplinks may carry knows no others: when none of these is up, `all_down`
  decides for it. With `min_uplinks` it is withdrawn instead, as soon as fewer of them work.
- A service that requires others is announced only while these are up.
- Where bgpd originates a service's prefix as well (`on_injector_loss: keep`), a withdrawal would
  bring that out: not announced is said as announced to no uplink.
- While no path of a family is up, `all_down` decides; by default the last usable ones are kept,
  because taking the last path away never makes anything better; or the best of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

from bgphealth.core.health import Judgement, PathKey, Standing
from bgphealth.core.hysteresis import Level
from bgphealth.core.intents import Announcement, Community, Intents, RouteKey
from bgphealth.core.reasons import Reason
from bgphealth.core.settings import (
    DEGRADED_COMMUNITY,
    AllDown,
    Export,
    Family,
    InjectorLoss,
    Mode,
    Prefix,
    Scope,
    ServiceSettings,
    Settings,
    UplinkPath,
    UplinkSettings,
)

INJECTED_LOCAL_PREF = 100
"""Local preference of what we announce: above the ToR's own default (50), RFC 4271 5.1.5."""

DEGRADED_LOCAL_PREF = 90
"""Of a default via a degraded path: verified, so still above the ToR's own."""


class Decision(NamedTuple):
    """What is wanted for one route, and why. `announcement` is None for "not announced"."""

    announcement: Announcement | None
    reason: Reason

    @property
    def outward(self) -> Announcement | None:
        """The announcement, if a ToR gets to see it."""
        quiet = self.announcement is None or self.announcement.is_quiet
        return None if quiet else self.announcement


Decisions: TypeAlias = Mapping[RouteKey, Decision]


class Usable(NamedTuple):
    """The uplinks that shall carry the traffic of one scope now, and why just these."""

    uplinks: frozenset[str]
    reason: Reason


@dataclass(frozen=True, slots=True)
class Verdicts:
    """All that the policy looks at.

    `last_usable` remembers which uplinks last carried; `settled` is False while a start may still
    bring the first verdicts.
    """

    paths: Mapping[PathKey, Judgement]
    services: Mapping[str, Judgement]
    last_usable: Mapping[Scope, frozenset[str]]
    settled: bool
    standings: Mapping[PathKey, Standing]

    def awaits(self, scope: Scope) -> bool:
        """Return whether a path of this scope will soon have its first verdict.

        Those of a start come some hundredths of a second apart, and an earlier run may have left a
        service announced to all uplinks: announced for the first one, it would leave the others.
        """
        levels = (
            verdict.level
            for key, verdict in self.paths.items()
            if key.family is scope.family and key.uplink in scope
        )
        return not self.settled and Level.INIT in levels

    def down_in(self, scope: Scope) -> dict[str, Standing]:
        """Return how the paths of a scope that are down compare, by uplink."""
        return {
            key.uplink: standing
            for key, standing in self.standings.items()
            if key.family is scope.family
            and key.uplink in scope
            and self.paths[key].level is Level.DOWN
        }


def default_key(family: Family, uplink_number: int) -> RouteKey:
    """Return the key of the default via one uplink."""
    return RouteKey(family.default_prefix, uplink_number)


def session_key(prefix: Prefix, path: UplinkPath) -> RouteKey:
    """Return the key of a prefix towards the ToR at the other end of one path (direct mode)."""
    return RouteKey(prefix, neighbor=path.neighbor)


def owned(settings: Settings) -> frozenset[RouteKey]:
    """Return every route that is ours to announce or to withdraw, whatever the verdicts."""
    prefixes = [(service, prefix) for service in settings.services for prefix in service.prefixes]
    if settings.mode is Mode.DIRECT:
        return frozenset(
            session_key(prefix, path)
            for service, prefix in prefixes
            for _, path in _over(settings, service, prefix)
        )
    defaults = (
        default_key(path.family, uplink.number)
        for uplink in settings.uplinks
        for path in uplink.paths
    )
    return frozenset((*defaults, *(RouteKey(prefix) for _, prefix in prefixes)))


def carriers(levels: Mapping[str, Level], last: Set[str] = frozenset()) -> frozenset[str]:
    """Return the uplinks that are up; if there are none, the degraded ones, or else the damped.

    Those of `last`, which carried before, stay beside the ones that are up while they wait for a
    verdict again, after a reload. When they are the only ones, nobody can tell: none is returned.
    """
    clean, waiting = _at(levels, Level.UP), _at(levels, Level.INIT) & last
    if clean:
        return clean | waiting
    return frozenset() if waiting else _at(levels, Level.DEGRADED) or _at(levels, Level.DAMPED)


def best(last: Set[str], down: Mapping[str, Standing]) -> frozenset[str]:
    """Return which uplinks to keep of those that are `down`: where the most still works.

    Of those that carried `last`, all that none is better than; others only when they are better
    than each of these. So nothing moves between equals.
    """
    beaten = {
        name
        for name, standing in down.items()
        if any(other.is_better_than(standing) for other in down.values())
    }
    better = {
        name
        for name, standing in down.items()
        if all(standing.is_better_than(down[kept]) for kept in last & down.keys())
    }
    return frozenset(last - beaten or better - beaten)


def _at(levels: Mapping[str, Level], wanted: Level) -> frozenset[str]:
    return frozenset(name for name, level in levels.items() if level is wanted)


def usable(settings: Settings, verdicts: Verdicts, scope: Scope) -> Usable:
    """Return which uplinks carry a scope: the clean ones, else the degraded, else `all_down`."""
    family = scope.family
    judged = {
        uplink.name: verdicts.paths[PathKey(uplink.name, family)].level
        for uplink in settings.uplinks
        if PathKey(uplink.name, family) in verdicts.paths and uplink.name in scope
    }
    last = verdicts.last_usable.get(scope, frozenset())
    if working := carriers(judged, last):
        damped = any(judged[name] is Level.DAMPED for name in working)
        return Usable(working, Reason.DAMPED_LAST if damped else Reason.PATH_UP)
    if any(judged.get(name) is Level.INIT for name in last):
        return Usable(frozenset(), Reason.INIT)
    if not last:
        waiting = Level.INIT in judged.values()
        return Usable(last, Reason.INIT if waiting else Reason.ALL_DOWN_NOTHING_TO_KEEP)
    if settings.all_down is AllDown.WITHDRAW:
        return Usable(frozenset(), Reason.ALL_DOWN_WITHDRAW)
    if settings.all_down is AllDown.KEEP_BEST:
        return Usable(best(last, verdicts.down_in(scope)), Reason.ALL_DOWN_KEEP_BEST)
    together = any(
        verdicts.paths[PathKey(name, family)].reason is Reason.SHARED_FATE for name in last
    )
    return Usable(last, Reason.ALL_DOWN_SHARED_FATE if together else Reason.ALL_DOWN_KEEP_LAST)


def decide(settings: Settings, verdicts: Verdicts) -> Decisions:
    """Return the decision for every route that is ours."""
    usable_in = {scope: usable(settings, verdicts, scope) for scope in settings.scopes}
    decisions: dict[RouteKey, Decision] = {}
    if settings.mode is Mode.DIRECT:
        for service in settings.services:
            decisions.update(_decide_sessions(settings, service, verdicts, usable_in))
        return decisions
    for uplink in settings.uplinks:
        for path in uplink.paths:
            key = default_key(path.family, uplink.number)
            decisions[key] = _decide_default(
                uplink.name,
                Announcement(key, path.next_hop, INJECTED_LOCAL_PREF),
                usable_in[Scope(path.family)],
                verdicts.paths[PathKey(uplink.name, path.family)],
            )
    for service in settings.services:
        decisions.update(_decide_service(settings, service, verdicts, usable_in))
    return decisions


def intents(decisions: Decisions) -> Intents:
    """Return what is wanted in the BGP table."""
    return {key: d.announcement for key, d in decisions.items() if d.announcement is not None}


def undecided(decisions: Decisions) -> frozenset[RouteKey]:
    """Return the routes that wait for a first verdict: neither announced nor withdrawn yet."""
    return frozenset(
        key for key, d in decisions.items() if d.announcement is None and d.reason is Reason.INIT
    )


def _decide_default(
    uplink: str, announcement: Announcement, carrier: Usable, judgement: Judgement
) -> Decision:
    if judgement.level is Level.DEGRADED:
        degraded = replace(announcement, local_pref=DEGRADED_LOCAL_PREF)
        return Decision(degraded, Reason.PATH_DEGRADED)
    if uplink in carrier.uplinks and judgement.level is not Level.INIT:
        return Decision(announcement, carrier.reason)
    return Decision(None, _why_not(carrier, judgement))


def _why_not(carrier: Usable, judgement: Judgement) -> Reason:
    """Return why an uplink that shall not carry the traffic does not."""
    match judgement.level:
        case Level.INIT:
            return Reason.INIT
        case Level.DEGRADED:
            return Reason.PATH_DEGRADED
        case Level.DAMPED:
            return Reason.DAMPED
        case _:
            return Reason.PATH_DOWN if carrier.uplinks else carrier.reason


def _decide_service(
    settings: Settings,
    service: ServiceSettings,
    verdicts: Verdicts,
    usable_in: Mapping[Scope, Usable],
) -> dict[RouteKey, Decision]:
    decisions = {}
    for prefix in service.prefixes:
        key = RouteKey(prefix)
        scope = service.scope(Family.of(prefix))
        carrier = usable_in[scope]
        if why_not := _why_not_served(settings, service, verdicts, prefix, carrier):
            decisions[key] = Decision(None, why_not)
        elif verdicts.awaits(scope):
            decisions[key] = Decision(None, Reason.INIT)
        elif not carrier.uplinks:
            decisions[key] = Decision(None, carrier.reason)
        else:
            announcement = Announcement(
                key,
                settings.host.discard_next_hop_for(Family.of(prefix)),
                INJECTED_LOCAL_PREF,
                (*_steering(settings, service, verdicts, prefix, carrier), *service.communities),
                service.large_communities,
            )
            decisions[key] = Decision(announcement, _why_served(carrier))
    if service.on_injector_loss is InjectorLoss.KEEP:
        return {key: _quiet(settings, key, decision) for key, decision in decisions.items()}
    return decisions


def _steering(
    settings: Settings,
    service: ServiceSettings,
    verdicts: Verdicts,
    prefix: Prefix,
    carrier: Usable,
) -> Iterator[Community]:
    """Return one community for each uplink that shall carry a prefix."""
    for uplink, path in _over(settings, service, prefix):
        judgement = verdicts.paths[PathKey(uplink.name, path.family)]
        if _goes_degraded(service, judgement):
            number = uplink.number + DEGRADED_COMMUNITY
            yield Community(settings.host.community_asn, number)
        elif uplink.name in carrier.uplinks:
            yield Community(settings.host.community_asn, uplink.number)


def _goes_degraded(service: ServiceSettings, judgement: Judgement) -> bool:
    """Tell whether a service goes over a path as a worse one, whatever the others are."""
    return judgement.level is Level.DEGRADED and service.degraded_export is not None


def _quiet(settings: Settings, key: RouteKey, decision: Decision) -> Decision:
    """Say "not announced" so that bgpd's own origin does not come out: best inside, for no ToR.

    Where nothing has ever worked, the probes may be what is wrong: bgpd's origin is left alone.
    """
    nothing_known = decision.reason in (Reason.INIT, Reason.ALL_DOWN_NOTHING_TO_KEEP)
    if decision.announcement is not None or nothing_known:
        return decision
    next_hop = settings.host.discard_next_hop_for(Family.of(key.prefix))
    return Decision(Announcement(key, next_hop, INJECTED_LOCAL_PREF), decision.reason)


def _decide_sessions(
    settings: Settings,
    service: ServiceSettings,
    verdicts: Verdicts,
    usable_in: Mapping[Scope, Usable],
) -> dict[RouteKey, Decision]:
    """Decide for each prefix and each ToR that could have it."""
    decisions = {}
    for prefix in service.prefixes:
        family = Family.of(prefix)
        carrier = usable_in[service.scope(family)]
        why_not = _why_not_served(settings, service, verdicts, prefix, carrier)
        for uplink, path in _over(settings, service, prefix):
            key = session_key(prefix, path)
            judgement = verdicts.paths[PathKey(uplink.name, family)]
            if why_not:
                decisions[key] = Decision(None, why_not)
            elif service.degraded_export and _goes_degraded(service, judgement):
                worse = _to_session(settings, service, key, service.degraded_export)
                decisions[key] = Decision(worse, Reason.PATH_DEGRADED)
            elif uplink.name in carrier.uplinks and judgement.level is not Level.INIT:
                announcement = _to_session(settings, service, key, service.export)
                decisions[key] = Decision(announcement, _why_served(carrier))
            else:
                decisions[key] = Decision(None, _why_not(carrier, judgement))
    return decisions


def _to_session(
    settings: Settings, service: ServiceSettings, key: RouteKey, export: Export
) -> Announcement:
    """Return what a ToR is told: the host itself is the next hop, and no local preference."""
    return Announcement(
        key,
        next_hop=None,
        local_pref=None,
        communities=service.communities,
        large_communities=service.large_communities,
        med=export.med,
        as_path=(settings.host.asn,) * (1 + export.prepend) if export.prepend else (),
    )


def _over(
    settings: Settings, service: ServiceSettings, prefix: Prefix
) -> Iterator[tuple[UplinkSettings, UplinkPath]]:
    """Return what can carry a prefix: uplinks that may, and have a path of its family."""
    scope = service.scope(Family.of(prefix))
    for uplink in settings.uplinks:
        for path in uplink.paths:
            if path.family is scope.family and uplink.name in scope:
                yield uplink, path


def _why_served(carrier: Usable) -> Reason:
    return Reason.SERVICE_UP if carrier.reason is Reason.PATH_UP else carrier.reason


def _why_not_served(
    settings: Settings,
    service: ServiceSettings,
    verdicts: Verdicts,
    prefix: Prefix,
    carrier: Usable,
) -> Reason | None:
    """Return what of the service itself keeps a prefix from being announced, or None.

    What waits for a verdict, be it of a service that is required, is left as it is.
    """
    own = verdicts.services[service.name].level
    required = {verdicts.services[name].level for name in service.requires}
    if own in (Level.DOWN, Level.DAMPED):
        return Reason.DAMPED if own is Level.DAMPED else Reason.SERVICE_DOWN
    if required & {Level.DOWN, Level.DAMPED}:
        return Reason.REQUIRED_SERVICE_DOWN
    if Level.INIT in {own, *required}:
        return Reason.INIT
    if not carrier.uplinks:
        return None  # That is told better by the reason for it.
    family = Family.of(prefix)
    levels = [
        verdicts.paths[PathKey(uplink.name, family)].level
        for uplink, _ in _over(settings, service, prefix)
    ]
    # A damped one does not count, or the service would come and go with it.
    working = sum(level in (Level.UP, Level.DEGRADED) for level in levels)
    if working >= service.min_uplinks:
        return None
    possible = working + levels.count(Level.INIT) >= service.min_uplinks
    return Reason.INIT if possible else Reason.TOO_FEW_UPLINKS
