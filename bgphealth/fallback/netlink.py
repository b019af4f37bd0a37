"""A thin edge over rtnetlink(7): plain data in and out, errors mapped in one place.

Everything that is written carries `PROTOCOL`, is created exclusively (NLM_F_EXCL) and deleted by
exact match: a route or a rule that we did not make is never replaced nor removed. The exception is
a route that is put before one with the same key, which stays as it is (`Netlink.put_first`).
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from ipaddress import (
    IPv4Interface,
    IPv6Address,
    IPv6Interface,
    ip_address,
    ip_interface,
    ip_network,
)
from types import TracebackType
from typing import Any, Self, TypeAlias

from pyroute2.iproute.linux import AsyncIPRoute, get_arguments_processor
from pyroute2.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_REQUEST
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nlsocket import NetlinkRequest
from pyroute2.netlink.rtnl import RTM_NEWROUTE
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from bgphealth.core.settings import Address, Family, Prefix
from bgphealth.core.truth import FRR_STATIC, OURS, KernelDefault, Leg
from bgphealth.fallback.refusals import mapped

PROTOCOL = 179
"""Our mark on routes and rules (rtm_protocol) and, since Linux 5.18, on addresses (IFA_PROTO).

Unassigned in rt_protos and rt_addrprotos, unknown to FRR.
"""

_AF = {Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6}
_IFF_UP = 0x1
_IFF_RUNNING = 0x40  # RFC 2863: operationally up.
_IFA_F_TEMPORARY_OR_DEPRECATED = 0x01 | 0x20  # RFC 8981, RFC 4862; in IPv4 0x01 is secondary.
_IFA_F_NODAD = 0x02
_IFA_F_TENTATIVE = 0x40  # RFC 4862: duplicate address detection has not ended.
MAIN = 254
"""The main table (RT_TABLE_MAIN)."""

BGP = 186
"""The mark of what zebra has of bgpd (RTPROT_BGP)."""

PROTOCOLS = {
    2: "kernel",
    3: "boot",
    4: "static",
    9: "ra",
    16: "dhcp",
    PROTOCOL: OURS,
    BGP: "bgp",
    196: FRR_STATIC,
}
_SCOPE_SITE, _SCOPE_LINK = 200, 253  # RT_SCOPE_SITE, RT_SCOPE_LINK
_NOT_ADD = "set address: expect for the service, and add it by other means"
_RTA_NH_ID = 30
_RTNH_F_DEAD_OR_LINKDOWN = 0x1 | 0x10
_RTNH_F_ONLINK = 0x4
NTF_ROUTER = 0x80
"""The flag IsRouter of a neighbor (RFC 4861, section 5.1)."""

_NUD_UNREACHABLE = 0x01 | 0x20  # Never resolved, or no answer any more (linux/neighbour.h).

InterfaceAddress: TypeAlias = IPv4Interface | IPv6Interface


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface; `up` means administratively and operationally (RFC 2863).

    `enabled` is administratively up alone: from then on the host takes what comes for its
    addresses. `ours` are those of its addresses that carry our mark. `mtu` is in bytes.
    """

    index: int
    name: str
    up: bool
    addresses: tuple[InterfaceAddress, ...]
    enabled: bool = True
    ours: frozenset[InterfaceAddress] = frozenset()
    mtu: int = 0


@dataclass(frozen=True, slots=True)
class Router:
    """A router on a link, by its link-local address; `is_reachable` as far as the kernel knows."""

    interface: int
    address: IPv6Address
    is_reachable: bool


@dataclass(frozen=True, slots=True)
class Route:
    """A unicast route in one table. `gateway` is None on the link; `metric` is its priority.

    The gateway of an IPv4 route can be an IPv6 address (RFC 8950, RTA_VIA). With `onlink` it need
    not be in any subnet of the interface.
    """

    table: int
    prefix: Prefix
    interface: int
    gateway: Address | None = None
    source: Address | None = None
    metric: int = 0
    onlink: bool = False

    @property
    def family(self) -> Family:
        """The address family of the prefix."""
        return Family.of(self.prefix)

    @property
    def is_first(self) -> bool:
        """Whether it is an IPv4 default that no metric is below, with a scope of its own.

        By that the kernel tells it from ours with a metric: a request to delete a route without
        metric is about any metric.
        """
        return self.prefix == Family.IPV4.default_prefix and self.metric == 0


