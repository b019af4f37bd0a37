"""From verdicts to the routes of services: to which ToRs, how, and why.

- A service goes to the uplinks whose path of its family is up, or to the degraded ones when none
  is: one announcement, with one community per uplink that may carry it. In direct mode, where
  ExaBGP speaks to the ToRs itself, it is one announcement to each of their ToRs.
- Or a service goes to degraded uplinks beside the clean ones, as a worse path: with `on_degraded`.
- A service that only some uplinks may carry knows no others: when none of these is up, `all_down`
  decides for it. With `min_uplinks` it is withdrawn instead, as soon as fewer of them work.
- A host prefix (/32, /128) is not announced while its address is not on this host, which would
  refuse what comes for it; unless the file says that the address is not to be looked at.
- A service that requires others is announced only while these are up.
- A service that is down is not announced; with `on_down` it may be, as a last resort: prepended
  many times, and with GRACEFUL_SHUTDOWN. A guarded one is, until another host can take over (see
  `guard`). What a service requires counts as its own; a drain withdraws whatever `on_down` says.
- A drained service is not announced, nor is any to a drained uplink. Before that, while they
  settle, services are announced prepended, then with GRACEFUL_SHUTDOWN (RFC 8326). With FRR a
  service is one announcement for all ToRs: for those uplinks it carries another community, in the
  place of the usual one, and the route-map towards each ToR does the rest.
- A service goes with what it cannot do without: with a drained one that it requires, and with
  drained uplinks that leave fewer than `min_uplinks`.
- Where bgpd originates a service's prefix as well (`on_injector_loss: keep`), a withdrawal would
  bring that out: not announced is said as announced to no uplink.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from bgphealth.core import guard
from bgphealth.core.carrying import Usable, Verdicts, stage_of, why_drained, why_unused
from bgphealth.core.communities import Community, LargeCommunity
from bgphealth.core.decisions import INJECTED_LOCAL_PREF, Decision, session_key
from bgphealth.core.drain import Leg, Stage
from bgphealth.core.guard import LAST_RESORT_PREPEND
from bgphealth.core.health import Judgement
from bgphealth.core.hysteresis import Level
from bgphealth.core.intents import Announcement, RouteKey
from bgphealth.core.reasons import Reason
from bgphealth.core.settings import (
    DEGRADED_COMMUNITY,
    DRAIN_COMMUNITY,
    LOOPBACK,
    AddressUse,
    Family,
    InjectorLoss,
    OnDown,
    Prefix,
    Scope,
    ServiceSettings,
    Settings,
    UplinkPath,
    UplinkSettings,
)

GRACEFUL_SHUTDOWN = Community(65535, 0)
"""RFC 8326: who receives it prefers any other path, but can still use this one."""

OFFSETS = {Stage.PREPENDED: DRAIN_COMMUNITY, Stage.SHUTDOWN: 2 * DRAIN_COMMUNITY}
"""What the low half of an uplink's steering community is raised by while it is being drained."""

LAST_RESORT = 3 * DRAIN_COMMUNITY
"""The same while a service is down and announced all the same."""

_IS_HEALTHY = (Reason.SERVICE_UP, Reason.DAMPED_LAST, Reason.DRAIN_SUSPENDED)
"""Why a service is announced where it works, and an uplink does. Not one that is about to go."""


class Way(NamedTuple):
    """How a service goes to an uplink: as a worse path while that is degraded, or drained.

    `is_down`: as a last resort, however far a drain is.
    """

    is_degraded: bool
    stage: Stage | None
    is_down: bool


class HeldBack(NamedTuple):
    """What of a service itself keeps it from being announced, and how far it is drained.

    `is_down`: it is to be announced as a last resort, if at all.
    """

    reason: Reason | None
    stage: Stage | None
    is_down: bool = False


def steering(
    settings: Settings,
    uplink: UplinkSettings,
    stage: Stage | None = None,
    *,
    degraded: bool = False,
    down: bool = False,
) -> Community:
    """Return the community that sends a service to the ToR of an uplink."""
    number = uplink.number + (DEGRADED_COMMUNITY if degraded else 0)
    offset = OFFSETS[stage] if stage else 0
    return Community(settings.host.community_asn, number + (LAST_RESORT if down else offset))


