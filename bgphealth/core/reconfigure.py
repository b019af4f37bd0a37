"""Another file for a running engine: ``reconfigure(state, settings, at) -> (state, effects)``.

What is asked as before keeps its health and its verdict. What is asked anew waits for its first
verdict, and meanwhile its routes are left as they are: an edited path or service must not lose
its traffic for having been edited. Routes that left the file are withdrawn at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bgphealth.core import addresses, damping, drain, engine, policy
from bgphealth.core.damping import Penalty
from bgphealth.core.decisions import Decision
from bgphealth.core.health import Judgement, PathHealth, PathKey, ServiceHealth
from bgphealth.core.hysteresis import Hysteresis, Level
from bgphealth.core.reasons import Reason
from bgphealth.core.settings import (
    Scope,
    ServiceSettings,
    Settings,
    UplinkPath,
    UplinkSettings,
)
from bgphealth.core.state import DecisionChanged, Effect, PathChanged, ServiceChanged, State


def reconfigure(state: State, settings: Settings, at: float) -> tuple[State, tuple[Effect, ...]]:
    """Return the state under other settings, and what changed; with the same ones nothing does."""
    if settings == state.settings:
        return state, ()
    paths = {
        PathKey(uplink.name, path.family): _path(state, settings, uplink, path)
        for uplink in settings.uplinks
        for path in uplink.paths
    }
    services = {s.name: _service(state.services.get(s.name), s) for s in settings.services}
    # A verdict may be held against the probes (shared fate): it stays while they are the same, and
    # while it is held back, which the next answer may end.
    path_verdicts = {
        key: state.path_verdicts[key]
        if _is_asked_alike(state.paths.get(key), path) or _is_held(state, key, judged)
        else judged
        for key, path in paths.items()
        for judged in (path.judge(),)
    }
    # Without damping they are forgiven, not kept for when there is some again.
    counts = settings.damping is not None
    path_penalties = {key: p for key, p in state.path_penalties.items() if counts and key in paths}
    path_verdicts = {
        key: _still_damped(verdict, path_penalties.get(key), at, settings)
        for key, verdict in path_verdicts.items()
    }
    service_penalties = {
        name: penalty
        for name, penalty in state.service_penalties.items()
        if name in services and services[name].settings.damping is not None
    }
    service_verdicts = {
        name: _still_damped(service.judge(), service_penalties.get(name), at, service.settings)
        for name, service in services.items()
    }
    judged: list[Effect] = [
        PathChanged(at, key, old, path_verdicts[key])
        for key, old in state.path_verdicts.items()
        if key in path_verdicts and engine.differs(old, path_verdicts[key])
    ]
    judged += [
        ServiceChanged(at, name, old, service_verdicts[name])
        for name, old in state.service_verdicts.items()
        if name in service_verdicts and engine.differs(old, service_verdicts[name])
    ]
    removed = [
        DecisionChanged(at, key, state.decisions[key], Decision(None, Reason.NOT_IN_FILE))
        for key in sorted(state.decisions.keys() - policy.owned(settings), key=str)
    ]
    held_since = {key: since for key, since in state.held_since.items() if key in paths}
    kept = {key for key in paths if _is_asked_alike(state.paths.get(key), paths[key])}
    drains, ended, _ = drain.keep(state.drains, at, state.settings, settings)
    kept_addresses, asked = addresses.keep(state.addresses, at, state.settings, settings)
    may_hurry = settings.suspect_interval_s is not None
    after = State(
        settings=settings,
        paths=paths,
        services=services,
        path_verdicts=path_verdicts,
        service_verdicts=service_verdicts,
        last_usable=_last_usable(state, settings),
        decisions=state.decisions,
        held_since=held_since,
        suspects=frozenset(state.suspects & kept) if may_hurry else frozenset(),
        path_penalties=path_penalties,
        service_penalties=service_penalties,
        settled=state.settled,
        drains=drains,
        guards=state.guards,
        addresses=kept_addresses,
        preference=state.preference,
    )
    return engine.decide(after, at, (*ended, *judged, *removed, *asked))


def _path(state: State, settings: Settings, uplink: UplinkSettings, path: UplinkPath) -> PathHealth:
    """Return the health of a path: what is known of each probe, if it is asked the same way."""
    fresh = PathHealth.initial(path, settings.quality)
    before = state.paths.get(PathKey(uplink.name, path.family))
    old = next((u for u in state.settings.uplinks if u.name == uplink.name), None)
    if before is None or old is None or old.interface != uplink.interface:
        return fresh
    if _asked_from(before.settings) == _asked_from(path):
        probes = {key: before.probes.get(key, probe) for key, probe in fresh.probes.items()}
        if (size := settings.quality.window) != before.quality.window:
            # As after another interval: what was answered counts all the same.
            probes = {k: p._replace(window=p.window.of_size(size)) for k, p in probes.items()}
        kept = before._replace(settings=path, quality=settings.quality, probes=probes)
        if before.link_up:
            return kept._replace(degraded=kept.why_degraded())
    return fresh.after_link(up=before.link_up)


def _still_damped(
    verdict: Judgement, penalty: Penalty | None, at: float, settings: Settings | ServiceSettings
) -> Judgement:
    """Return the verdict with what earlier falls make of it: none of them is forgiven."""
    if settings.damping is None:
        return verdict
    return damping.weigh(verdict, verdict, penalty, at, settings.damping)[0]


def _asked_from(path: UplinkPath) -> object:
    """Return what every answer of a path depends on."""
    return path.neighbor, path.probe_source


def _is_held(state: State, key: PathKey, judged: Judgement) -> bool:
    return key in state.held_since and judged.level is not Level.INIT


def _is_asked_alike(before: PathHealth | None, after: PathHealth) -> bool:
    """Tell whether everything that a verdict is made of is as it was."""
    if before is None:
        return False
    return before._replace(settings=after.settings) == after and (
        before.settings.beyond_need == after.settings.beyond_need
    )


def _service(before: ServiceHealth | None, service: ServiceSettings) -> ServiceHealth:
    known = before.checks if before is not None else {}
    details = before.details if before is not None else {}
    return ServiceHealth(
        service,
        {check: known.get(check, Hysteresis()) for check in service.checks},
        {check: detail for check, detail in details.items() if check in service.checks},
    )


def _last_usable(state: State, settings: Settings) -> Mapping[Scope, frozenset[str]]:
    """Return which uplinks were last usable, of those that there still are.

    Where none of them is left, all that were there before stand in for them: none of them may be
    the last path that is taken away. For a scope that is new, those of the family are remembered.
    """
    last: dict[Scope, frozenset[str]] = {}
    for scope in settings.scopes:
        names = state.last_usable.get(scope, state.last_usable.get(Scope(scope.family)))
        there = _in(scope, (PathKey(u.name, p.family) for u in settings.uplinks for p in u.paths))
        before = _in(scope, state.paths)
        if left := (names & there or before & there) if names else None:
            last[scope] = left
    return last


def _in(scope: Scope, paths: Iterable[PathKey]) -> frozenset[str]:
    return frozenset(
        key.uplink for key in paths if key.family is scope.family and key.uplink in scope
    )