@dataclass(frozen=True, slots=True)
class Rule:
    """``ip rule [from SOURCE] [oif INTERFACE] lookup TABLE``; without a table, ``unreachable``.

    `interface` is for sockets that are bound to it, "" for all. With `but_default` the default of
    the table is as if it were not there (``suppress_prefixlength 0``).
    """

    family: Family
    interface: str
    table: int | None
    priority: int
    source: Address | None = None
    but_default: bool = False

    def __str__(self) -> str:
        """Return the rule in the words of ip(8), without its priority."""
        words = [] if self.source is None else [f"from {self.source}"]
        words += [f"oif {self.interface}"] if self.interface else []
        table = "main" if self.table == MAIN else self.table
        words.append("unreachable" if table is None else f"lookup {table}")
        return " ".join([*words, *(["suppress_prefixlength 0"] if self.but_default else [])])


class Netlink:
    """An open rtnetlink socket. Use it as an asynchronous context manager."""

    def __init__(self) -> None:
        self._ipr = AsyncIPRoute(ext_ack=True, strict_check=True)

    async def __aenter__(self) -> Self:
        await self._ipr.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._ipr.__aexit__(kind, error, traceback)

    async def interfaces(self) -> dict[str, Interface]:
        """Return all interfaces by name, with the addresses that can be used already.

        Those that are temporary or deprecated come last.
        """
        with mapped("reading the interfaces"):
            addresses: dict[int, list[InterfaceAddress]] = {}
            last: dict[int, list[InterfaceAddress]] = {}
            ours: dict[int, set[InterfaceAddress]] = {}
            for af in _AF.values():
                async for message in await self._ipr.addr("dump", family=af):
                    flags = message.get_attr("IFA_FLAGS") or message["flags"]
                    if flags & _IFA_F_TENTATIVE or message["family"] != af:
                        continue
                    index, address = message["index"], _address(message)
                    place = last if flags & _IFA_F_TEMPORARY_OR_DEPRECATED else addresses
                    place.setdefault(index, []).append(address)
                    if message.get_attr("IFA_PROTO") == PROTOCOL:
                        ours.setdefault(index, set()).add(address)
            return {
                message.get_attr("IFLA_IFNAME"): Interface(
                    index=message["index"],
                    name=message.get_attr("IFLA_IFNAME"),
                    up=message["flags"] & (_IFF_UP | _IFF_RUNNING) == _IFF_UP | _IFF_RUNNING,
                    addresses=tuple(
                        addresses.get(message["index"], []) + last.get(message["index"], [])
                    ),
                    enabled=bool(message["flags"] & _IFF_UP),
                    ours=frozenset(ours.get(message["index"], ())),
                    mtu=message.get_attr("IFLA_MTU"),
                )
                async for message in await self._ipr.link("dump")
            }

    async def routes(self, table: int, family: Family) -> tuple[set[Route], int]:
        """Return our routes in one table, and the number of routes there that are not ours."""
        ours, foreign = set(), 0
        with mapped(f"reading table {table}"):
            try:
                async for message in await self._ipr.route("dump", family=_AF[family], table=table):
                    if message["family"] != _AF[family]:
                        continue  # A kernel without IPv6 tells of IPv4 instead.
                    if message["proto"] == PROTOCOL:
                        ours.add(_route(message, family))
                    else:
                        foreign += 1
            except NetlinkError as error:
                if error.code != errno.ENOENT:  # No such table: nothing was ever in it.
                    raise
        return ours, foreign

    async def defaults(self, family: Family) -> list[KernelDefault]:
        """Return the defaults in the main table, whoever made them."""
        return await self.routes_of(family.default_prefix)

    async def routes_of(self, prefix: Prefix) -> list[KernelDefault]:
        """Return the routes for exactly a prefix in the main table, whoever made them."""
        family, length = Family.of(prefix), prefix.prefixlen
        with mapped(f"reading the routes for {prefix}"):
            dump = await self._ipr.route("dump", family=_AF[family], table=MAIN)
            # One with a TOS is for such packets alone.
            alike = [m async for m in dump if m["dst_len"] == length and not m["tos"]]
            return [
                _default(message)
                for message in alike
                if message["family"] == _AF[family] and _prefix(message, family) == prefix
            ]

    async def own_in_main(self, family: Family) -> set[Route]:
        """Return our routes in the main table.

        One of several next hops is not among them: somebody has joined theirs to ours.
        """
        request = {"family": _AF[family], "table": MAIN, "proto": PROTOCOL}
        with mapped("reading our routes"):
            return {
                _route(message, family)
                async for message in await self._ipr.route("dump", **request)
                if message["family"] == _AF[family] and message.get_attr("RTA_MULTIPATH") is None
            }

    async def routers(self) -> list[Router]:
        """Return the routers on all links."""
        with mapped("reading the neighbors"):
            dump = await self._ipr.neigh("dump", family=socket.AF_INET6)
            return [r async for message in dump if (r := router_of(message)) is not None]

    async def rules(self, family: Family) -> set[Rule]:
        """Return our rules."""
        with mapped("reading the rules"):
            return {
                _rule(message, family)
                async for message in await self._ipr.rule("dump", family=_AF[family])
                if message.get_attr("FRA_PROTOCOL") == PROTOCOL
                # From a whole prefix is none that we make.
                and message["src_len"] in (0, family.default_prefix.max_prefixlen)
            }

    async def dump(self, what: str, kind: str, **request: object) -> list[Any]:
        """Return what the kernel has of a kind, whoever made it, as pyroute2 tells it.

        A table that does not exist has nothing.
        """
        with mapped(f"reading {what}", gone=errno.ENOENT):
            return [message async for message in await getattr(self._ipr, kind)("dump", **request)]
        return []

    async def add_route(self, route: Route) -> None:
        """Create a route; one with its key that is not ours is an error, never overwritten."""
        with mapped(f"adding {route.prefix} to table {route.table}"):
            await self._ipr.route("add", **_route_request(route))

    async def put_first(self, route: Route) -> None:
        """Create a route before those with its key, all of which stay: ``ip route prepend``.

        Exactly this one twice is an error.
        """
        with mapped(f"putting {route.prefix} first in table {route.table}"):
            flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE
            request = {**_route_request(route), "type": "unicast"}
            arguments = get_arguments_processor("route", "add", request, {"strict_check": True})
            asked = NetlinkRequest(
                self._ipr,
                rtmsg(),
                request_filter=arguments,
                msg_type=RTM_NEWROUTE,
                msg_flags=flags,
            )
            await asked.send()
            async for _ in asked.response():
                pass

    async def delete_route(self, route: Route) -> None:
        """Delete exactly this route; one that is gone already is no error."""
        with mapped(f"deleting {route.prefix} from table {route.table}", gone=errno.ESRCH):
            await self._ipr.route("del", **_route_request(route))

    async def add_address(self, address: Address, interface: int) -> bool:
        """Create an address as a host prefix; return False for one that is there already."""
        with mapped(f"adding {address}", otherwise=_NOT_ADD, gone=errno.EEXIST):
            await self._ipr.addr("add", **_address_request(address, interface))
            return True
        return False

    async def delete_address(self, address: Address, interface: int) -> None:
        """Delete exactly this address; one that is gone already is no error."""
        with mapped(f"deleting {address}", otherwise=_NOT_ADD, gone=errno.EADDRNOTAVAIL):
            await self._ipr.addr("del", **_address_request(address, interface))

    async def add_rule(self, rule: Rule) -> None:
        """Create a rule."""
        with mapped(f"adding the rule {rule}"):
            await self._ipr.rule("add", **_rule_request(rule))

    async def delete_rule(self, rule: Rule) -> None:
        """Delete exactly this rule; one that is gone already is no error."""
        with mapped(f"deleting the rule {rule}", gone=errno.ENOENT):
            await self._ipr.rule("del", **_rule_request(rule))


