from __future__ import annotations

from collections import Counter
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgphealth.core.intents import Announcement, Community, LargeCommunity, RouteKey
from bgphealth.core.reconcile import Announce, Change, Withdraw
from bgphealth.core.settings import Address, Prefix
from bgphealth.exabgp.commands import BATCH, commands, encode

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


def test_every_attribute_has_its_words() -> None:
    route = replace(
        ROUTE,
        large_communities=(LargeCommunity(65101, 1, 2), LargeCommunity(4200000101, 0, 4294967295)),
        med=0,
        as_path=(4200000101, 65101),
    )
    assert encode(Announce(route)) == (
        "announce route 192.0.2.53/32 next-hop 192.0.0.8 local-preference 100 med 0"
        " as-path [ 4200000101 65101 ] community [65101:1 65101:2]"
        " large-community [65101:1:2 4200000101:0:4294967295]"
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
        replace(ROUTE, med=1 << 32),
        replace(ROUTE, med=-1),
        replace(ROUTE, as_path=(65101, 1 << 32)),
        replace(ROUTE, as_path=(65101,) * 256),
        replace(ROUTE, large_communities=(LargeCommunity(1, 1 << 32, 1),)),
    ],
)
def test_a_number_that_does_not_fit_is_refused(route: Announcement) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        encode(Announce(route))


@pytest.mark.parametrize(
    "next_hop", ["Self", "10.0.1.0\nshutdown", "10.0.1.0 community graceful-shutdown", "fe80::1%x"]
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
numbers = st.integers(0, 2**32 - 1)
addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
keys = st.builds(
    RouteKey,
    networks,
    st.one_of(st.just(0), st.integers(0, 2**32 - 1)),
    st.one_of(st.none(), addresses),
)
announcements = st.builds(
    Announcement,
    keys,
    st.one_of(st.none(), addresses),
    st.one_of(st.none(), st.integers(0, 2**32 - 1)),
    st.lists(st.builds(Community, st.integers(0, 65535), st.integers(0, 65535)), max_size=8).map(
        tuple
    ),
    st.lists(st.builds(LargeCommunity, *[numbers] * 3), max_size=3).map(tuple),
    st.none() | numbers,
    st.lists(numbers, max_size=11).map(tuple),
)
changes = st.one_of(st.builds(Announce, announcements), st.builds(Withdraw, keys))

WORDS = {"announce", "withdraw", "route", "attributes", "neighbor", "nlri", "next-hop", "self"}
WORDS |= {"path-information", "local-preference", "community"}
WORDS |= {"med", "as-path", "large-community"}


def assert_one_line_of_numbers(line: str) -> None:
    assert line.isascii()
    assert line.isprintable()
    rest = [word for word in line.split(" ") if word not in WORDS]
    assert all(set(word) <= set("0123456789abcdef.:/[]") for word in rest)


@given(changes)
def test_every_change_is_one_line_of_numbers(change: Change) -> None:
    assert_one_line_of_numbers(encode(change))


@given(st.lists(changes, max_size=30), st.lists(networks, max_size=30))
def test_every_batch_is_one_line_of_numbers(some: list[Change], more: list[Prefix]) -> None:
    alike = [Withdraw(RouteKey(prefix)) for prefix in more]
    asked = [*some, *alike]
    found = list(commands(asked))
    for command in found:
        assert_one_line_of_numbers(command.line)
        assert len(command.changes) <= BATCH
    assert Counter(c for command in found for c in command.changes) == Counter(asked)


LIES = ("next_hop", "local_pref", "communities", "large_communities", "med", "as_path")


@given(st.text(), st.sampled_from([*LIES, "prefix", "neighbor"]))
def test_no_text_whatever_gets_through(text: str, field: str) -> None:
    """Types keep text out; where they are lied to, `encode` still refuses."""
    lie = cast("Any", text)
    key = RouteKey(lie) if field == "prefix" else ROUTE.key
    key = key._replace(neighbor=lie) if field == "neighbor" else key
    route = replace(ROUTE, key=key)
    if field in LIES:
        route = replace(route, **{field: lie})
    try:
        line = encode(Announce(route))
    except (ValueError, TypeError, AttributeError):
        return
    assert_one_line_of_numbers(line)


def test_routes_alike_share_a_command_and_come_in_batches() -> None:
    routes = [replace(ROUTE, key=RouteKey(ip_network((i, 32)))) for i in range(BATCH + 2)]
    other = replace(routes[1], local_pref=90)
    routes[1] = other
    found = list(commands([*(Announce(r) for r in routes), *(Withdraw(r.key) for r in routes[:2])]))
    assert [len(command.changes) for command in found] == [BATCH, 1, 1, 2]
    assert found[0].line.startswith(
        "announce attributes next-hop 192.0.0.8 local-preference 100"
        " community [65101:1 65101:2] nlri 0.0.0.0/32 0.0.0.2/32"
    )
    assert found[-1].line == "withdraw attributes next-hop 0.0.0.0 nlri 0.0.0.0/32 0.0.0.1/32"


def test_routes_for_one_neighbor_name_it() -> None:
    keys = [
        RouteKey(ip_network(f"2001:db8::{i}/128"), neighbor=ip_address("10.0.1.0")) for i in (1, 2)
    ]
    announce = [Announce(Announcement(key, None, None)) for key in keys]
    withdraw = [Withdraw(key) for key in keys]
    assert [command.line for command in commands([*announce, *withdraw])] == [
        "neighbor 10.0.1.0 announce attributes next-hop self nlri 2001:db8::1/128 2001:db8::2/128",
        "neighbor 10.0.1.0 withdraw attributes next-hop :: nlri 2001:db8::1/128 2001:db8::2/128",
    ]
    assert encode(announce[0]) == ("neighbor 10.0.1.0 announce route 2001:db8::1/128 next-hop self")
    assert encode(withdraw[0]) == "neighbor 10.0.1.0 withdraw route 2001:db8::1/128"


def test_what_does_not_belong_together_is_no_batch() -> None:
    default = RouteKey(ip_network("0.0.0.0/0"), 1)
    for mixed in (
        [Announce(ROUTE), Withdraw(ROUTE.key)],
        [Withdraw(default), Withdraw(default._replace(path_id=2))],
        [Withdraw(ROUTE.key), Withdraw(RouteKey(ip_network("::/0")))],
        [],
    ):
        with pytest.raises(ValueError, match="not one batch"):
            encode(*mixed)
