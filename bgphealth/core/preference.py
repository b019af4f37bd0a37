"""Local mode: which uplink the traffic of each family leaves through.

- The one in use stays while none is better off than it (`carrying.able`).
- When it can be used no more, the most preferred one of those that can takes over, at once.
- One that is preferred to it takes over again when it has been up for `stable_for_s` without a
  break, and nothing has taken over for as long. A break is a verdict, not a lost probe.
- While no path works, nothing changes.
- At the start the most preferred one that works is taken; it is waited for as long as its first
  verdict may come.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from types import MappingProxyType
from typing import NamedTuple

from bgphealth.core.carrying import Verdicts, able, any_works
from bgphealth.core.health import PathKey
from bgphealth.core.hysteresis import Level
from bgphealth.core.settings import Family, Scope, Settings

_UP = (Level.UP, Level.DAMPED)
"""It answers well. What falls too often is a spare one for longer, and its time counts."""


class Preference(NamedTuple):
    """The uplink `in_use` in each family, since when; and since when each path is up.

    `next_at` is when the next one that is preferred may take over, None for never.
    """

    in_use: Mapping[Family, str] = MappingProxyType({})
    used_since: Mapping[Family, float] = MappingProxyType({})
    up_since: Mapping[PathKey, float] = MappingProxyType({})
    next_at: float | None = None

    def is_due(self, at: float) -> bool:
        """Tell whether a preferred one may take over now."""
        return self.next_at is not None and self.next_at <= at


def choose(before: Preference, at: float, settings: Settings, verdicts: Verdicts) -> Preference:
    """Return what is in use from now on, given what was."""
    up_since = {
        key: before.up_since.get(key, at)
        for key, verdict in verdicts.paths.items()
        if verdict.level in _UP
    }
    in_use: dict[Family, str] = {}
    used_since: dict[Family, float] = {}
    times: list[float] = []
    for family in settings.families:
        scope = Scope(family)
        there = able(settings, verdicts, scope).uplinks
        order = by_preference(settings, family)
        now = before.in_use.get(family)
        chosen = now if now in order else None
        if now in there:
            better = [name for name in order[: order.index(now)] if name in there]
            since = {name: up_since.get(PathKey(name, family), inf) for name in better}
            used = before.used_since[family]
            ready_at = {n: max(up, used) + settings.stable_for_s for n, up in since.items()}
            chosen = next((name for name in better if ready_at[name] <= at), now)
            times += [ready for ready in ready_at.values() if at < ready < inf]
        elif chosen is None or any_works(verdicts, scope, now):
            best = _best(order, there, verdicts, scope, waits=chosen is None)
            chosen = chosen if best is None else best
        if chosen is not None:
            in_use[family] = chosen
            used_since[family] = before.used_since[family] if chosen == now else at
    return Preference(in_use, used_since, up_since, min(times, default=None))


def by_preference(settings: Settings, family: Family) -> list[str]:
    """Return the uplinks that have a family, the most preferred one first."""
    uplinks = sorted(settings.uplinks, key=lambda uplink: uplink.number)
    return [u.name for u in uplinks if any(path.family is family for path in u.paths)]


def _best(
    order: list[str], there: frozenset[str], verdicts: Verdicts, scope: Scope, *, waits: bool
) -> str | None:
    """Return the most preferred one, unless one before it may have its first verdict soon."""
    levels, drained = verdicts.levels_in(scope), verdicts.drains.uplinks
    for name in order:
        if name in there:
            return name
        if waits and not verdicts.settled and levels[name] is Level.INIT and name not in drained:
            return None
    return None
