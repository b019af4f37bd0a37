"""How a drift is said, and paths that stand back for one another."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from bgphealth.core.decisions import default_key
from bgphealth.core.intents import Announcement
from bgphealth.core.settings import Family
from bgphealth.core.truth import (
    BgpPath,
    BgpRoute,
    KernelDefault,
    KernelView,
    Leg,
    State,
    Tier,
    in_bgpd,
    in_kernel,
    tier,
)
from tests.support.hosts import host, unnumbered_host

BEST = Announcement(default_key(Family.IPV4, 1), ip_address("10.0.1.0"), 100)
DEGRADED = Announcement(default_key(Family.IPV4, 2), ip_address("10.0.2.0"), 90)
EXPECTED = {it.key: it for it in (BEST, DEGRADED)}
PREFIX = Family.IPV4.default_prefix
BY_THE_TOR = "best is next hop 10.0.2.0 from 10.0.2.0, local preference 50"


def path(announcement: Announcement, *, is_valid: bool, is_selected: bool) -> BgpPath:
    hops = () if announcement.next_hop is None else (announcement.next_hop,)
    of = announcement.key.path_id, hops, announcement.local_pref
    return BgpPath(*of, frozenset(), is_valid, is_selected)


def states(best: BgpPath, degraded: BgpPath) -> list[State]:
    table = {PREFIX: BgpRoute((best, degraded), BY_THE_TOR)}
    return list(in_bgpd(EXPECTED, frozenset(), table).states.values())


def test_a_degraded_default_stands_back_for_one_that_can_be_used() -> None:
    used = path(BEST, is_valid=True, is_selected=True)
    not_used = path(DEGRADED, is_valid=True, is_selected=False)
    assert states(used, not_used) == [State.SEEN, State.SEEN]
    broken = path(BEST, is_valid=False, is_selected=False)
    assert states(broken, not_used) == [State.UNUSED, State.UNUSED]
    assert states(broken, replace(not_used, is_selected=True)) == [State.UNUSED, State.SEEN]


def test_the_words() -> None:
    table = {
        PREFIX: BgpRoute(
            (
                path(BEST, is_valid=False, is_selected=False),
                path(DEGRADED, is_valid=True, is_selected=False),
            ),
            BY_THE_TOR,
        )
    }
    drifts = in_bgpd(EXPECTED, frozenset(), table).drifts
    assert [(drift.expected, drift.found, drift.hint) for drift in drifts] == [
        ("a valid path", "next hop 10.0.1.0 inaccessible", "show bgp nexthop 10.0.1.0"),
        (
            "the best path, or one of the multipath",
            BY_THE_TOR,
            "another path is preferred, or maximum-paths is too small",
        ),
    ]


def test_the_words_of_the_kernel() -> None:
    legs = (Leg("eth1", ip_address("10.0.1.0")), Leg("eth9", None))
    default = KernelDefault("bgp", 20, None, legs)
    drift = in_kernel(host(), Family.IPV4, [BEST], KernelView((default,), has_source=True))
    assert drift is not None
    assert drift.expected == "via 10.0.1.0 dev eth1, src 10.255.10.1, proto bgp"
    assert drift.found == "via 10.0.1.0 dev eth1, dev eth9, no src, proto bgp, metric 20"
    assert drift.hint == "zebra's route-map sets src: show ip protocol"


def test_without_a_default_and_with_a_recursive_next_hop() -> None:
    (uplink, *_) = unnumbered_host().uplinks
    announced = Announcement(default_key(Family.IPV6, 1), uplink.paths[1].next_hop, 100)
    nothing = KernelView((), has_source=False)
    drift = in_kernel(unnumbered_host(), Family.IPV6, [announced], nothing)
    assert drift is not None
    assert drift.expected == "dev eth1, src 2001:db8:10::1, proto bgp"
    assert drift.found == "no default; 2001:db8:10::1 is not an address of this host"
    again = "zebra tries again with new routes only: clear bgp 127.0.0.2"
    assert drift.hint == f"add the address to lo; {again}"
    drift = in_kernel(
        unnumbered_host(), Family.IPV6, [announced], replace(nothing, has_source=True)
    )
    assert drift is not None
    assert drift.hint == f"show ipv6 route ::/0; {again}"


def test_a_kernel_that_names_no_next_hops() -> None:
    unknown = KernelDefault("bgp", 20, ip_address("10.255.10.1"), None)
    assert in_kernel(host(), Family.IPV4, [BEST], KernelView((unknown,), has_source=True)) is None
    assert str(unknown) == "next hops unknown, src 10.255.10.1, proto bgp, metric 20"


def test_a_fallback_default_is_not_mistaken_for_bgps_nor_for_somebody_elses() -> None:
    source, leg = ip_address("10.255.10.1"), Leg("eth1", ip_address("10.0.1.0"))
    bgp = KernelDefault("bgp", 20, source, (leg,))
    ours = KernelDefault("bgphealth", (254 << 24) + 1, ip_address("10.0.1.1"), (leg,))
    both = KernelView((ours, bgp), has_source=True)
    assert in_kernel(host(), Family.IPV4, [BEST], both) is None
    drift = in_kernel(host(), Family.IPV4, [BEST], replace(both, defaults=(ours,)))
    assert drift is not None
    assert (drift.state, drift.found) == (
        State.MISSING,
        (
            "no default but the fallback, via 10.0.1.0 dev eth1, src 10.0.1.1, proto bgphealth, "
            "metric 4261412865"
        ),
    )
    assert drift.hint.startswith("show ip route 0.0.0.0/0; ")


OURS = BgpRoute((path(BEST, is_valid=True, is_selected=True),))
THEIRS = BgpRoute((path(BEST, is_valid=False, is_selected=False),), BY_THE_TOR)
BGP = KernelDefault("bgp", 20, ip_address("10.255.10.1"), (Leg("eth1", ip_address("10.0.1.0")),))
FALLBACK = replace(BGP, protocol="bgphealth", metric=(254 << 24) + 1)


@pytest.mark.parametrize(
    ("route", "defaults", "serves"),
    [
        (OURS, (BGP, FALLBACK), Tier.INJECTED),
        (OURS, (FALLBACK, replace(BGP, legs=None)), Tier.INJECTED),
        (THEIRS, (BGP, FALLBACK), Tier.TOR),
        (BgpRoute(), (BGP,), Tier.TOR),
        # What bgpd has selected, but the kernel has not.
        (OURS, (FALLBACK,), Tier.FALLBACK),
        # A link that is down: the kernel goes on to the next default.
        (OURS, (replace(BGP, legs=()), FALLBACK), Tier.FALLBACK),
        (OURS, (replace(BGP, protocol="dhcp", metric=100),), Tier.FOREIGN),
        (OURS, (replace(BGP, protocol="dhcp", metric=(254 << 24) - 1),), Tier.FOREIGN),
        (OURS, (replace(BGP, legs=()),), Tier.NONE),
        (OURS, (), Tier.NONE),
    ],
)
def test_which_tier_serves(
    route: BgpRoute, defaults: tuple[KernelDefault, ...], serves: Tier
) -> None:
    said = tier(route, KernelView(defaults, has_source=True))
    assert said.tier is serves
    assert said.default
