from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgphealth.core.intents import Announcement, Community, RouteKey
from bgphealth.core.reconcile import Announce, Withdraw
from bgphealth.core.settings import Address
from bgphealth.exabgp.commands import encode

ROUTE = Announcement(
    RouteKey(ip_network("192.0.2.53/32")),
    ip_address("192.0.0.8"),
    100,
    (Community(65101, 1), Community(65101, 2)),
)


def test_a_service_is_announced_with_its_communities() -> None:
    assert encode(Announce(ROUTE)) == (
        "announce route 192.0.2.53/32 next-hop 192.0.0.8 local-preference 100"
        " community [65101:1 65101:2]"
    )


def test_a_default_is_announced_with_its_path_identifier() -> None:
    default = Announcement(RouteKey(ip_network("::/0"), 2), ip_address("2001:db8:2::"), 100)
    assert encode(Announce(default)) == (
        "announce route ::/0 next-hop 2001:db8:2:: path-information 0.0.0.2 local-preference 100"
    )


def test_a_withdrawal_names_the_path_that_it_withdraws() -> None:
    assert encode(Withdraw(RouteKey(ip_network("0.0.0.0/0"), 1))) == (
        "withdraw route 0.0.0.0/0 path-information 0.0.0.1"
    )
    assert encode(Withdraw(ROUTE.key)) == "withdraw route 192.0.2.53/32"


@pytest.mark.parametrize(
    "route",
    [
        Announcement(ROUTE.key, ROUTE.next_hop, -1),
        Announcement(ROUTE.key, ROUTE.next_hop, 1 << 32),
        Announcement(ROUTE.key, ROUTE.next_hop, 100, (Community(65536, 1),)),
        Announcement(ROUTE.key, ROUTE.next_hop, 100, (Community(1, -1),)),
        Announcement(RouteKey(ROUTE.key.prefix, 1 << 32), ROUTE.next_hop, 100),
    ],
)
def test_a_number_that_does_not_fit_is_refused(route: Announcement) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        encode(Announce(route))


@pytest.mark.parametrize(
    "next_hop", ["self", "10.0.1.0\nshutdown", "10.0.1.0 community graceful-shutdown", "fe80::1%x"]
)
def test_text_in_place_of_an_address_is_refused(next_hop: str) -> None:
    route = Announcement(ROUTE.key, cast("Address", next_hop), 100)
    with pytest.raises(ValueError, match="not a line for ExaBGP"):
        encode(Announce(route))


networks = st.one_of(
    st.builds(
        lambda address, length: IPv4Network((address, length), strict=False),
        st.integers(0, 2**32 - 1),
        st.integers(0, 32),
    ),
    st.builds(
        lambda address, length: IPv6Network((address, length), strict=False),
        st.integers(0, 2**128 - 1),
        st.integers(0, 128),
    ),
)
keys = st.builds(RouteKey, networks, st.integers(0, 2**32 - 1))
announcements = st.builds(
    Announcement,
    keys,
    st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)),
    st.integers(0, 2**32 - 1),
    st.lists(st.builds(Community, st.integers(0, 65535), st.integers(0, 65535)), max_size=8).map(
        tuple
    ),
)


@given(st.one_of(st.builds(Announce, announcements), st.builds(Withdraw, keys)))
def test_every_change_is_one_line_of_numbers(change: Announce | Withdraw) -> None:
    line = encode(change)
    assert line.isascii()
    assert line.isprintable()
    words = {"announce", "withdraw", "route", "next-hop", "path-information"}
    words |= {"local-preference", "community"}
    rest = [word for word in line.split() if word not in words]
    assert all(set(word) <= set("0123456789abcdef.:/[]") for word in rest)
