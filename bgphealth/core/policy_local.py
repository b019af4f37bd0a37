"""Local mode: which uplink's default is in use, and why each of the others is a spare one.

A decision with an announcement means "in use": nobody is told of it but the kernel.
"""

from __future__ import annotations

from collections.abc import Mapping

from bgphealth.core.carrying import Usable, Verdicts, why_unused
from bgphealth.core.decisions import Decision, Decisions, default_key
from bgphealth.core.drain import Leg
from bgphealth.core.hysteresis import Level
from bgphealth.core.intents import Announcement, RouteKey
from bgphealth.core.preference import by_preference
from bgphealth.core.reasons import Reason
from bgphealth.core.settings import Scope, Settings


def decide_local(
    settings: Settings, verdicts: Verdicts, usable_in: Mapping[Scope, Usable]
) -> Decisions:
    """Return the decision for the default of every path."""
    decisions: dict[RouteKey, Decision] = {}
    for uplink in settings.uplinks:
        for path in uplink.paths:
            key, leg = default_key(path.family, uplink.number), Leg(Scope(path.family), uplink.name)
            carrier, level = usable_in[leg.scope], verdicts.paths[leg.path].level
            if uplink.name in carrier.uplinks and level is not Level.INIT:
                why = Reason.PATH_DEGRADED if level is Level.DEGRADED else carrier.reason
                decisions[key] = Decision(Announcement(key, path.next_hop, None), why)
            else:
                decisions[key] = Decision(None, _why_spare(settings, leg, carrier, verdicts))
    return decisions


def _why_spare(settings: Settings, leg: Leg, carrier: Usable, verdicts: Verdicts) -> Reason:
    judgement = verdicts.paths[leg.path]
    if leg.uplink in verdicts.drains.uplinks:
        return Reason.DRAINED
    if judgement.level is not Level.UP:
        return why_unused(carrier, judgement)
    if not carrier.uplinks:
        return carrier.reason
    order = by_preference(settings, leg.scope.family)
    is_better = all(order.index(leg.uplink) < order.index(name) for name in carrier.uplinks)
    return Reason.NOT_STABLE if is_better else Reason.LESS_PREFERRED
