"""The one door: ``step(state, event) -> (state, effects)``.

Theory of operation. The state is a value; an event makes a new one. An event touches one path or
one service; only when its verdict changes is the policy asked again, for the whole host, and the
full set of intents comes out. The effects say what changed and why; whoever calls `step` logs
them, counts them and hands the intents to the driver. The same events give the same states and
the same effects, so a recorded run can be replayed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

from bgphealth.core import addresses, damping, drain, guard, policy, preference
from bgphealth.core.addresses import Addresses
from bgphealth.core.carrying import Verdicts, suspended, usable
from bgphealth.core.drain import Drains, Leg
from bgphealth.core.events import (
    AddressesSeen,
    AddressWithdrawn,
    AlternativesSeen,
    AlternativesUnknown,
    Drained,
    Event,
    LinkChanged,
    PathProbed,
    PathProbeOverdue,
    ServiceChecked,
    Settled,
    Started,
    TimePassed,
    Undrained,
)
from bgphealth.core.guard import Guard
from bgphealth.core.health import Judgement, PathHealth, PathKey, ServiceHealth
from bgphealth.core.hysteresis import Level
from bgphealth.core.reasons import Reason
from bgphealth.core.settings import AllDown, Family, Mode, Scope, Settings
from bgphealth.core.state import (
    AlternativesWanted,
    DecisionChanged,
    Effect,
    IntentsChanged,
    PaceChanged,
    PathChanged,
    ServiceChanged,
    State,
)


def initial(settings: Settings) -> State:
    """Return the state before the first event: nothing is known and nothing is announced."""
    paths = {
        PathKey(uplink.name, path.family): PathHealth.initial(path, settings.quality)
        for uplink in settings.uplinks
        for path in uplink.paths
    }
    services = {s.name: ServiceHealth.initial(s) for s in settings.services}
    return State(
        settings=settings,
        paths=paths,
        services=services,
        path_verdicts={key: health.judge() for key, health in paths.items()},
        service_verdicts={name: health.judge() for name, health in services.items()},
        last_usable={},
        decisions={},
        held_since={},
        suspects=frozenset(),
        path_penalties={},
        service_penalties={},
        settled=False,
        drains=Drains(),
        guards={},
        addresses=Addresses(),
    )


def settling_s(settings: Settings) -> float:
    """Return how long after the start a path that works has its first verdict, in seconds."""
    timing = settings.path_timing
    return (timing.rise + timing.fall) * timing.interval_s + timing.timeout_s


def step(  # noqa: C901, PLR0911, PLR0912 - one for each kind of event
    state: State, event: Event
) -> tuple[State, tuple[Effect, ...]]:
    """Return the state after one event, and what changed.

    Events about paths or services that the file does not name are ignored: they may have been
    under way while the file was reloaded.
    """
    match event:
        case PathProbed():  # The first: nearly all events are.
            return _answered(state, event)
        case Started():
            return decide(state, event.at, ())
        case Settled():
            return decide(state._replace(settled=True), event.at, ())
        case PathProbeOverdue():
            key = PathKey(event.uplink, event.family)
            suspect_interval_s = state.settings.suspect_interval_s
            if key not in state.paths or suspect_interval_s is None:
                return state, ()
            after = state.paths[key].after_overdue(event, suspect_interval_s)
            return _judge_paths(state, event.at, {key: after})
        case LinkChanged():
            changed = {
                key: health.after_link(up=event.up)
                for key, health in state.paths.items()
                if key.uplink == event.uplink
            }
            return _judge_paths(state, event.at, changed)
        case ServiceChecked():
            if event.service not in state.services:
                return state, ()
            return _judge_service(state, event)
        case AddressesSeen():
            looked = addresses.seen(state.addresses, event, state.settings)
            if looked.addresses == state.addresses:
                return state, ()
            return decide(state._replace(addresses=looked.addresses), event.at, looked.effects)
        case AddressWithdrawn():
            settling = addresses.withdrawn(state.addresses, event, state.settings)
            return state._replace(addresses=settling), ()
        case Drained() | Undrained() | TimePassed():
            left, gone = addresses.late(state.addresses, event.at, state.settings)
            outcome = drain.after(state.drains, event, state.settings)
            if outcome.drains == state.drains:
                state = state._replace(addresses=left)
                if state.preference.is_due(event.at):
                    return decide(state, event.at, (*gone, *outcome.effects))
                return state, (*gone, *outcome.effects)
            state = state._replace(addresses=left, drains=outcome.drains)
            state, renewed = _renew(state, event.at, outcome.released)
            return decide(state, event.at, (*gone, *outcome.effects, *renewed))
        case AlternativesSeen() | AlternativesUnknown():
            guards = guard.after(state.guards, event, state.settings.guarded_settle_s)
            if guards == state.guards:
                return state, ()
            return decide(state._replace(guards=guards), event.at, ())


def _answered(state: State, event: PathProbed) -> tuple[State, tuple[Effect, ...]]:
    key = PathKey(event.uplink, event.family)
    before = state.paths.get(key)
    if before is None:
        return state, ()
    after, matters = before.after_probe(event, state.settings.path_timing)
    if after is before:
        return state, ()
    # Nearly all answers only say that all is as it was; they must cost little.
    is_damped = state.path_verdicts[key].level is Level.DAMPED
    may_matter = matters or state.held_since or is_damped or _keeps_best(state, key)
    if not may_matter:
        return state.with_path(key, after), ()
    return _judge_paths(state, event.at, {key: after})


def _judge_paths(
    state: State, at: float, changed: Mapping[PathKey, PathHealth]
) -> tuple[State, tuple[Effect, ...]]:
    if all(state.paths[key] is health for key, health in changed.items()):
        return state, ()
    state = state._replace(paths={**state.paths, **changed})
    # Sorted: the order of a set differs from run to run, and a replay must not.
    judged = {key: state.paths[key].judge() for key in sorted({*changed, *state.held_since})}
    verdicts, held_since = _share_fate(state, at, judged)
    state, verdicts = _damp(state, at, verdicts)
    effects: list[Effect] = [
        PathChanged(at, key, state.path_verdicts[key], verdict)
        for key, verdict in verdicts.items()
        if differs(state.path_verdicts[key], verdict)
    ]
    is_news = bool(effects)
    if is_news or held_since != state.held_since:
        path_verdicts = {**state.path_verdicts, **verdicts} if is_news else state.path_verdicts
        state = state._replace(path_verdicts=path_verdicts, held_since=held_since)
    state, paces = _pace(state, at, {*changed, *verdicts})
    effects += paces
    if is_news or any(_keeps_others(state, key) for key in changed):
        return decide(state, at, tuple(effects))
    return state, tuple(effects)


def _keeps_best(state: State, key: PathKey) -> bool:
    """Tell whether the best of the paths that are down are kept, of which this may be one."""
    return (
        state.settings.all_down is AllDown.KEEP_BEST
        and state.path_verdicts[key].level is Level.DOWN
    )


def _keeps_others(state: State, key: PathKey) -> bool:
    """Tell whether the best of the paths that are down are others than those that carry."""
    return _keeps_best(state, key) and _last_usable(state) != state.last_usable


def _damp(
    state: State, at: float, verdicts: dict[PathKey, Judgement]
) -> tuple[State, dict[PathKey, Judgement]]:
    """Count falls; return the state, and what becomes of these verdicts by it."""
    if state.settings.damping is None:
        return state, verdicts
    damped, penalties = dict(verdicts), dict(state.path_penalties)
    for key, verdict in verdicts.items():
        before, penalty = state.path_verdicts[key], penalties.get(key)
        damped[key], after = damping.weigh(before, verdict, penalty, at, state.settings.damping)
        if after is not None:
            penalties[key] = after
    return state._replace(path_penalties=penalties), damped


def _share_fate(
    state: State, at: float, judged: Mapping[PathKey, Judgement]
) -> tuple[dict[PathKey, Judgement], dict[PathKey, float]]:
    """Return the verdicts, and since when which paths are held back from going down, or up."""
    verdicts = dict(judged)
    held_since: dict[PathKey, float] = {}
    for family in sorted({key.family for key in judged}):
        working = {
            key for key, v in state.path_verdicts.items() if key.family is family and v.level.works
        }
        falling = {key for key in working & judged.keys() if _falls(judged[key])}
        if not working:
            # Those that fell together are down for that reason until one of them works again.
            for key in judged.keys() & _shared(state, family):
                if _falls(judged[key]):
                    verdicts[key] = state.path_verdicts[key]
            # Those that are kept carry already: while all of them answer, they come up together.
            kept = {PathKey(uplink, family) for uplink in state.last_usable.get(Scope(family), ())}
            rising = {k for k, v in judged.items() if k.family is family and v.level.works}
            late = kept - rising
            # In local mode the one that is kept waits with others that could take over.
            together = rising < kept or (late and state.settings.mode is Mode.LOCAL)
            if together and all(state.paths[key].is_answering for key in late):
                held = _hold(state, at, rising, _longest_wait_s(state.settings))
                held_since |= held
                verdicts.update({key: state.path_verdicts[key] for key in held})
            continue
        if not falling or len(working) == 1:
            continue
        if falling == working:
            for key in falling:
                verdicts[key] = Judgement(Level.DOWN, Reason.SHARED_FATE, judged[key].evidence)
        elif all(state.paths[key].is_failing for key in working - falling):
            held = _hold(state, at, falling, _longest_hold_s(state.settings))
            held_since |= held
            verdicts.update({key: state.path_verdicts[key] for key in held})
    return verdicts, held_since


def _hold(state: State, at: float, keys: Set[PathKey], longest_s: float) -> dict[PathKey, float]:
    """Return since when these are held back, all together; none of them once it is too long."""
    since = {key: state.held_since.get(key, at) for key in keys}
    return since if at - min(since.values(), default=at) < longest_s else {}


def _shared(state: State, family: Family) -> set[PathKey]:
    return {
        key
        for key, verdict in state.path_verdicts.items()
        if key.family is family and verdict.reason is Reason.SHARED_FATE
    }


def _falls(judgement: Judgement) -> bool:
    """Tell a path whose probes fail from one whose link is gone, which needs no second opinion."""
    return judgement.level is Level.DOWN and judgement.reason is not Reason.LINK_DOWN


def _longest_hold_s(settings: Settings) -> float:
    """Return how long the others may take to fail as well: as long as the first one took."""
    timing = settings.path_timing
    return timing.fall * timing.interval_s + timing.timeout_s


def _longest_wait_s(settings: Settings) -> float:
    """Return how long a path may wait for the others: until all of them have answered once more."""
    if settings.all_down is AllDown.WITHDRAW:
        return 0.0  # Nothing is kept meanwhile.
    timing = settings.path_timing
    return min(timing.interval_s + timing.timeout_s, timing.rise * timing.interval_s)


def _pace(state: State, at: float, keys: Set[PathKey]) -> tuple[State, list[Effect]]:
    """Probe faster those paths that work but may be about to go down."""
    if state.settings.suspect_interval_s is None:
        return state, []
    suspects = {
        key for key in keys if state.path_verdicts[key].level.works and state.paths[key].is_suspect
    }
    effects: list[Effect] = [
        PaceChanged(at, key, key in suspects)
        for key in sorted(keys)
        if (key in suspects) != (key in state.suspects)
    ]
    if effects:
        state = state._replace(suspects=(state.suspects - keys) | suspects)
    return state, effects


def _judge_service(state: State, event: ServiceChecked) -> tuple[State, tuple[Effect, ...]]:
    before = state.services[event.service]
    after = before.after_check(event)
    old = state.service_verdicts[event.service]
    if after is before and old.level is not Level.DAMPED:
        return state, ()
    state = state._replace(services={**state.services, event.service: after})
    new = after.judge()
    if (dampens := after.settings.damping) is not None:
        penalty = state.service_penalties.get(event.service)
        new, penalty = damping.weigh(old, new, penalty, event.at, dampens)
        if penalty is not None:
            penalties = {**state.service_penalties, event.service: penalty}
            state = state._replace(service_penalties=penalties)
    if not differs(old, new):
        return state, ()
    state = state._replace(service_verdicts={**state.service_verdicts, event.service: new})
    return decide(state, event.at, (ServiceChanged(event.at, event.service, old, new),))


def _renew(
    state: State, at: float, released: Iterable[PathKey | str]
) -> tuple[State, tuple[Effect, ...]]:
    """Forget what is known of these: they must show again that they work."""
    names = [thing for thing in released if not isinstance(thing, PathKey)]
    services = {name: ServiceHealth.initial(state.services[name].settings) for name in names}
    paths = {
        key: PathHealth.initial(before.settings, before.quality).after_link(up=before.link_up)
        for key in released
        if isinstance(key, PathKey) and (before := state.paths[key])
    }
    path_verdicts = {key: health.judge() for key, health in paths.items()}
    service_verdicts = {name: health.judge() for name, health in services.items()}
    effects: list[Effect] = [
        PathChanged(at, key, state.path_verdicts[key], verdict)
        for key, verdict in path_verdicts.items()
        if differs(state.path_verdicts[key], verdict)
    ]
    effects += [
        ServiceChanged(at, name, state.service_verdicts[name], verdict)
        for name, verdict in service_verdicts.items()
        if differs(state.service_verdicts[name], verdict)
    ]
    state = state._replace(
        paths={**state.paths, **paths},
        services={**state.services, **services},
        path_verdicts={**state.path_verdicts, **path_verdicts},
        service_verdicts={**state.service_verdicts, **service_verdicts},
        held_since={key: at for key, at in state.held_since.items() if key not in paths},
    )
    state, paces = _pace(state, at, set(paths))
    return state, (*effects, *paces)


def differs(before: Judgement, after: Judgement) -> bool:
    """Tell a change of verdict from a mere change of evidence, which is no transition."""
    return (before.level, before.reason) != (after.level, after.reason)


def decide(
    state: State, at: float, effects: tuple[Effect, ...]
) -> tuple[State, tuple[Effect, ...]]:
    """Ask the policy about the whole host; return the state, and these effects with its own."""
    if state.settings.mode is Mode.LOCAL:
        chosen = preference.choose(state.preference, at, state.settings, verdicts_of(state))
        state = state._replace(preference=chosen)
    state = state._replace(last_usable=_last_usable(state))
    state, drained = _suspend(state, at)
    state, sought = _seek(state, at)
    before, after = state.decisions, policy.decide(state.settings, verdicts_of(state))
    decided: list[Effect] = [
        DecisionChanged(at, key, before.get(key), decision)
        for key, decision in after.items()
        if before.get(key) != decision
    ]
    state = state._replace(decisions=after)
    wanted, undecided = policy.intents(after), policy.undecided(after)
    if (wanted, undecided) != (policy.intents(before), policy.undecided(before)) or not before:
        decided.append(IntentsChanged(at, wanted, undecided))
    return state, (*effects, *drained, *sought, *decided)


def verdicts_of(state: State) -> Verdicts:
    """Return all that the policy looks at."""
    return Verdicts(
        state.path_verdicts,
        state.service_verdicts,
        state.last_usable,
        state.settled,
        state.paths,
        state.drains,
        state.addresses.missing,
        state.guards,
        state.preference.in_use,
    )


def _seek(state: State, at: float) -> tuple[State, tuple[Effect, ...]]:
    """Have others looked for while a guarded service is down; forget what was seen before."""
    wanted = guard.watched(state.settings, state.service_verdicts)
    if state.guards.keys() == set(wanted):
        return state, ()
    guards = {prefix: state.guards.get(prefix, Guard(None, at)) for prefix in wanted}
    return state._replace(guards=guards), (AlternativesWanted(at, wanted),)


def _suspend(state: State, at: float) -> tuple[State, tuple[Effect, ...]]:
    """Let drained uplinks carry while no other one works, and no longer."""
    if not state.drains.uplinks:
        return state, ()
    seen = verdicts_of(state)
    needed = {
        Leg(scope, uplink)
        for scope in state.settings.scopes
        for uplink in suspended(state.settings, seen, scope)
    }
    drains, effects, _ = drain.suspend(state.drains, at, needed, state.settings.drain_settle_s)
    return state._replace(drains=drains), effects


def _last_usable(state: State) -> Mapping[Scope, frozenset[str]]:
    """Remember, per scope, the uplinks that carry traffic; keep the memory while none does.

    Drained ones are never among them.
    """
    verdicts, drained = verdicts_of(state), state.drains.uplinks
    last = {scope: uplinks.difference(drained) for scope, uplinks in state.last_usable.items()}
    for scope in state.settings.scopes:
        carrier = usable(state.settings, verdicts, scope)
        if carried := carrier.uplinks.difference(drained):
            last[scope] = carried
    return last
