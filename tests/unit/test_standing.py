"""The one line for the service manager, when routes drift."""

from __future__ import annotations

from bgphealth.core import engine
from bgphealth.core.decisions import default_key
from bgphealth.core.intents import RouteKey
from bgphealth.core.settings import Family
from bgphealth.core.truth import Drift, State, Tier, Where
from bgphealth.daemon import standing
from tests.support.hosts import host

SETTINGS = host(uplinks=1)
SERVICE = RouteKey(SETTINGS.services[1].prefixes[0])


def drift(key: RouteKey, where: Where = Where.BGPD, state: State = State.MISSING) -> Drift:
    return Drift(key, where, state, "this", "that")


def said(*drifts: Drift) -> list[str]:
    return standing.in_words(engine.initial(SETTINGS), drifts).split("; ")


def test_without_drift_nothing_is_said_of_it() -> None:
    assert not [words for words in said() if "drift" in words]


def test_a_drift_comes_before_what_has_no_verdict() -> None:
    assert said(drift(SERVICE))[1] == "1 route drifts: 192.0.2.53/32 missing in bgpd"
    assert said(drift(SERVICE))[2].startswith("tor1 ipv4 init")


def test_a_route_in_two_places_is_one_route_and_not_everything_is_named() -> None:
    default = RouteKey(Family.IPV4.default_prefix)
    many = (
        drift(default_key(Family.IPV4, 1)),
        drift(default, Where.KERNEL, State.DIFFERS),
        drift(SERVICE, state=State.STALE),
    )
    assert said(*many)[1] == (
        "3 routes drift: 0.0.0.0/0 path 1 missing in bgpd, 0.0.0.0/0 differs in kernel, "
        "192.0.2.53/32 stale in bgpd"
    )
    more = said(*many, drift(SERVICE, Where.KERNEL))[1]
    assert more.startswith("3 routes drift: ")
    assert more.endswith("stale in bgpd, and 1 more")


def test_a_default_that_is_not_ours_is_named() -> None:
    tiers = {Family.IPV4: Tier.TOR, Family.IPV6: Tier.INJECTED}
    words = standing.in_words(engine.initial(SETTINGS), (drift(SERVICE),), tiers).split("; ")
    assert words[1] == "ipv4 default: tor"
    assert words[2].startswith("1 route drifts")
