"""Which of the routers on a link is the gateway."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address, ip_address, ip_interface, ip_network

import pytest

from bgphealth.core.health import PathKey
from bgphealth.core.settings import Family, Mode
from bgphealth.core.truth import Leg
from bgphealth.fallback.gateways import Gateways, choose
from bgphealth.fallback.netlink import Interface, Route, Router
from bgphealth.fallback.tables import plan
from tests.support.hosts import host, unnumbered_host

ONE, TWO = IPv6Address("fe80::1"), IPv6Address("fe80::2")


def router(address: IPv6Address, *, reachable: bool = True) -> Router:
    return Router(7, address, reachable)


@pytest.mark.parametrize("known", [None, ONE, TWO])
def test_the_only_router_is_the_gateway(known: IPv6Address | None) -> None:
    assert choose("eth1", [router(ONE)], known) == ONE


def test_nobody_is_no_gateway() -> None:
    assert choose("eth1", [], None) == "no router was seen on eth1 yet"


@pytest.mark.parametrize("seen", [[], [router(ONE, reachable=False)]])
def test_the_known_one_stays_while_there_is_no_better(seen: list[Router]) -> None:
    assert choose("eth1", seen, ONE) == ONE


def test_one_that_answers_is_better_than_the_known_one_that_does_not() -> None:
    assert choose("eth1", [router(ONE, reachable=False), router(TWO)], ONE) == TWO


def test_one_that_answers_no_more_is_better_than_none() -> None:
    assert choose("eth1", [router(ONE, reachable=False)], None) == ONE


def test_of_two_that_answer_the_known_one_stays() -> None:
    assert choose("eth1", [router(ONE), router(TWO)], TWO) == TWO


@pytest.mark.parametrize("reachable", [True, False])
def test_two_are_too_many(reachable: bool) -> None:  # noqa: FBT001
    found = choose("eth1", [router(a, reachable=reachable) for a in (TWO, ONE)], None)
    assert found == "eth1 leads to 2 routers (fe80::1, fe80::2), not to one alone"


HELD = (ip_interface("10.255.11.1/32"), ip_interface("2001:db8:11:1::1/128"))


BOTH = tuple(PathKey("tor1", family) for family in Family)


def leading_to(gateway: IPv6Address) -> Gateways:
    return dict.fromkeys(BOTH, Leg("eth1", gateway))


def interfaces(*, up: bool = True) -> dict[str, Interface]:
    return {
        "lo": Interface(1, "lo", up=True, addresses=HELD),
        "eth1": Interface(7, "eth1", up=up, addresses=(ip_interface("fe80::5/64"),)),
    }


def test_both_defaults_go_to_the_link_local_address() -> None:
    found = plan(unnumbered_host(1), interfaces(), leading_to(ONE))
    assert found.absent == {}
    assert found.routes == {
        Route(17901, ip_network("0.0.0.0/0"), 7, ONE, HELD[0].ip, 1),
        Route(17901, ip_network("::/0"), 7, ONE, HELD[1].ip, 1),
        Route(17901, ip_network("fe80::/64"), 7, metric=1),
    }
    assert set(found.sources.values()) == {address.ip for address in HELD}


def test_without_a_gateway_there_are_rules_and_words() -> None:
    found = plan(unnumbered_host(1), interfaces(), dict.fromkeys(BOTH, "nobody was seen"))
    assert (found.routes, found.sources) == (frozenset(), {})
    assert {str(why) for why in found.absent.values()} == {"nobody was seen"}
    assert len(found.rules) == 2


def test_a_link_that_is_down_keeps_its_sources_and_has_no_routes() -> None:
    found = plan(unnumbered_host(1), interfaces(up=False), leading_to(ONE))
    assert (found.routes, len(found.sources)) == (frozenset(), 2)


@pytest.mark.parametrize(("interface", "is_there"), [("eth1", True), ("lo", False)])
def test_exabgp_needs_its_address_on_the_link(interface: str, is_there: bool) -> None:  # noqa: FBT001
    settings = host(1, mode=Mode.DIRECT)
    (uplink,) = settings.uplinks
    source = ip_interface("10.0.1.1/31")
    path = replace(uplink.paths[0], probe_source=source.ip)
    direct = replace(settings, uplinks=(replace(uplink, paths=(path,)),))
    here = {
        name: Interface(index, name, up=True, addresses=(source,) if name == interface else ())
        for index, name in enumerate(("lo", "eth1"), 1)
    }
    gateways = {PathKey("tor1", Family.IPV4): Leg("eth1", path.neighbor)}
    found = plan(direct, here, gateways)
    assert bool(found.sources) is is_there
    assert list(found.absent.values()) == (
        [] if is_there else ["10.0.1.1 is an address of this host, but not on eth1"]
    )


def test_numbered_links_keep_link_local_addresses_off_the_default_too() -> None:
    link = {"eth1": Interface(7, "eth1", up=True, addresses=(ip_interface("2001:db8:1::1/127"),))}
    gateways = {PathKey("tor1", Family.IPV6): Leg("eth1", ip_address("2001:db8:1::"))}
    found = plan(host(1, (Family.IPV6,)), link, gateways)
    assert str(found.sources[PathKey("tor1", Family.IPV6)]) == "2001:db8:1::1"
    assert {str(route.prefix) for route in found.routes} == {
        "2001:db8:1::/127",
        "fe80::/64",
        "::/0",
    }
