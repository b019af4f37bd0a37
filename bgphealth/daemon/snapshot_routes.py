"""The routes of a snapshot: what is decided for each, towards whom, and what others have of it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from bgphealth.core import policy_services
from bgphealth.core.communities import Community, LargeCommunity
from bgphealth.core.decisions import Decision
from bgphealth.core.drain import Stage
from bgphealth.core.intents import Announcement, RouteKey
from bgphealth.core.reasons import Reason
from bgphealth.core.settings import Address, Mode, Settings

if TYPE_CHECKING:
    from bgphealth.daemon.closed_loop import Truth
    from bgphealth.daemon.snapshot import Known, Told

Json: TypeAlias = dict[str, Any]


class Routes:
    """Describes routes; what all of them need is looked up once."""

    def __init__(self, known: Known) -> None:
        settings = known.state.settings
        self._known = known
        self._service_of = {p: s.name for s in settings.services for p in s.prefixes}
        self._uplink_of = {uplink.number: uplink.name for uplink in settings.uplinks}
        self._session_of = {
            path.neighbor: uplink.name for uplink in settings.uplinks for path in uplink.paths
        }
        self._ways = dict(_ways(settings))

    def of(self, key: RouteKey) -> Json:
        """Return what is known of one route."""
        known, decision = self._known, self._known.state.decisions[key]
        return {
            "route": str(key),
            "service": self._service_of.get(key.prefix),
            "uplink": self._uplink_of.get(key.path_id) or self._session_of.get(key.neighbor),
            "decision": _decided(decision, known.state.settings.mode),
            "reason": decision.reason.value,
            "since": known.clock(known.times.routes.get(key, known.times.began)),
            "towards": self._towards(key, decision),
            "announcement": _announcement(decision.announcement),
            "exabgp": _in_exabgp(known.told, key, decision),
            "bgpd": _in_bgpd(known.truth, key),
        }

    def _towards(self, key: RouteKey, decision: Decision) -> Json:
        """Return how each uplink's ToR gets a service."""
        outward = decision.outward
        if outward is None or key.path_id:
            return {}
        if key.neighbor is not None:
            return {self._session_of[key.neighbor]: _how_alone(outward)}
        known = (self._ways.get(community) for community in outward.communities)
        return dict(way for way in known if way is not None)


def _decided(decision: Decision, mode: Mode) -> str:
    """Return what is done with a route, in the words of docs/reasons.md."""
    left = decision.announcement is None and decision.reason in (
        Reason.INIT,
        *((Reason.ALL_DOWN_NOTHING_TO_KEEP,) if mode is Mode.LOCAL else ()),
    )
    if left:
        return "left as it is"
    if mode is Mode.LOCAL:
        return "in use" if decision.announcement is not None else "spare"
    return "announced" if decision.outward is not None else "withdrawn"


def _ways(settings: Settings) -> Iterator[tuple[Community, tuple[str, str]]]:
    """Return what each steering community says: to which uplink, and how."""
    for uplink in settings.uplinks:
        for degraded in (False, True):
            usual = "degraded" if degraded else "usual"
            for stage, how in ((None, usual), *_STAGES.items()):
                community = policy_services.steering(settings, uplink, stage, degraded=degraded)
                yield community, (uplink.name, how)
            last = policy_services.steering(settings, uplink, degraded=degraded, down=True)
            yield last, (uplink.name, "last_resort")


_STAGES = {Stage.PREPENDED: "prepended", Stage.SHUTDOWN: "graceful_shutdown"}


def _how_alone(announcement: Announcement) -> str:
    if policy_services.GRACEFUL_SHUTDOWN in announcement.communities:
        return "graceful_shutdown"
    return "prepended" if announcement.as_path else "usual"


def _announcement(announcement: Announcement | None) -> Json | None:
    if announcement is None:
        return None
    next_hop = announcement.next_hop
    return {
        "next_hop": "self" if next_hop is None else _text(next_hop),
        "local_pref": announcement.local_pref,
        "communities": [_text(community) for community in announcement.communities],
        "large_communities": [_text(large) for large in announcement.large_communities],
        "med": announcement.med,
        "as_path": list(announcement.as_path),
    }


@lru_cache(maxsize=1024)
def _text(thing: Address | Community | LargeCommunity) -> str:
    return str(thing)


def _in_exabgp(told: Told | None, key: RouteKey, decision: Decision) -> str | None:
    """Return whether ExaBGP has acknowledged what is decided."""
    if told is None or (decision.announcement is None and decision.reason is Reason.INIT):
        return None
    if key in told.refused:
        return "refused"
    if key in told.waiting or told.acknowledged.get(key) != decision.announcement:
        return "waiting"
    return "acknowledged"


def _in_bgpd(truth: Truth | None, key: RouteKey) -> str | None:
    if truth is None or truth.unknown:
        return None
    state = truth.states.get(key)
    return None if state is None else state.value
