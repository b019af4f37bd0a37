"""Whose default counts, and how long what it said."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface

import pytest

from bgphealth.core.truth import OURS, KernelDefault, Leg
from bgphealth.fallback.learned import Learned, choose, holds
from bgphealth.fallback.netlink import Interface

ONE, TWO = (Leg("eth1", ip_address(f"10.0.1.{n}")) for n in (1, 2))
ELSEWHERE = Leg("eth2", ip_address("10.0.2.1"))
NOWHERE = Leg("eth1", None)


def default(metric: int, *legs: Leg, protocol: str = "dhcp") -> KernelDefault:
    return KernelDefault(protocol, metric, None, legs)


@pytest.mark.parametrize(
    ("defaults", "known", "expected"),
    [
        ([], None, None),
        ([], ONE, None),
        ([default(100, ONE)], TWO, ONE),
        ([default(100, ONE), default(50, TWO)], ONE, TWO),
        ([default(0, ELSEWHERE)], None, None),
        ([default(0, ONE, protocol=OURS)], None, None),
        ([default(1, ONE, protocol=OURS), default(700, TWO)], ONE, TWO),
        ([default(1024, ONE), default(1024, TWO)], None, ONE),
        ([default(1024, ONE), default(1024, TWO)], TWO, TWO),
        ([default(20, ELSEWHERE, TWO)], None, TWO),
        ([default(20, NOWHERE)], ONE, NOWHERE),
        ([KernelDefault("bgp", 20, None, None)], None, None),
        ([default(20)], None, None),
    ],
)
def test_the_best_default_of_somebody_else_counts(
    defaults: list[KernelDefault], known: Leg | None, expected: Leg | None
) -> None:
    assert choose("eth1", defaults, known) == expected


@pytest.mark.parametrize(
    ("leg", "address", "is_held"),
    [
        (ONE, "10.0.1.5/24", True),
        (ONE, "10.0.1.9/24", True),
        (ONE, "10.0.7.5/24", False),
        (ONE, "10.0.1.5/32", True),
        (ONE, "10.0.1.9/32", False),
        (NOWHERE, "10.0.1.5/32", True),
        (NOWHERE, "10.0.1.9/32", False),
        (Leg("eth1", ip_address("fe80::1")), "fe80::9/64", True),
    ],
)
def test_what_was_learned_holds_in_its_network(leg: Leg, address: str, *, is_held: bool) -> None:
    interface = Interface(7, "eth1", up=True, addresses=(ip_interface(address),))
    assert holds(Learned(leg, frozenset({ip_address("10.0.1.5")})), interface) is is_held
    assert not holds(Learned(leg, frozenset()), Interface(7, "eth1", up=True, addresses=()))
