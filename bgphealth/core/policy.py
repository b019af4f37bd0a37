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
- A drained uplink carries nothing and a drained service is not announced. Before that, while they
  settle, services are announced prepended, then with GRACEFUL_SHUTDOWN (RFC 8326). With FRR a
  service is one announcement for all ToRs: for those uplinks it carries another community, in the
  place of the usual one, and the route-map towards each ToR does the rest.
- A service goes with what it cannot do without: with a drained one that it requires, and with
  drained uplinks that leave fewer than `min_uplinks`.
- Where bgpd originates a service's prefix as well (`on_injector_loss: keep`), a withdrawal would
  bring that out: not announced is said as announced to no uplink.
- While no path of a family is up, `all_down` decides; by default the last usable ones are kept,
  because taking the last path away never makes anything better; or the best of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeAlias

from bgphealth.core.drain import Drains, Leg, Stage
from bgphealth.core.health import Judgement, PathKey, Standing
from bgphealth.core.hysteresis import Level
from bgphealth.core.intents import Announcement, Community, Intents, RouteKey
from bgphealth.core.reasons import Reason
from bgphealth.core.settings import (
    DEGRADED_COMMUNITY,
    DRAIN_COMMUNITY,
    AllDown,
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

DRAINING_LOCAL_PREF = 80
"""Of a default that is being drained: only used when no other injected one is left."""

GRACEFUL_SHUTDOWN = Community(65535, 0)
"""RFC 8326: who receives it prefers any other path, but can still use this one."""

OFFSETS = {Stage.PREPENDED: DRAIN_COMMUNITY, Stage.SHUTDOWN: 2 * DRAIN_COMMUNITY}
"""What the low half of an uplink's steering community is raised by while it is being drained."""


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

    `last_usable` remembers which uplinks last carried, drained ones apart; `settled` is False while
    a start may still bring the first verdicts.
    """

    paths: Mapping[PathKey, Judgement]
    services: Mapping[str, Judgement]
    last_usable: Mapping[Scope, frozenset[str]]
    settled: bool
    standings: Mapping[PathKey, Standing]
    drains: Drains = field(default_factory=Drains)

    def awaits(self, scope: Scope) -> bool:
        """Return whether a path of this scope will soon have its first verdict.

        Those of a start come some hundredths of a second apart, and an earlier run may have left a
        service announced to all uplinks: announced for the first one, it would leave the others.
        """
        return not self.settled and Level.INIT in self.levels_in(scope).values()

    def levels_in(self, scope: Scope) -> dict[str, Level]:
        """Return the levels of the paths of a scope, by uplink."""
        return {
            key.uplink: verdict.level
            for key, verdict in self.paths.items()
            if key.family is scope.family and key.uplink in scope
        }

    def down_in(self, scope: Scope) -> dict[str, Standing]:
        """Return how the paths of a scope that are down and not drained compare, by uplink."""
        drained = self.drains.uplinks
        return {
            uplink: self.standings[PathKey(uplink, scope.family)]
            for uplink, level in self.levels_in(scope).items()
            if level is Level.DOWN and uplink not in drained
        }

    def leaving(self, scope: Scope) -> frozenset[str]:
        """Return the drained uplinks that are still announced, of those that would carry."""
        drained = self.drains.uplinks
        settling = {name for name in drained if Leg(scope, name) in self.drains.settling}
        left = drained.keys() - settling
        levels = {n: level for n, level in self.levels_in(scope).items() if n not in left}
        return carriers(levels) & settling


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


def steering(
    settings: Settings,
    uplink: UplinkSettings,
    stage: Stage | None = None,
    *,
    degraded: bool = False,
) -> Community:
    """Return the community that sends a service to the ToR of an uplink."""
    number = uplink.number + (DEGRADED_COMMUNITY if degraded else 0)
    return Community(settings.host.community_asn, number + (OFFSETS[stage] if stage else 0))


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


def usable(  # noqa: PLR0911 - one for each case
    settings: Settings, verdicts: Verdicts, scope: Scope
) -> Usable:
    """Return which uplinks carry a scope: the clean ones, else the degraded, else `all_down`.

    Drained ones do not, unless no other works and they may stand in for it.
    """
    judged, drained = verdicts.levels_in(scope), verdicts.drains.uplinks
    spared = {name: level for name, level in judged.items() if name not in drained}
    spares = {n: level for n, level in judged.items() if n in drained and not drained[n].forced}
    last = verdicts.last_usable.get(scope, frozenset())
    if working := carriers(spared, last):
        damped = any(spared[name] is Level.DAMPED for name in working)
        return Usable(working, Reason.DAMPED_LAST if damped else Reason.PATH_UP)
    if any(spared.get(name) is Level.INIT for name in last):
        return Usable(frozenset(), Reason.INIT)
    waiting = Level.INIT in spared.values()
    if (last or not waiting) and (working := carriers(spares)):
        return Usable(working, Reason.DRAIN_SUSPENDED)
    if not last:
        if waiting or Level.INIT in spares.values():
            return Usable(last, Reason.INIT)
        forced = any(drained[name].forced for name in judged if name in drained)
        return Usable(last, Reason.DRAINED if forced else Reason.ALL_DOWN_NOTHING_TO_KEEP)
    if settings.all_down is AllDown.WITHDRAW:
        return Usable(frozenset(), Reason.ALL_DOWN_WITHDRAW)
    if settings.all_down is AllDown.KEEP_BEST:
        return Usable(best(last, verdicts.down_in(scope)), Reason.ALL_DOWN_KEEP_BEST)
    together = any(
        verdicts.paths[PathKey(name, scope.family)].reason is Reason.SHARED_FATE for name in last
    )
    return Usable(last, Reason.ALL_DOWN_SHARED_FATE if together else Reason.ALL_DOWN_KEEP_LAST)


def suspended(settings: Settings, verdicts: Verdicts, scope: Scope) -> frozenset[str]:
    """Return the drained uplinks that carry a scope all the same."""
    carrier = usable(settings, verdicts, scope)
    return carrier.uplinks if carrier.reason is Reason.DRAIN_SUSPENDED else frozenset()


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
            key, leg = default_key(path.family, uplink.number), Leg(Scope(path.family), uplink.name)
            announcement = Announcement(key, path.next_hop, INJECTED_LOCAL_PREF)
            carrier, judgement = usable_in[leg.scope], verdicts.paths[leg.path]
            if _stage_of(leg, verdicts, carrier):
                decisions[key] = _decide_drained(announcement, carrier, verdicts, leg)
            else:
                decisions[key] = _decide_default(uplink.name, announcement, carrier, judgement)
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


def _stage_of(leg: Leg, verdicts: Verdicts, carrier: Usable) -> Stage | None:
    """Return how far an uplink is drained for a scope; None as well for one that is needed."""
    return None if leg.uplink in carrier.uplinks else verdicts.drains.stage(leg)


def _decide_drained(
    announcement: Announcement, carrier: Usable, verdicts: Verdicts, leg: Leg
) -> Decision:
    if carrier.reason is not Reason.INIT and leg.uplink in verdicts.leaving(leg.scope):
        return Decision(replace(announcement, local_pref=DRAINING_LOCAL_PREF), Reason.DRAINING)
    return Decision(None, _why_drained(carrier, verdicts, leg))


def _why_drained(carrier: Usable, verdicts: Verdicts, leg: Leg) -> Reason:
    """Return why a drained path is not announced; what nobody can know yet is left as it is."""
    is_settling = leg in verdicts.drains.settling
    waiting = is_settling and verdicts.paths[leg.path].level is Level.INIT
    return Reason.INIT if waiting or carrier.reason is Reason.INIT else Reason.DRAINED


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


class Way(NamedTuple):
    """How a service goes to an uplink: as a worse path while that is degraded, or drained."""

    is_degraded: bool
    stage: Stage | None


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
        why_not, stage = _held_back(service, verdicts, scope, carrier)
        if why_not:
            decisions[key] = Decision(None, why_not)
            continue
        steered = tuple(
            steering(settings, uplink, way.stage, degraded=way.is_degraded)
            for uplink, _ in _over(settings, service, prefix)
            if (way := _way(service, verdicts, carrier, Leg(scope, uplink.name), stage))
        )
        if verdicts.awaits(scope):
            decisions[key] = Decision(None, Reason.INIT)
        elif not steered or carrier.reason is Reason.INIT:
            decisions[key] = Decision(None, carrier.reason)
        else:
            announcement = Announcement(
                key,
                settings.host.discard_next_hop_for(Family.of(prefix)),
                INJECTED_LOCAL_PREF,
                (*steered, *service.communities),
                service.large_communities,
            )
            decisions[key] = Decision(announcement, _why_served(carrier, stage))
    if service.on_injector_loss is InjectorLoss.KEEP:
        return {key: _quiet(settings, key, decision) for key, decision in decisions.items()}
    return decisions


def _way(
    service: ServiceSettings, verdicts: Verdicts, carrier: Usable, leg: Leg, stage: Stage | None
) -> Way | None:
    """Return how a service goes over a leg, None for not at all. `stage` is that of the service.

    What goes anyway goes no slower for the other.
    """
    is_degraded = _goes_degraded(service, verdicts.paths[leg.path])
    match _stage_of(leg, verdicts, carrier):
        case None:
            goes = is_degraded or leg.uplink in carrier.uplinks
        case Stage.DRAINED:
            goes = False
        case own:
            goes = is_degraded or leg.uplink in verdicts.leaving(leg.scope)
            goes = goes and carrier.reason is not Reason.INIT
            stage = own if stage is None else max(stage, own)
    return Way(is_degraded, stage) if goes else None


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
        scope = service.scope(Family.of(prefix))
        carrier = usable_in[scope]
        why_not, stage = _held_back(service, verdicts, scope, carrier)
        for uplink, path in _over(settings, service, prefix):
            key, leg = session_key(prefix, path), Leg(scope, uplink.name)
            judgement = verdicts.paths[leg.path]
            own = _stage_of(leg, verdicts, carrier)
            way = _way(service, verdicts, carrier, leg, stage)
            if why_not:
                decisions[key] = Decision(None, why_not)
            elif way and judgement.level is not Level.INIT:
                announcement = _to_session(settings, service, key, way)
                decisions[key] = Decision(announcement, _why_over(way, carrier))
            elif own is not None:
                decisions[key] = Decision(None, _why_drained(carrier, verdicts, leg))
            else:
                decisions[key] = Decision(None, _why_not(carrier, judgement))
    return decisions


def _to_session(
    settings: Settings, service: ServiceSettings, key: RouteKey, way: Way
) -> Announcement:
    """Return what a ToR is told: the host itself is the next hop, and no local preference."""
    worse = service.degraded_export if way.is_degraded else None
    export = worse or service.export
    prepended = export.prepend + (way.stage is not None)
    shutdown = (GRACEFUL_SHUTDOWN,) if way.stage is Stage.SHUTDOWN else ()
    return Announcement(
        key,
        next_hop=None,
        local_pref=None,
        communities=(*shutdown, *service.communities),
        large_communities=service.large_communities,
        med=export.med,
        as_path=(settings.host.asn,) * (1 + prepended) if prepended else (),
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


def _why_over(way: Way, carrier: Usable) -> Reason:
    if way.is_degraded and way.stage is None:
        return Reason.PATH_DEGRADED
    return _why_served(carrier, way.stage)


def _why_served(carrier: Usable, stage: Stage | None) -> Reason:
    if stage is not None or not carrier.uplinks:
        return Reason.DRAINING  # No uplink but those that are being drained.
    return Reason.SERVICE_UP if carrier.reason is Reason.PATH_UP else carrier.reason


class HeldBack(NamedTuple):
    """What of a service itself keeps it from being announced, and how far it is drained."""

    reason: Reason | None
    stage: Stage | None


def _held_back(
    service: ServiceSettings, verdicts: Verdicts, scope: Scope, carrier: Usable
) -> HeldBack:
    """Return what of the service itself keeps its prefixes of a family from being announced.

    What waits for a verdict, be it of a service that is required, is left as it is.
    """
    drained = verdicts.drains.stage(service.name)
    others = [s for name in service.requires if (s := verdicts.drains.stage(name))]
    own = verdicts.services[service.name].level
    required = {verdicts.services[name].level for name in service.requires}
    reason: Reason | None = None
    if drained is Stage.DRAINED:
        reason = Reason.DRAINED
    elif own in (Level.DOWN, Level.DAMPED):
        reason = Reason.DAMPED if own is Level.DAMPED else Reason.SERVICE_DOWN
    elif required & {Level.DOWN, Level.DAMPED} or Stage.DRAINED in others:
        reason = Reason.REQUIRED_SERVICE_DOWN
    elif Level.INIT in {own, *required}:
        reason = Reason.INIT
    stages = [drained, *others]
    if reason is None and carrier.uplinks:  # Without any, that is told better by the reason for it.
        reason, stage = _by_minimum(service, verdicts, scope, carrier)
        stages.append(stage)
    return HeldBack(reason, max((stage for stage in stages if stage), default=None))


def _by_minimum(
    service: ServiceSettings, verdicts: Verdicts, scope: Scope, carrier: Usable
) -> HeldBack:
    """Return what `min_uplinks` makes of a service.

    Uplinks that are being drained count until they have settled; when the service cannot do without
    them, it goes with them.
    """
    levels = verdicts.levels_in(scope)
    stages = {name: _stage_of(Leg(scope, name), verdicts, carrier) for name in levels}
    # A damped one does not count, or the service would come and go with it.
    counts = (Level.UP, Level.DEGRADED)
    working = [stages[name] for name, level in levels.items() if level in counts]
    waiting = [stages[name] for name, level in levels.items() if level is Level.INIT]
    missing = service.min_uplinks - working.count(None)
    if missing <= 0:
        return HeldBack(None, None)
    settling = sorted(stage for stage in working if stage and stage is not Stage.DRAINED)
    if missing <= len(settling):
        return HeldBack(None, settling[missing - 1])
    possible = len(settling) + len(waiting) - waiting.count(Stage.DRAINED) >= missing
    return HeldBack(Reason.INIT if possible else Reason.TOO_FEW_UPLINKS, None)