def router_of(message: Any) -> Router | None:  # noqa: ANN401 - pyroute2 is not typed
    """Return the router that a neighbor is, or None when it is none."""
    text = message.get_attr("NDA_DST")
    if message["family"] != socket.AF_INET6 or not message["flags"] & NTF_ROUTER or text is None:
        return None
    address = IPv6Address(text)
    if not address.is_link_local:
        return None
    return Router(message["ifindex"], address, not message["state"] & _NUD_UNREACHABLE)


def _address(message: Any) -> InterfaceAddress:  # noqa: ANN401 - pyroute2 is not typed
    # On a point-to-point link IFA_ADDRESS is the other side's.
    address = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    return ip_interface(f"{address}/{message['prefixlen']}")


def _prefix(message: Any, family: Family) -> Prefix:  # noqa: ANN401 - pyroute2 is not typed
    anywhere = family.default_prefix.network_address
    return ip_network(f"{message.get_attr('RTA_DST') or anywhere}/{message['dst_len']}")


def _route(message: Any, family: Family) -> Route:  # noqa: ANN401 - pyroute2 is not typed
    gateway, source = message.get_attr("RTA_GATEWAY"), message.get_attr("RTA_PREFSRC")
    if (via := message.get_attr("RTA_VIA")) is not None:
        gateway = via["addr"]
    return Route(
        table=message.get_attr("RTA_TABLE") or message["table"],
        prefix=_prefix(message, family),
        interface=message.get_attr("RTA_OIF") or 0,
        gateway=ip_address(gateway) if gateway else None,
        source=ip_address(source) if source else None,
        metric=message.get_attr("RTA_PRIORITY") or 0,
        onlink=bool(message["flags"] & _RTNH_F_ONLINK),
    )