def all_steering(settings: Settings, uplink: UplinkSettings) -> frozenset[Community]:
    """Return every community that sends a service to the ToR of an uplink, in whatever way."""
    return frozenset(
        steering(settings, uplink, stage, degraded=degraded, down=down)
        for stage in (None, *OFFSETS)
        for degraded in (False, True)
        for down in (False, True)
    )


def over(
    settings: Settings, service: ServiceSettings, prefix: Prefix
) -> Iterator[tuple[UplinkSettings, UplinkPath]]:
    """Return what can carry a prefix: uplinks that may, and have a path of its family."""
    scope = service.scope(Family.of(prefix))
    for uplink in settings.uplinks:
        for path in uplink.paths:
            if path.family is scope.family and uplink.name in scope:
                yield uplink, path


def decide_service(
    settings: Settings,
    service: ServiceSettings,
    verdicts: Verdicts,
    usable_in: Mapping[Scope, Usable],
) -> dict[RouteKey, Decision]:
    """Decide for each prefix, which is one route for all ToRs."""
    decisions = {}
    for prefix in service.prefixes:
        key = RouteKey(prefix)
        scope = service.scope(Family.of(prefix))
        carrier = usable_in[scope]
        held = _held_back(service, verdicts, prefix, carrier)
        if why_not := _why_not(service, verdicts, prefix, held):
            decisions[key] = Decision(None, why_not)
            continue
        steered = tuple(
            steering(settings, uplink, way.stage, degraded=way.is_degraded, down=way.is_down)
            for uplink, _ in over(settings, service, prefix)
            if (way := _way(service, verdicts, carrier, Leg(scope, uplink.name), held))
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
                _large_communities(settings, service, carrier, held),
            )
            reason = _why_served(carrier, held.stage)
            if held.is_down and held.stage is None:
                reason = guard.why(service, verdicts.guards.get(prefix))
            decisions[key] = Decision(announcement, reason)
    if service.on_injector_loss is InjectorLoss.KEEP:
        return {key: _quiet(settings, key, decision) for key, decision in decisions.items()}
    return decisions


def _why_not(
    service: ServiceSettings, verdicts: Verdicts, prefix: Prefix, held: HeldBack
) -> Reason | None:
    """Return why a prefix of a service is not announced to any ToR, None if it may be."""
    if held.is_down:
        reason = guard.why(service, verdicts.guards.get(prefix))
        return reason if reason is Reason.GUARDED_ALTERNATIVE else None
    return held.reason


def _large_communities(
    settings: Settings, service: ServiceSettings, carrier: Usable, held: HeldBack
) -> tuple[LargeCommunity, ...]:
    """Return those of a service, and the mark that tells others whether it is well here."""
    if service.on_down is OnDown.WITHDRAW:
        return service.large_communities
    healthy = not held.is_down and _why_served(carrier, held.stage) in _IS_HEALTHY
    return (*service.large_communities, guard.mark(settings.host, healthy=healthy))


def _way(
    service: ServiceSettings, verdicts: Verdicts, carrier: Usable, leg: Leg, held: HeldBack
) -> Way | None:
    """Return how a service goes over a leg, None for not at all.

    What goes anyway goes no slower for the other.
    """
    stage = held.stage
    is_degraded = _goes_degraded(service, verdicts.paths[leg.path])
    match stage_of(leg, verdicts, carrier):
        case None:
            goes = is_degraded or leg.uplink in carrier.uplinks
        case Stage.DRAINED:
            goes = False
        case own:
            goes = is_degraded or leg.uplink in verdicts.leaving(leg.scope)
            goes = goes and carrier.reason is not Reason.INIT
            stage = own if stage is None else max(stage, own)
    return Way(is_degraded, stage, held.is_down) if goes else None


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


