"""A host on which the doctor finds nothing, as plain data."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_interface
from typing import Any

from bgphealth.core.health import PathKey
from bgphealth.core.settings import Family, Settings
from bgphealth.core.truth import KernelDefault, Leg
from bgphealth.fallback import metrics
from bgphealth.fallback.netlink import Interface
from bgphealth.fallback.tables import plan
from bgphealth.fallback.view import OtherRule, Table, View
from tests.support import hosts

V4, V6 = Family.IPV4, Family.IPV6
SETTINGS = replace(
    hosts.host(families=(V4, V6)),
    fallback=replace(hosts.host().fallback, defaults=True),
)
DEFAULT = KernelDefault(
    "bgp",
    20,
    ip_address("10.255.10.1"),
    (Leg("eth1", ip_address("10.0.1.0")), Leg("eth2", ip_address("10.0.2.0"))),
)
RIGHT = {
    "all/rp_filter": "0",
    "all/arp_ignore": "1",
    "all/arp_announce": "2",
    "all/keep_addr_on_down": "1",
}


def interface(number: int, *given: str, **other: Any) -> Interface:  # noqa: ANN401 - any field
    shown = tuple(ip_interface(address) for address in given)
    return Interface(number, f"eth{number}", addresses=shown, **{"up": True, "mtu": 1500, **other})


def healthy(settings: Settings = SETTINGS, **interfaces: Interface) -> View:
    """Return a host on which nothing is wrong, but for interfaces that are given."""
    there = {
        f"eth{n}": interface(n, f"10.0.{n}.1/31", f"2001:db8:{n}::1/127") for n in (1, 2)
    } | interfaces
    lo = [a for service in settings.services for a in service.addresses]
    there["lo"] = Interface(9, "lo", up=True, addresses=tuple(ip_interface(a) for a in lo))
    gateways = {
        PathKey(u.name, p.family): Leg(u.interface, p.neighbor)
        for u in settings.uplinks
        for p in u.paths
    }
    wanted = plan(settings, there, gateways)
    fallback = metrics.plan(settings, there, gateways, {}, set())
    values = {"forwarding": 0, "ignore_routes_with_linkdown": 1, "accept_ra": 0, "rp_filter": 0}
    conf = {f"eth{n}/{key}": str(value) for n in (1, 2) for key, value in values.items()}
    return View(
        interfaces=there,
        defaults={V4: (DEFAULT,), V6: (replace(DEFAULT, source=ip_address("2001:db8:10::1")),)},
        neighbors={(1, IPv4Address("10.0.1.0")): "reachable"},
        gateways=gateways,
        plan=wanted,
        fallback=fallback,
        own_defaults=frozenset(fallback.wanted.values()),
        tables={
            (u.name, p.family): Table(
                frozenset(
                    r
                    for r in wanted.routes
                    if (r.table, r.family) == (settings.fallback.table + u.number, p.family)
                ),
                (),
            )
            for u in settings.uplinks
            for p in u.paths
        },
        own_rules=wanted.rules,
        other_rules={f: (OtherRule(0, 255), OtherRule(32766, 254)) for f in Family},
        chosen={},
        sysctls={
            **{f"{f}/conf/{path}": value for f in Family for path, value in (conf | RIGHT).items()},
            **{f"{family}/fib_multipath_hash_policy": "1" for family in Family},
        },
    )
