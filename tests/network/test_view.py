"""What is seen of the kernel is what ip(8) has put there."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from bgphealth.core.settings import Family
from bgphealth.fallback import view
from bgphealth.fallback.view import OtherRoute, OtherRule
from tests.support.hosts import host
from tests.support.neighbors import neighbors
from tests.support.netns import ip, isolated

pytestmark = pytest.mark.network

V4 = Family.IPV4
MAC = "02:00:00:00:00:01"
RULES = {
    "priority 1 from 10.0.1.0/24 lookup 50": OtherRule(1, 50, source=ip_network("10.0.1.0/24")),
    "priority 2 to 198.51.100.1 lookup 50": OtherRule(
        2, 50, destination=ip_network("198.51.100.1/32")
    ),
    "priority 3 iif lo lookup 5000": OtherRule(3, 5000, incoming="lo"),
    "priority 4 oif eth1 unreachable": OtherRule(4, None, outgoing="eth1"),
    "priority 5 fwmark 0x10/0xf0 lookup main": OtherRule(5, 254, mark=0x10, mask=0xF0),
    "priority 6 not fwmark 0xca6c lookup 51820": OtherRule(
        6, 51820, mark=0xCA6C, mask=0xFFFFFFFF, is_inverted=True
    ),
    "priority 7 uidrange 1-2 lookup main": OtherRule(7, 254, is_narrow=True),
    "priority 8 ipproto tcp dport 80 lookup main": OtherRule(8, 254, is_narrow=True),
    "priority 9 tos 0x10 lookup main": OtherRule(9, 254, is_narrow=True),
}
NO_DECISION = (
    "priority 20 lookup main suppress_prefixlength 0",
    "priority 21 goto 32766",
    "priority 22 oif eth1 lookup 17901 protocol 179",
)


@isolated
async def test_all_is_seen() -> None:
    settings = host()
    with neighbors(2):
        for rule in (*RULES, *NO_DECISION):
            ip("rule", "add", *rule.split())
        ip("route", "add", "203.0.113.0/24", "dev", "eth1", "table", "17901", "metric", "7")
        ip("route", "add", "unreachable", "default", "table", "17902", "proto", "static")
        ip("route", "add", "198.51.100.0/24", "dev", "eth2", "table", "17902", "proto", "179")
        ip("neigh", "replace", "10.0.1.0", "dev", "eth1", "nud", "failed")
        ip("neigh", "replace", "10.0.2.0", "dev", "eth2", "lladdr", MAC, "nud", "permanent")
        ip("link", "set", "eth2", "mtu", "1400")

        seen = await view.look(settings)

    local, default = OtherRule(0, 255), [OtherRule(32766, 254), OtherRule(32767, 253)]
    assert list(seen.other_rules[V4]) == [local, *RULES.values(), *default]
    assert {rule.table for rule in seen.own_rules} == {17901}
    of_tor1, of_tor2 = (seen.tables[f"tor{n}", V4] for n in (1, 2))
    assert of_tor1.others == (OtherRoute(17901, ip_network("203.0.113.0/24"), 7),)
    assert of_tor2.others == (OtherRoute(17902, ip_network("0.0.0.0/0"), 0, "unreachable"),)
    assert (len(of_tor1.ours), len(of_tor2.ours)) == (0, 1)
    by_name = {name: interface.index for name, interface in seen.interfaces.items()}
    assert seen.neighbors[by_name["eth1"], ip_address("10.0.1.0")] == "failed"
    assert seen.neighbors[by_name["eth2"], ip_address("10.0.2.0")] == "permanent"
    assert (seen.interfaces["eth1"].mtu, seen.interfaces["eth2"].mtu) == (1500, 1400)
    assert seen.chosen == {
        ("tor1", V4): ip_address("10.0.1.1"),
        ("tor2", V4): ip_address("10.0.2.1"),
    }
    assert {"ipv4/conf/eth1/rp_filter", "ipv6/fib_multipath_hash_policy"} <= set(seen.sysctls)


@isolated
async def test_a_host_without_its_interfaces_can_be_seen() -> None:
    settings = host(families=tuple(Family))
    seen = await view.look(settings)
    assert set(seen.interfaces) == {"lo"}
    assert seen.defaults == dict.fromkeys(Family, ())
    assert seen.chosen == {}
