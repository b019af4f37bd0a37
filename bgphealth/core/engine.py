"""The one door: ``step(state, event) -> (state, effects)``.

Theory of operation. The state is a value; an event makes a new one. An event touches one path or
one service; only when its verdict changes is the policy asked again, for the whole host, and the
full set of intents comes out. The effects say what changed and why; whoever calls `step` logs
them, counts them and hands the intents to the driver. The same events give the same states and
the same effects, so a recorded run can be replayed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from bgphealth.core import policy
from bgphealth.core.events import Event, LinkChanged, PathProbed, ServiceChecked, Started
from bgphealth.core.health import Judgement, PathHealth, PathKey, ServiceHealth
from bgphealth.core.hysteresis import Level
from bgphealth.core.intents import Intents, RouteKey
from bgphealth.core.policy import Decision, Decisions
from bgphealth.core.settings import Family, Settings


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


Effect: TypeAlias = PathChanged | ServiceChanged | DecisionChanged | IntentsChanged


@dataclass(frozen=True, slots=True)
class State:
    """Everything that the engine knows. Make one with `initial`, never by hand."""

    settings: Settings
    paths: Mapping[PathKey, PathHealth]
    services: Mapping[str, ServiceHealth]
    path_verdicts: Mapping[PathKey, Judgement]
    service_verdicts: Mapping[str, Judgement]
    last_usable: Mapping[Family, frozenset[str]]
    decisions: Decisions

    @property
    def intents(self) -> Intents:
        """What is wanted in the BGP table now."""
        return policy.intents(self.decisions)


def initial(settings: Settings) -> State:
    """Return the state before the first event: nothing is known and nothing is announced."""
    paths = {
        PathKey(uplink.name, path.family): PathHealth.initial(path)
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
    )


def step(state: State, event: Event) -> tuple[State, tuple[Effect, ...]]:
    """Return the state after one event, and what changed.

    Events about paths or services that the file does not name are ignored: they may have been
    under way while the file was reloaded.
    """
    match event:
        case Started():
            return _decide(state, event.at, ())
        case PathProbed():
            key = PathKey(event.uplink, event.family)
            if key not in state.paths:
                return state, ()
            after = state.paths[key].after_probe(event, state.settings.path_timing)
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


def _judge_paths(
    state: State, at: float, changed: Mapping[PathKey, PathHealth]
) -> tuple[State, tuple[Effect, ...]]:
    if all(state.paths[key] is health for key, health in changed.items()):
        return state, ()
    verdicts = {key: health.judge() for key, health in changed.items()}
    effects = tuple(
        PathChanged(at, key, state.path_verdicts[key], verdict)
        for key, verdict in verdicts.items()
        if _differs(state.path_verdicts[key], verdict)
    )
    state = replace(state, paths={**state.paths, **changed})
    if not effects:
        return state, ()
    state = replace(state, path_verdicts={**state.path_verdicts, **verdicts})
    return _decide(state, at, effects)


def _judge_service(state: State, event: ServiceChecked) -> tuple[State, tuple[Effect, ...]]:
    before = state.services[event.service]
    after = before.after_check(event)
    if after is before:
        return state, ()
    state = replace(state, services={**state.services, event.service: after})
    old, new = state.service_verdicts[event.service], after.judge()
    if not _differs(old, new):
        return state, ()
    state = replace(state, service_verdicts={**state.service_verdicts, event.service: new})
    return _decide(state, event.at, (ServiceChanged(event.at, event.service, old, new),))


def _differs(before: Judgement, after: Judgement) -> bool:
    """Tell a change of verdict from a mere change of evidence, which is no transition."""
    return (before.level, before.reason) != (after.level, after.reason)


def _decide(
    state: State, at: float, effects: tuple[Effect, ...]
) -> tuple[State, tuple[Effect, ...]]:
    state = replace(state, last_usable=_last_usable(state))
    verdicts = policy.Verdicts(state.path_verdicts, state.service_verdicts, state.last_usable)
    before, after = state.decisions, policy.decide(state.settings, verdicts)
    decided: list[Effect] = [
        DecisionChanged(at, key, before.get(key), decision)
        for key, decision in after.items()
        if before.get(key) != decision
    ]
    state = replace(state, decisions=after)
    wanted, undecided = policy.intents(after), policy.undecided(after)
    if (wanted, undecided) != (policy.intents(before), policy.undecided(before)) or not before:
        decided.append(IntentsChanged(at, wanted, undecided))
    return state, (*effects, *decided)


def _last_usable(state: State) -> Mapping[Family, frozenset[str]]:
    """Remember, per family, the uplinks that are up; keep the memory while none is."""
    last = dict(state.last_usable)
    for family in state.settings.families:
        up = frozenset(
            key.uplink
            for key, verdict in state.path_verdicts.items()
            if key.family is family and verdict.level is Level.UP
        )
        if up:
            last[family] = up
    return last
