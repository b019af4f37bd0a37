"""Which uplinks shall carry a scope, given what is known of them.

- Those that are up; the degraded ones when none is, or else the damped.
- A drained one only while no other works and its drain was not forced.
- While none of them works, `all_down` decides; by default the last usable ones are kept, because
  taking the last path away never makes anything better; or the best of them.
- In local mode one of them, the one that `preference` has chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from bgphealth.core.drain import Drains, Leg, Stage
from bgphealth.core.guard import Guard
from bgphealth.core.health import Judgement, PathHealth, PathKey, Standing
from bgphealth.core.hysteresis import Level
from bgphealth.core.reasons import Reason
from bgphealth.core.settings import Address, AllDown, Family, Mode, Prefix, Scope, Settings


class Usable(NamedTuple):
    """The uplinks that shall carry the traffic of one scope now, and why just these."""

    uplinks: frozenset[str]
    reason: Reason


@dataclass(frozen=True, slots=True)
class Verdicts:
    """All that the policy looks at.

    `health` is what the verdicts on paths are made of; `last_usable` remembers which uplinks last
    carried, drained ones apart; `settled` is False while a start may still bring first verdicts;
    `missing` are addresses that this host should have; `in_use` is the uplink that was chosen for
    each family, in local mode.
    """

    paths: Mapping[PathKey, Judgement]
    services: Mapping[str, Judgement]
    last_usable: Mapping[Scope, frozenset[str]]
    settled: bool
    health: Mapping[PathKey, PathHealth]
    drains: Drains = field(default_factory=Drains)
    missing: frozenset[Address] = frozenset()
    guards: Mapping[Prefix, Guard] = field(default_factory=dict)
    in_use: Mapping[Family, str] = field(default_factory=dict)

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
            uplink: self.health[PathKey(uplink, scope.family)].standing
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
    """Return which uplinks carry a scope: all that can; in local mode the one that is in use."""
    carrier = able(settings, verdicts, scope)
    if settings.mode is not Mode.LOCAL or not carrier.uplinks:
        return carrier
    in_use = verdicts.in_use.get(scope.family)
    is_kept = not any_works(verdicts, scope, in_use)
    if in_use is None or not (in_use in carrier.uplinks or is_kept):
        return Usable(frozenset(), Reason.INIT)  # A more preferred one is waited for.
    return carrier._replace(uplinks=frozenset({in_use}))


def any_works(verdicts: Verdicts, scope: Scope, in_use: str | None) -> bool:
    """Tell, in local mode, whether there is a path that works to decide by.

    One that is drained by force is not used however well it works: nobody leaves another for it. It
    counts while it is the one in use, which is left even for one that does not work.
    """
    drained = verdicts.drains.uplinks
    return any(
        level.works
        for name, level in verdicts.levels_in(scope).items()
        if name == in_use or name not in drained or not drained[name].forced
    )


def able(  # noqa: PLR0911 - one for each case
    settings: Settings, verdicts: Verdicts, scope: Scope
) -> Usable:
    """Return which uplinks can carry a scope: the clean ones, else the degraded, else `all_down`.

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


def stage_of(leg: Leg, verdicts: Verdicts, carrier: Usable) -> Stage | None:
    """Return how far an uplink is drained for a scope; None as well for one that is needed."""
    return None if leg.uplink in carrier.uplinks else verdicts.drains.stage(leg)


def why_unused(carrier: Usable, judgement: Judgement) -> Reason:
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


def why_drained(carrier: Usable, verdicts: Verdicts, leg: Leg) -> Reason:
    """Return why a drained path is not announced; what nobody can know yet is left as it is."""
    is_settling = leg in verdicts.drains.settling
    waiting = is_settling and verdicts.paths[leg.path].level is Level.INIT
    return Reason.INIT if waiting or carrier.reason is Reason.INIT else Reason.DRAINED
