"""One routing table per uplink, and the rule that leads bound sockets into it.

With zebra's kernel nexthop objects, a look-up bound to eth2 does not fall through from the BGP
default on eth1 to a worse one on eth2: once the BGP default of an uplink is withdrawn, probes bound
to it would get no answer any more and the uplink would never recover. ``ip rule oif ethN lookup T``
with a default of its own in table T keeps every probe on its uplink, whatever BGP has done.

On an unnumbered link both defaults, IPv4 too, go to the ToR's link-local address (RFC 8950), with
the uplink's own probe address as their source.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from ipaddress import ip_network

from bgphealth.core.errors import BgphealthError, ConfigurationError, HostError
from bgphealth.core.health import PathKey
from bgphealth.core.settings import (
    Address,
    Family,
    Mode,
    Settings,
    UplinkPath,
    UplinkSettings,
    Wish,
)
from bgphealth.core.truth import Leg
from bgphealth.fallback.foreign import News
from bgphealth.fallback.gateways import Gateways
from bgphealth.fallback.netlink import Interface, Netlink, Route, Rule

_METRIC = 1
"""IPv6 has no metric 0: the kernel would make it 1024 and an exact delete would miss it."""

_LINK_LOCAL = ip_network("fe80::/64")  # What Linux puts on every link (RFC 4291, section 2.5.6).
_UNIQUE_LOCAL = ip_network("fc00::/7")


@dataclass(frozen=True, slots=True)
class Plan:
    """What the kernel should hold, and which source address each path probes from.

    `absent` says for each path without an entry in `sources` what is missing.
    """

    routes: frozenset[Route]
    rules: frozenset[Rule]
    sources: Mapping[PathKey, Address]
    absent: Mapping[PathKey, str]


def plan(settings: Settings, interfaces: Mapping[str, Interface], gateways: Gateways) -> Plan:
    """Return what the tables and rules should be on a host with these interfaces and gateways."""
    addresses = {a.ip for interface in interfaces.values() for a in interface.addresses}
    routes: set[Route] = set()
    rules: set[Rule] = set()
    sources: dict[PathKey, Address] = {}
    absent: dict[PathKey, str] = {}
    for uplink in settings.uplinks:
        table = settings.fallback.table + uplink.number
        interface = interfaces.get(uplink.interface)
        for path in uplink.paths:
            priority = settings.fallback.rule_priority + uplink.number
            rules.add(Rule(path.family, uplink.interface, table, priority))
            key = PathKey(uplink.name, path.family)
            leg = gateways[key]
            if isinstance(leg, str):
                absent[key] = leg
                continue
            source = _source(path, interface, leg, addresses)
            if settings.mode is Mode.DIRECT:
                source = _on_link(source, uplink, interface)
            if isinstance(source, str):
                absent[key] = source
                continue
            sources[key] = source
            if interface is not None and interface.up:
                routes |= _routes(table, path, interface, leg, source)
    return Plan(frozenset(routes), frozenset(rules), sources, absent)


def require_interfaces(settings: Settings, interfaces: Mapping[str, Interface]) -> None:
    """Raise `ConfigurationError` when the file names an interface that the host does not have."""
    wrong = [
        f"uplinks.{uplink.name}.interface: {uplink.interface} does not exist on this host"
        for uplink in settings.uplinks
        if uplink.interface not in interfaces
    ]
    if wrong:
        there = ", ".join(sorted(interfaces))
        raise ConfigurationError("\n".join([*wrong, f"interfaces of this host: {there}"]))


@dataclass(frozen=True, slots=True)
class Applied:
    """What was changed in the kernel, in words, and what could not be, per uplink.

    `unwritten` says which fallback defaults could not be written, and why, `unmet` the same of pins
    and policies: that is no reason not to probe the uplink. In local mode `beaten` says which are
    there and yet not used, and why, and `others` which of somebody else's defaults appeared or
    went. `present` are the paths whose fallback default is there.
    """

    done: tuple[str, ...]
    failed: Mapping[str, BgphealthError]
    unwritten: Mapping[PathKey, str] = field(default_factory=dict)
    unmet: Mapping[Wish, str] = field(default_factory=dict)
    beaten: Mapping[PathKey, str] = field(default_factory=dict)
    others: tuple[News, ...] = ()
    present: frozenset[PathKey] = frozenset()


async def apply(settings: Settings, wanted: Plan, netlink: Netlink) -> Applied:
    """Make the kernel's tables and rules equal to the plan, uplink by uplink.

    A table that holds routes that are not ours is left alone, and so is its uplink.
    """
    done: list[str] = []
    failed: dict[str, BgphealthError] = {}
    for uplink in settings.uplinks:
        table = settings.fallback.table + uplink.number
        try:
            for family in settings.families:
                routes = {r for r in wanted.routes if r.table == table and r.family is family}
                done += await _apply_table(table, family, routes, netlink)
        except BgphealthError as error:
            failed[uplink.name] = error
    for family in settings.families:
        try:
            rules = {rule for rule in wanted.rules if rule.family is family}
            done += await _apply_rules(family, rules, netlink)
        except BgphealthError as error:
            failed.update({uplink.name: error for uplink in settings.uplinks})
    return Applied(tuple(done), failed)


async def _apply_table(
    table: int, family: Family, wanted: Set[Route], netlink: Netlink
) -> list[str]:
    ours, foreign = await netlink.routes(table, family)
    if foreign:
        raise HostError(
            f"table {table} holds {foreign} {family} routes that are not ours; "
            "set fallback.table to a number with free tables behind it"
        )
    for route in ours - wanted:
        await netlink.delete_route(route)
    # The link's own subnet before the default, whose gateway is in it.
    for route in sorted(wanted - ours, key=lambda r: r.gateway is not None):
        await netlink.add_route(route)
    return [
        *(f"deleted {_in_words(route)}" for route in ours - wanted),
        *(f"added {_in_words(route)}" for route in wanted - ours),
    ]


async def _apply_rules(family: Family, wanted: Set[Rule], netlink: Netlink) -> list[str]:
    ours = await netlink.rules(family)
    # What a policy shall not do is forbidden last and allowed first; added before deleted, so that
    # nothing leaves another way meanwhile.
    new = sorted(wanted - ours, key=lambda rule: rule.priority)
    old = sorted(ours - wanted, key=lambda rule: -rule.priority)
    for rule in new:
        await netlink.add_rule(rule)
    for rule in old:
        await netlink.delete_rule(rule)
    return [
        *(f"deleted {family} rule {rule}" for rule in old),
        *(f"added {family} rule {rule}" for rule in new),
    ]


def _source(
    path: UplinkPath,
    interface: Interface | None,
    leg: Leg,
    addresses: Set[Address],
) -> Address | str:
    """Return the probe source of a path, or in words why there is none now."""
    if path.probe_source is not None:
        if path.probe_source in addresses:
            return path.probe_source
        return f"{path.probe_source} is not an address of this host"
    return link_address(path, interface, leg)


def link_address(path: UplinkPath, interface: Interface | None, leg: Leg) -> Address | str:
    """Return the address that a link has itself, or in words why there is none now.

    That is the one in the gateway's subnet. A gateway that was learned may be in none: link-local
    (IPv6), beside a /32, or none at all on a link with one other side.
    """
    if interface is None:
        return f"{leg.interface} does not exist"
    usable = [a for a in interface.addresses if a.ip not in _LINK_LOCAL]
    for address in usable:
        # The gateway of an IPv4 route can be an IPv6 address (RFC 8950).
        is_of_family = Family.of(address.ip) is path.family
        if is_of_family and leg.gateway is not None and leg.gateway in address.network:
            return address.ip
    if path.neighbor is not None:
        return f"{leg.interface} has no {path.family} address in the subnet of {path.neighbor}"
    of_family = [a.ip for a in usable if Family.of(a.ip) is path.family]
    # What is unique local (RFC 4193) gets no answer from the Internet.
    return next(
        iter(sorted(of_family, key=lambda address: address in _UNIQUE_LOCAL)),
        f"{leg.interface} has no {path.family} address that reaches beyond the link",
    )


def is_beside_link(path: UplinkPath, interface: Interface, leg: Leg) -> bool:
    """Return whether a learned gateway is in no subnet of the interface: it is on it all the same.

    Where hosts have /32 addresses, their routes have the flag for it (RTNH_F_ONLINK). What the file
    says is checked by the kernel.
    """
    gateway = leg.gateway
    if path.neighbor is not None or gateway is None or gateway in _LINK_LOCAL:
        return False
    return not any(gateway in address.network for address in interface.addresses)


def _on_link(
    source: Address | str, uplink: UplinkSettings, interface: Interface | None
) -> Address | str:
    """Return the source if the link has it: ExaBGP's session with the ToR ends there as well."""
    here = () if interface is None else interface.addresses
    if isinstance(source, str) or any(source == address.ip for address in here):
        return source
    return f"{source} is an address of this host, but not on {uplink.interface}"


def _routes(
    table: int, path: UplinkPath, interface: Interface, leg: Leg, source: Address
) -> set[Route]:
    gateway = leg.gateway
    subnets = {a.network for a in interface.addresses if gateway and gateway in a.network}
    if path.family is Family.IPV6:
        # The rule leads every socket of that device here, bgpd's too: what is sent to a link-local
        # address must not take the default, which would give it the probes' source.
        subnets.add(_LINK_LOCAL)
    on_link = {
        Route(table, subnet, interface.index, metric=_METRIC)
        for subnet in subnets
        if Family.of(subnet) is path.family
    }
    prefix, onlink = path.family.default_prefix, is_beside_link(path, interface, leg)
    default = Route(table, prefix, interface.index, gateway, source, _METRIC, onlink)
    return {*on_link, default}


def _in_words(route: Route) -> str:
    via = f" via {route.gateway}" if route.gateway is not None else ""
    return f"{route.prefix}{via} in table {route.table}"