def decide_sessions(
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
        held = _held_back(service, verdicts, prefix, carrier)
        why_not = _why_not(service, verdicts, prefix, held)
        large = _large_communities(settings, service, carrier, held)
        for uplink, path in over(settings, service, prefix):
            key, leg = session_key(prefix, path), Leg(scope, uplink.name)
            judgement = verdicts.paths[leg.path]
            own = stage_of(leg, verdicts, carrier)
            way = _way(service, verdicts, carrier, leg, held)
            if why_not:
                decisions[key] = Decision(None, why_not)
            elif way and judgement.level is not Level.INIT:
                announcement = _to_session(settings, service, key, way, large)
                decisions[key] = Decision(announcement, _why_over(way, carrier))
            elif own is not None:
                decisions[key] = Decision(None, why_drained(carrier, verdicts, leg))
            else:
                decisions[key] = Decision(None, why_unused(carrier, judgement))
    return decisions


def _to_session(
    settings: Settings,
    service: ServiceSettings,
    key: RouteKey,
    way: Way,
    large: tuple[LargeCommunity, ...],
) -> Announcement:
    """Return what a ToR is told: the host itself is the next hop, and no local preference."""
    worse = service.degraded_export if way.is_degraded else None
    export = worse or service.export
    more = LAST_RESORT_PREPEND if way.is_down else int(way.stage is not None)
    prepended = export.prepend + more
    is_shut_down = way.is_down or way.stage is Stage.SHUTDOWN
    shutdown = (GRACEFUL_SHUTDOWN,) if is_shut_down else ()
    return Announcement(
        key,
        next_hop=None,
        local_pref=None,
        communities=(*shutdown, *service.communities),
        large_communities=large,
        med=export.med,
        as_path=(settings.host.asn,) * (1 + prepended) if prepended else (),
    )


def _why_over(way: Way, carrier: Usable) -> Reason:
    if way.is_down and way.stage is None:
        return Reason.SERVICE_DOWN_DEGRADED
    if way.is_degraded and way.stage is None:
        return Reason.PATH_DEGRADED
    return _why_served(carrier, way.stage)


def _why_served(carrier: Usable, stage: Stage | None) -> Reason:
    if stage is not None or not carrier.uplinks:
        return Reason.DRAINING  # No uplink but those that are being drained.
    return Reason.SERVICE_UP if carrier.reason is Reason.PATH_UP else carrier.reason


def _held_back(
    service: ServiceSettings, verdicts: Verdicts, prefix: Prefix, carrier: Usable
) -> HeldBack:
    """Return what of the service itself keeps one of its prefixes from being announced.

    What waits for a verdict, be it of a service that is required, is left as it is.
    """
    drained = verdicts.drains.stage(service.name)
    others = [s for name in service.requires if (s := verdicts.drains.stage(name))]
    own = verdicts.services[service.name].level
    required = {verdicts.services[name].level for name in service.requires}
    is_down = guard.is_down(service, verdicts.services)
    withdrawn = is_down and service.on_down is OnDown.WITHDRAW
    reason: Reason | None = None
    if drained is Stage.DRAINED:
        reason = Reason.DRAINED
    elif _lacks_address(service, verdicts, prefix):
        reason = Reason.ADDRESS_MISSING  # Why checks fail, if they do.
    elif withdrawn and own in (Level.DOWN, Level.DAMPED):
        reason = Reason.DAMPED if own is Level.DAMPED else Reason.SERVICE_DOWN
    elif withdrawn or Stage.DRAINED in others:
        reason = Reason.REQUIRED_SERVICE_DOWN
    elif Level.INIT in {own, *required} and not is_down:
        reason = Reason.INIT
    stages = [drained, *others]
    if reason is None and carrier.uplinks:  # Without any, that is told better by the reason for it.
        scope = service.scope(Family.of(prefix))
        reason, stage, _ = _by_minimum(service, verdicts, scope, carrier)
        stages.append(stage)
    latest = max((stage for stage in stages if stage), default=None)
    return HeldBack(reason, latest, is_down and reason is None)


def _lacks_address(service: ServiceSettings, verdicts: Verdicts, prefix: Prefix) -> bool:
    """Tell whether a prefix is an address that this host should have and has not.

    The host loopback is announced all the same: nobody else has it, so nobody gains anything.
    """
    if not verdicts.missing or service.address is AddressUse.IGNORE or service.name == LOOPBACK:
        return False
    is_address = prefix.prefixlen == prefix.max_prefixlen
    return is_address and prefix.network_address in verdicts.missing


def _by_minimum(
    service: ServiceSettings, verdicts: Verdicts, scope: Scope, carrier: Usable
) -> HeldBack:
    """Return what `min_uplinks` makes of a service.

    Uplinks that are being drained count until they have settled; when the service cannot do without
    them, it goes with them.
    """
    levels = verdicts.levels_in(scope)
    stages = {name: stage_of(Leg(scope, name), verdicts, carrier) for name in levels}
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
