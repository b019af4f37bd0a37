"""Guarded withdrawal: a service that is down is withdrawn when another host can take over.

Every announcement carries a mark, a large community that says who announces and whether the service
is well there: a ToR sends us our own announcement back, and one of another host that is no better
off. While a guarded service is down it is announced as a last resort, bgpd is asked again and again
who else announces its prefixes, and only another host's mark that says healthy counts.

Two hosts that go down together must not each withdraw in favour of the other. So a healthy path
must have been there for `guarded_settle_s` of our being a last resort, and still be there when
it is looked for: whoever withdraws has by then been told by everybody who is down as well, while
news takes less than that through the fabric.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from bgphealth.core.communities import LargeCommunity
from bgphealth.core.events import AlternativesSeen, AlternativesUnknown, Verdict
from bgphealth.core.health import Judgement
from bgphealth.core.hysteresis import Level
from bgphealth.core.reasons import Reason
from bgphealth.core.settings import HostSettings, OnDown, Prefix, ServiceSettings, Settings

HEALTHY, DEGRADED = 17901, 17902
"""The second part of a mark; the first is the AS of who announces, the third its router id."""

LAST_RESORT_PREPEND = 5
"""How often our AS is prepended to a path that is a last resort.

To a ToR, the path to a server behind another one is longer by two ASNs over one more tier of
switches, and by four over two more. Fabrics need not know GRACEFUL_SHUTDOWN.
"""


class Guard(NamedTuple):
    """What is known of others' paths to a prefix.

    `word` is the last one: `OK` for a healthy path, seen since `since`; None while there is none
    yet, the service being down since `since`. `withdraws`: it has been there for long enough.
    """

    word: Verdict | None
    since: float
    withdraws: bool = False


def mark(host: HostSettings, *, healthy: bool) -> LargeCommunity:
    """Return what says that this host announces, and how its service is."""
    return LargeCommunity(host.asn, HEALTHY if healthy else DEGRADED, int(host.router_id))


def is_down(service: ServiceSettings, verdicts: Mapping[str, Judgement]) -> bool:
    """Tell whether a service, or one that it requires, is down or damped."""
    names = (service.name, *service.requires)
    return any(verdicts[name].level in (Level.DOWN, Level.DAMPED) for name in names)


def watched(settings: Settings, verdicts: Mapping[str, Judgement]) -> tuple[Prefix, ...]:
    """Return the prefixes of all guarded services that are down."""
    return tuple(
        prefix
        for service in settings.services
        if service.on_down is OnDown.GUARDED and is_down(service, verdicts)
        for prefix in service.prefixes
    )


def after(
    guards: Mapping[Prefix, Guard], event: AlternativesSeen | AlternativesUnknown, settle_s: float
) -> Mapping[Prefix, Guard]:
    """Return the guards after a look; what is about other prefixes was under way."""
    match event:
        case AlternativesUnknown():
            words = dict.fromkeys(guards, Verdict.UNKNOWN)
        case AlternativesSeen(asked=asked, healthy=healthy):
            words = dict.fromkeys(asked, Verdict.FAILED) | dict.fromkeys(healthy, Verdict.OK)
    return {
        prefix: _heard(before, words[prefix], event.at, settle_s) if prefix in words else before
        for prefix, before in guards.items()
    }


def _heard(before: Guard, word: Verdict, at: float, settle_s: float) -> Guard:
    if word is Verdict.OK:
        since = before.since if before.word is Verdict.OK else at
        return Guard(word, since, before.withdraws or at - since >= settle_s)
    if before.word is None and at - before.since < settle_s:
        return before  # Others are told only now that we are worse, and we of them.
    return before if before.word is word else Guard(word, at)


def why(service: ServiceSettings, guard: Guard | None) -> Reason:
    """Return what is decided for a prefix of a service that is down and not simply withdrawn."""
    if service.on_down is not OnDown.GUARDED or guard is None or guard.word is None:
        return Reason.SERVICE_DOWN_DEGRADED
    if guard.word is not Verdict.OK:
        return Reason.GUARDED_LAST_RESORT
    return Reason.GUARDED_ALTERNATIVE if guard.withdraws else Reason.SERVICE_DOWN_DEGRADED
