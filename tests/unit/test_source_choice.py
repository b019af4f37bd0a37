"""Why a source, and why not another. That it is what the kernel does is a network test's part."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from bgphealth.core.lookup import (
    HOST,
    LINK,
    UNIVERSE,
    Choosable,
    Held,
    Hop,
    Kind,
    Matched,
    Question,
    Taken,
)
from bgphealth.core.source_choice import Choice, Way, choose, offers
from bgphealth.core.truth import Leg

FAR4, FAR6 = ip_address("203.0.113.9"), ip_address("2001:db8:f00::9")


def held(address: str, interface: str = "eth1", **flags: object) -> Held:
    return Held(ip_interface(address), interface, **flags)  # type: ignore[arg-type]


def chosen(
    *addresses: Held, to: str = "203.0.113.9", via: str | None = None, on: str | None = "eth1"
) -> Choice | None:
    gateway = None if via is None else ip_address(via)
    scope = LINK if gateway is None else UNIVERSE
    return choose(addresses, Way(ip_address(to), on, gateway, scope))


def why_not(choice: Choice | None) -> list[str]:
    assert choice is not None
    return [words for _, words in choice.others]


def test_the_first_primary_address_in_the_subnet_of_the_next_hop() -> None:
    choice = chosen(
        held("10.255.10.1/32", "lo"),
        held("10.9.0.5/24"),
        held("10.0.1.1/24"),
        held("10.0.1.2/24", is_secondary=True),
        held("10.0.1.3/25"),
        held("10.0.1.4/24", scope=HOST),
        via="10.0.1.9",
    )
    assert choice is not None
    assert str(choice.held.address) == "10.0.1.1/24"
    assert choice.why == "the first primary address of eth1 in the subnet of 10.0.1.9"
    assert why_not(choice) == [
        "the route leaves on eth1",
        "not in the subnet of 10.0.1.9",
        "secondary: taken only where a route or a program names it",
        "listed after 10.0.1.1: the first one is taken",
        "its scope (host) is too narrow",
    ]


def test_none_in_the_subnet_of_the_next_hop() -> None:
    choice = chosen(held("10.9.0.5/24"), held("10.9.1.5/24"), via="10.0.1.9")
    assert choice is not None
    assert choice.why == "the first primary address of eth1; none is in the subnet of 10.0.1.9"
    assert why_not(choice) == ["listed after 10.9.0.5: the first one is taken"]


def test_a_next_hop_of_the_other_family_says_nothing_of_subnets() -> None:
    choice = chosen(held("10.9.0.5/24"), via="fe80::1")
    assert choice is not None
    assert choice.why == "the primary address of eth1"


def test_a_device_without_an_address_borrows_one() -> None:
    choice = chosen(
        held("127.0.0.1/8", "lo", scope=HOST),
        held("10.7.0.1/24", "lo", scope=LINK),
        held("10.255.10.1/32", "lo"),
        via="10.0.1.9",
    )
    assert choice is not None
    assert str(choice.held.address.ip) == "10.255.10.1"
    assert choice.why == "eth1 has none that is fit; the first of the host's that is"
    assert why_not(choice) == [
        "its scope (host) is too narrow",
        "its scope (link) is too narrow",
    ]
    assert chosen(held("127.0.0.1/8", "lo", scope=HOST), via="10.0.1.9") is None


BASE = held("2001:db8:1::1/64")
LO = held("2001:db8:10::1/128", "lo")


@pytest.mark.parametrize(
    ("loser", "winner", "to", "why", "lost"),
    [
        (
            BASE,
            LO,
            "2001:db8:10::1",
            "rule 1: it is the destination itself",
            "rule 1: it is not the destination itself",
        ),
        (
            held("fe80::1/64"),
            LO,
            "2001:db8:f00::9",
            "rule 2: its scope fits 2001:db8:f00::9 best",
            "rule 2: its scope does not fit 2001:db8:f00::9 as well",
        ),
        (
            replace(BASE, is_deprecated=True),
            LO,
            "2001:db8:f00::9",
            "rule 3: it is not deprecated",
            "rule 3: it is deprecated",
        ),
        (
            LO,
            BASE,
            "2001:db8:f00::9",
            "rule 5: it is on eth1, where the route leaves",
            "rule 5: not on eth1",
        ),
        (
            BASE,
            held("fd00:1::1/64"),
            "fd00:2::1",
            "rule 6: it has the label of fd00:2::1",
            "rule 6: it has another label than fd00:2::1",
        ),
        (
            replace(BASE, prefers_temporary=True),
            held("2001:db8:1::aa/64", is_temporary=True, prefers_temporary=True),
            "2001:db8:f00::9",
            "rule 7: temporary or not, as use_tempaddr wants it",
            "rule 7: temporary or not, other than use_tempaddr wants it",
        ),
        (
            BASE,
            held("2001:db8:f01::1/64"),
            "2001:db8:f00::9",
            "rule 8: it has the longest prefix in common with 2001:db8:f00::9",
            "rule 8: it has a shorter prefix in common with 2001:db8:f00::9",
        ),
    ],
)
def test_each_rule_of_rfc_6724_decides(
    loser: Held, winner: Held, to: str, why: str, lost: str
) -> None:
    for order in ((loser, winner), (winner, loser)):
        choice = chosen(*order, to=to)
        assert choice is not None
        assert choice.held is winner
        assert choice.why == f"RFC 6724, {why}"
        assert why_not(choice) == [f"RFC 6724, {lost}"]


def test_the_first_of_equals() -> None:
    choice = chosen(held("2001:db8:1::aa/64"), BASE, to="2001:db8:f00::9")
    assert choice is not None
    assert choice.why == "as good as others, and the first in the kernel's list"
    assert why_not(choice) == ["as good, but 2001:db8:1::aa is before it in the kernel's list"]


def test_a_common_prefix_is_no_longer_than_the_subnet() -> None:
    first = held("2001:db8:1::8/64")
    choice = chosen(first, held("2001:db8:1::1/64"), to="2001:db8:1::2")
    assert choice is not None
    assert choice.held is first


def test_no_candidates() -> None:
    tentative = replace(BASE, is_tentative=True)
    choice = chosen(tentative, LO, to="2001:db8:f00::9")
    assert choice is not None
    assert choice.why == "the only address that can be used"
    assert why_not(choice) == ["tentative: it may be another host's as well"]
    own = chosen(replace(BASE, has_only_own=True), LO, to="2001:db8:10::1")
    assert why_not(own) == ["not on eth1, and only its addresses are asked"]
    near = chosen(held("fe80::1/64"), held("fe80::2/64", "eth2"), to="fe80::9")
    assert why_not(near) == ["not on eth1, and only its addresses are asked"]
    assert chosen(to="2001:db8:f00::9") is None


def test_without_a_route_every_interface_is_as_good() -> None:
    choice = chosen(BASE, held("2001:db8:f00::1/64", "eth2"), to="2001:db8:f00::9", on=None)
    assert choice is not None
    assert choice.held.interface == "eth2"


ONE, TWO = (Leg(f"eth{n}", ip_address(f"10.0.{n}.9")) for n in (1, 2))
BOTH = Matched(254, ip_network("0.0.0.0/0"), Kind.UNICAST, "bgp", hops=(Hop(ONE), Hop(TWO)))
LINKS = (held("10.0.1.1/24"), held("10.0.2.1/24", "eth2"))
A, B = (each.address.ip for each in LINKS)


def test_each_of_several_next_hops_offers_its_own_source() -> None:
    question = Question(FAR4)
    assert offers(LINKS, question, Taken(TWO, B, BOTH)) == ((A, ONE), (B, TWO))
    one_source = replace(BOTH, source=A)
    assert offers(LINKS, question, Taken(TWO, A, one_source)) == ((A, ONE), (A, TWO))
    asked = replace(question, source=B)
    assert offers(LINKS, asked, Taken(ONE, None, BOTH)) == ((B, ONE), (B, TWO))
    bound = replace(question, interface="eth2")
    assert offers(LINKS, bound, Taken(TWO, B, BOTH)) == (Choosable(B, TWO),)


def test_what_is_not_explained_is_not_extended() -> None:
    strange = ip_address("10.77.0.1")
    assert offers(LINKS, Question(FAR4), Taken(TWO, strange, BOTH)) == ((strange, TWO),)


def test_a_nexthop_object_of_ipv6_has_the_device_of_its_first() -> None:
    addresses = (held("2001:db8:1::1/64"), held("2001:db8:2::1/64", "eth2"))
    legs = [Leg(f"eth{n}", ip_address(f"2001:db8:{n}::9")) for n in (1, 2)]
    route = Matched(
        254, ip_network("::/0"), Kind.UNICAST, "bgp", hops=tuple(map(Hop, legs)), nexthop_id=7
    )
    first = addresses[0].address.ip
    assert offers(addresses, Question(FAR6), Taken(legs[1], first, route)) == (
        (first, legs[0]),
        (first, legs[1]),
    )
