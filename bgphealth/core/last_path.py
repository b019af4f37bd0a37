"""Whether an uplink is the last healthy one, which must not be drained unasked."""

from __future__ import annotations

from bgphealth.core import engine
from bgphealth.core.carrying import usable
from bgphealth.core.hysteresis import Level
from bgphealth.core.settings import Family, Scope, ServiceSettings, Settings
from bgphealth.core.state import State


def needs(state: State, uplink: str) -> tuple[Scope, ...]:
    """Return for whom no other uplink is known to work, should this one be drained.

    Who has no use of it, because it neither works nor carries anything, or because all that it
    could carry is drained as well, loses nothing and is not among them.
    """
    verdicts = engine.verdicts_of(state)
    drained = state.drains.uplinks
    needed = []
    for scope in state.settings.scopes:
        levels = verdicts.levels_in(scope)
        if uplink not in levels or not _is_in_use(state, scope):
            continue
        carries = uplink in usable(state.settings, verdicts, scope).uplinks
        if levels[uplink] is Level.DOWN and not carries:
            continue
        others = {name for name, level in levels.items() if level.works}
        if not others.difference(drained, {uplink}):
            needed.append(scope)
    return tuple(needed)


def services_of(scope: Scope, settings: Settings) -> tuple[str, ...]:
    """Return the services that only the uplinks of a scope may carry; none for a whole family."""
    if scope.only is None:
        return ()
    return tuple(service.name for service in settings.services if _is_for(scope, service))


def _is_in_use(state: State, scope: Scope) -> bool:
    if scope.only is None:
        return True
    return any(
        _is_for(scope, service) and state.drains.stage(service.name) is None
        for service in state.settings.services
    )


def _is_for(scope: Scope, service: ServiceSettings) -> bool:
    return any(service.scope(Family.of(prefix)) == scope for prefix in service.prefixes)