def _default(message: Any) -> KernelDefault:  # noqa: ANN401 - pyroute2 is not typed
    source, protocol = message.get_attr("RTA_PREFSRC"), message["proto"]
    hops = message.get_attr("RTA_MULTIPATH")
    if hops is None and message.get_attr("RTA_OIF") is not None:
        hops = [message]
    # With net.ipv4.nexthop_compat_mode=0 there is the number of a nexthop object and no more.
    numbered = any(
        value["header"]["type"] == _RTA_NH_ID
        for name, value in message["attrs"]
        if name == "UNKNOWN"
    )
    legs = (leg_of(hop) for hop in hops or () if not hop["flags"] & _RTNH_F_DEAD_OR_LINKDOWN)
    return KernelDefault(
        protocol=PROTOCOLS.get(protocol, str(protocol)),
        metric=message.get_attr("RTA_PRIORITY") or 0,
        source=ip_address(source) if source else None,
        legs=None if hops is None and numbered else tuple(legs),
    )


def leg_of(hop: Any) -> Leg:  # noqa: ANN401 - pyroute2 is not typed
    """Return where a route goes, or one of its several next hops."""
    # A route with one next hop has its interface in an attribute, one of several in its header.
    index = hop["oif"] if "oif" in hop else hop.get_attr("RTA_OIF")
    gateway, via = hop.get_attr("RTA_GATEWAY"), hop.get_attr("RTA_VIA")
    if via is not None:
        gateway = via["addr"]
    return Leg(_name(index), ip_address(gateway) if gateway else None)


def _name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:  # It went away since.
        return f"interface {index}"


def _address_request(address: Address, interface: int) -> dict[str, Any]:
    # "add" is NLM_F_CREATE | NLM_F_EXCL.
    return {
        "family": _AF[Family.of(address)],
        "index": interface,
        "address": str(address),
        "prefixlen": address.max_prefixlen,
        "proto": PROTOCOL,
        # No link has a duplicate of what is on lo. Without it the kernel still marks an IPv6
        # address as tentative, until a worker of its own has had its turn.
        "flags": _IFA_F_NODAD,
    }


def _route_request(route: Route) -> dict[str, Any]:
    request: dict[str, Any] = {
        "family": _AF[route.family],
        "dst": str(route.prefix),
        "table": route.table,
        "proto": PROTOCOL,
        "oif": route.interface,
        "priority": route.metric,
    }
    if route.gateway is not None and Family.of(route.gateway) is not route.family:
        request["via"] = {"family": socket.AF_INET6, "addr": str(route.gateway)}
    elif route.gateway is not None:
        request["gateway"] = str(route.gateway)
    elif route.family is Family.IPV4:
        request["scope"] = _SCOPE_LINK
    if route.is_first:
        request["scope"] = _SCOPE_SITE
    if route.onlink:
        request["flags"] = _RTNH_F_ONLINK
    if route.source is not None:
        request["prefsrc"] = str(route.source)
    return request


def _rule(message: Any, family: Family) -> Rule:  # noqa: ANN401 - pyroute2 is not typed
    source = message.get_attr("FRA_SRC")
    return Rule(
        family,
        message.get_attr("FRA_OIFNAME") or "",
        # An unreachable one has the number 0.
        message.get_attr("FRA_TABLE") or message["table"] or None,
        message.get_attr("FRA_PRIORITY") or 0,
        ip_address(source) if source else None,
        message.get_attr("FRA_SUPPRESS_PREFIXLEN") == 0,
    )


def _rule_request(rule: Rule) -> dict[str, Any]:
    request: dict[str, Any] = {
        "family": _AF[rule.family],
        "priority": rule.priority,
        "protocol": PROTOCOL,
    }
    if rule.table is None:
        request["action"] = "unreachable"
    else:
        request["table"] = rule.table
    if rule.interface:
        request["oifname"] = rule.interface
    if rule.source is not None:
        request["src"], request["src_len"] = str(rule.source), rule.source.max_prefixlen
    if rule.but_default:
        request["suppress_prefixlen"] = 0
    return request
