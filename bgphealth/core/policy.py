"""From verdicts to intents: what a network engineer would have decided, and why.

- The default via an uplink is announced while its path works; with a lower local preference while
  the path is degraded, so that it is used only when no clean one is left. In direct mode there is
  none.
- Which uplinks carry what is in `carrying`, and how services go to their ToRs in `policy_services`.
- A drained uplink carries nothing; before that, while it settles, its default is there with a local
  preference that is lower still.
- In local mode nothing is announced: see `policy_local`.
"""

from __future__ import annotations

from dataclasses import replace

from bgphealth.core.carrying import Usable, Verdicts, stage_of, usable, why_drained, why_unused
from bgphealth.core.decisions import (
    INJECTED_LOCAL_PREF,
    Decision,
    Decisions,
    default_key,
    session_key,
)
from bgphealth.core.drain import Leg
from bgphealth.core.health import Judgement
from bgphealth.core.hysteresis import Level
from bgphealth.core.intents import Announcement, Intents, RouteKey
from bgphealth.core.policy_local import decide_local
from bgphealth.core.policy_services import decide_service, decide_sessions, over
from bgphealth.core.reasons import Reason
from bgphealth.core.settings import Mode, Scope, Settings

DEGRADED_LOCAL_PREF = 90
"""Of a default via a degraded path: verified, so still above the ToR's own."""

DRAINING_LOCAL_PREF = 80
"""Of a default that is being drained: only used when no other injected one is left."""


def owned(settings: Settings) -> frozenset[RouteKey]:
    """Return every route that is ours to announce or to withdraw, whatever the verdicts."""
    prefixes = [(service, prefix) for service in settings.services for prefix in service.prefixes]
    if settings.mode is Mode.DIRECT:
        return frozenset(
            session_key(prefix, path)
            for service, prefix in prefixes
            for _, path in over(settings, service, prefix)
        )
    defaults = (
        default_key(path.family, uplink.number)
        for uplink in settings.uplinks
        for path in uplink.paths
    )
    return frozenset((*defaults, *(RouteKey(prefix) for _, prefix in prefixes)))


def decide(settings: Settings, verdicts: Verdicts) -> Decisions:
    """Return the decision for every route that is ours."""
    usable_in = {scope: usable(settings, verdicts, scope) for scope in settings.scopes}
    decisions: dict[RouteKey, Decision] = {}
    if settings.mode is Mode.DIRECT:
        for service in settings.services:
            decisions.update(decide_sessions(settings, service, verdicts, usable_in))
        return decisions
    if settings.mode is Mode.LOCAL:
        return decide_local(settings, verdicts, usable_in)
    for uplink in settings.uplinks:
        for path in uplink.paths:
            key, leg = default_key(path.family, uplink.number), Leg(Scope(path.family), uplink.name)
            announcement = Announcement(key, path.next_hop, INJECTED_LOCAL_PREF)
            carrier, judgement = usable_in[leg.scope], verdicts.paths[leg.path]
            if stage_of(leg, verdicts, carrier):
                decisions[key] = _decide_drained(announcement, carrier, verdicts, leg)
            else:
                decisions[key] = _decide_default(uplink.name, announcement, carrier, judgement)
    for service in settings.services:
        decisions.update(decide_service(settings, service, verdicts, usable_in))
    return decisions


def intents(decisions: Decisions) -> Intents:
    """Return what is wanted in the BGP table."""
    return {key: d.announcement for key, d in decisions.items() if d.announcement is not None}


def undecided(decisions: Decisions) -> frozenset[RouteKey]:
    """Return the routes that wait for a first verdict: neither announced nor withdrawn yet."""
    return frozenset(
        key for key, d in decisions.items() if d.announcement is None and d.reason is Reason.INIT
    )


def _decide_drained(
    announcement: Announcement, carrier: Usable, verdicts: Verdicts, leg: Leg
) -> Decision:
    if carrier.reason is not Reason.INIT and leg.uplink in verdicts.leaving(leg.scope):
        return Decision(replace(announcement, local_pref=DRAINING_LOCAL_PREF), Reason.DRAINING)
    return Decision(None, why_drained(carrier, verdicts, leg))


def _decide_default(
    uplink: str, announcement: Announcement, carrier: Usable, judgement: Judgement
) -> Decision:
    if judgement.level is Level.DEGRADED:
        degraded = replace(announcement, local_pref=DEGRADED_LOCAL_PREF)
        return Decision(degraded, Reason.PATH_DEGRADED)
    if uplink in carrier.uplinks and judgement.level is not Level.INIT:
        return Decision(announcement, carrier.reason)
    return Decision(None, why_unused(carrier, judgement))
