"""zebra and bgpd are not disturbed by a pin, and BGP's own route for its prefix is preferred.

As with a fallback default (F6), the metric of a pin has distance 254 in its top byte.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.network.facts.laboratory import FILE, HERE, IPV4, Family, Lab, each_family

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.network

PREFIX = {"ipv4": "203.0.113.0/24", "ipv6": "2001:db8:f00::/48"}
INSIDE = {"ipv4": "203.0.113.5", "ipv6": "2001:db8:f00::5"}
PINNED = {"ipv4": "10.255.10.9", "ipv6": "2001:db8:10::9"}


@contextmanager
def allowed(lab: Lab, family: Family) -> Iterator[None]:
    """Let the prefix through wherever the default may pass, as an operator would by hand."""
    line = f"{family.keyword} prefix-list bgphealth-default-{family} seq 10 permit"
    line = f"{line} {PREFIX[family.name]}"
    with lab.without((line,), afterwards=(f"no {line}",)):
        yield


@contextmanager
def pinned(lab: Lab, family: Family) -> Iterator[None]:
    source = PINNED[family.name]
    address = (f"{source}/{family.length}", "dev", "lo")
    lab.server("ip", "addr", "add", *address)
    program = (sys.executable, str(HERE / "write_pin.py"))
    lab.server(*program, FILE, PREFIX[family.name], source)
    try:
        yield
    finally:
        lab.server("ip", family.option, "route", "flush", "table", "main", "proto", "179")
        lab.server("ip", "addr", "del", *address)


def protocols(lab: Lab, family: Family) -> list[str]:
    """Return whose routes for the prefix the kernel has, the one that it uses first."""
    routes = lab.kernel("server1", family, PREFIX[family.name])
    return [r["protocol"] for r in sorted(routes, key=lambda route: route.get("metric", 0))]


def source(lab: Lab, family: Family) -> str:
    said = lab.leaves_with(family, INSIDE[family.name])
    return said.partition(" src ")[2].split()[0] if " src " in said else said


@each_family
def test_bgps_route_for_the_prefix_of_a_pin_is_preferred_and_its_default_stays(
    lab: Lab, family: Family
) -> None:
    prefix, drops = PREFIX[family.name], lab.injector_drops()
    announced = f"route {prefix} next-hop {family.tors[1]} path-information 0.0.0.9"
    with allowed(lab, family), pinned(lab, family):
        lab.eventually(
            "zebra has seen the pin, as the worst there is",
            lambda: [e.get("distance") for e in lab.zebra(family, prefix)] == [254, 254],
        )
        assert protocols(lab, family) == ["179", "179"]
        assert source(lab, family) == PINNED[family.name]
        lab.say(f"announce {announced} local-preference 100")
        lab.eventually(
            "BGP's route is there beside it",
            lambda: protocols(lab, family) == ["bgp", "179", "179"],
        )
        assert source(lab, family) == family.loopback
        lab.throughout(
            1.0,
            "nothing takes the one or the other away",
            lambda: (
                protocols(lab, family) == ["bgp", "179", "179"]
                and lab.default(family) == family.injected_default
            ),
        )
        lab.say(f"withdraw {announced}")
        lab.eventually("the pin serves", lambda: source(lab, family) == PINNED[family.name])
        assert lab.default(family) == family.injected_default, lab.evidence()
    lab.eventually("the pin is gone", lambda: lab.zebra(family, prefix) == [])
    assert lab.default(family) == family.injected_default, lab.evidence()
    assert lab.injector_drops() == drops


def test_a_pin_that_holds_a_next_hop_would_keep_a_dead_one_alive(lab: Lab) -> None:
    """Why such a pin is refused with the file: zebra resolves next hops with it."""
    family, next_hop = IPV4, "203.0.113.77"
    lost = f"route {family.default} next-hop {next_hop} path-information 0.0.0.9"
    lab.say(f"announce {lost} local-preference 200")
    try:
        lab.throughout(
            0.5, "nothing leads to it", lambda: lab.default(family) == family.injected_default
        )
        with pinned(lab, family):
            lab.eventually(
                "it is believed to be reachable",
                lambda: lab.default(family) != family.injected_default,
            )
    finally:
        lab.say(f"withdraw {lost}")
