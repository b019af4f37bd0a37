"""All that can be seen of the kernel's network, ours and others', for whoever explains it.

Nothing is written here.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from bgphealth.core.settings import Address, Family, Prefix, Settings
from bgphealth.core.truth import KernelDefault
from bgphealth.fallback import metrics
from bgphealth.fallback.gateways import Gateways, GatewaySearch
from bgphealth.fallback.netlink import PROTOCOL, Interface, Netlink, Route, Rule
from bgphealth.fallback.tables import Plan, plan

_AF = {Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6}
_SYSCTLS = Path("/proc/sys/net")
_OF_INTERFACE = (
    "accept_ra",
    "accept_ra_defrtr",
    "arp_announce",
    "arp_ignore",
    "forwarding",
    "ignore_routes_with_linkdown",
    "keep_addr_on_down",
    "rp_filter",
)
_DISCARD = 9  # RFC 863; a port is needed, and nobody is asked.
_UNICAST = 1
_TYPES = {6: "blackhole", 7: "unreachable", 8: "prohibit", 9: "throw"}
_FIB_RULE_INVERT = 0x2
_TO_TABLE = 1  # FR_ACT_TO_TBL
_DECIDES = {_TO_TABLE, 6, 7, 8}  # FR_ACT_BLACKHOLE, _UNREACHABLE, _PROHIBIT
_UNSET = 0xFFFFFFFF
_NUD = {
    0x00: "none",
    0x01: "incomplete",
    0x02: "reachable",
    0x04: "stale",
    0x08: "delay",
    0x10: "probe",
    0x20: "failed",
    0x40: "noarp",
    0x80: "permanent",
}
_NARROW = ("FRA_UID_RANGE", "FRA_IP_PROTO", "FRA_SPORT_RANGE", "FRA_DPORT_RANGE", "FRA_L3MDEV")
"""Selectors that a probe may or may not have: nobody knows."""


@dataclass(frozen=True, slots=True)
class OtherRoute:
    """A route of somebody else, or one of ours that has become something else.

    `kind` is empty for a unicast route, else ip(8)'s word for what happens to packets.
    """

    table: int
    prefix: Prefix
    metric: int
    kind: str = ""

    def __str__(self) -> str:
        """Return it as ip(8) takes it."""
        kind = f"{self.kind} " if self.kind else ""
        metric = f" metric {self.metric}" if self.metric else ""
        return f"{kind}{self.prefix} table {self.table}{metric}"


@dataclass(frozen=True, slots=True)
class OtherRule:
    """A rule of somebody else, for sockets like those of the probes; ip-rule(8).

    None stands for "any". `table` is None for a rule that forbids. `is_narrow`: it selects by more
    than what is here. `is_inverted`: it holds where its selectors do not match.
    """

    priority: int
    table: int | None
    source: Prefix | None = None
    destination: Prefix | None = None
    incoming: str | None = None
    outgoing: str | None = None
    mark: int = 0
    mask: int = 0
    is_inverted: bool = False
    is_narrow: bool = False

    def captures(self, source: Address, interface: str, destination: Address) -> bool:
        """Return whether it holds for what an unmarked socket of this host sends."""
        if self.is_narrow:
            return False
        matches = (
            (self.source is None or source in self.source)
            and (self.destination is None or destination in self.destination)
            and self.incoming in (None, "lo")
            and self.outgoing in (None, interface)
            and self.mark & self.mask == 0
        )
        return matches != self.is_inverted

    def __str__(self) -> str:
        """Return it in the words of ip(8)."""
        words = [f"{self.priority}:"]
        if self.is_inverted:
            words.append("not")
        words.append(f"from {self.source or 'all'}")
        if self.destination is not None:
            words.append(f"to {self.destination}")
        if self.mask:
            words.append(f"fwmark {self.mark:#x}/{self.mask:#x}")
        if self.incoming is not None:
            words.append(f"iif {self.incoming}")
        if self.outgoing is not None:
            words.append(f"oif {self.outgoing}")
        words.append("unreachable" if self.table is None else f"lookup {self.table}")
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class Table:
    """What one of our tables has: our routes, and those of others."""

    ours: frozenset[Route]
    others: tuple[OtherRoute, ...]


@dataclass(frozen=True, slots=True)
class View:
    """The kernel, and what the file wants of it.

    `tables` are by uplink and family, `neighbors` say the state (ip-neighbour(8)) of each address
    by the index of its interface. `chosen` are the addresses that the kernel would take on the way
    to each ToR, by uplink and family, where it can tell. `sysctls` are those below
    ``/proc/sys/net``, by their path. `plan` and `fallback` are what the file wants, were it allowed
    to write.
    """

    interfaces: Mapping[str, Interface]
    defaults: Mapping[Family, tuple[KernelDefault, ...]]
    neighbors: Mapping[tuple[int, Address], str]
    gateways: Gateways
    plan: Plan
    fallback: metrics.Defaults
    own_defaults: frozenset[Route]
    tables: Mapping[tuple[str, Family], Table]
    own_rules: frozenset[Rule]
    other_rules: Mapping[Family, tuple[OtherRule, ...]]
    chosen: Mapping[tuple[str, Family], Address]
    sysctls: Mapping[str, str]


async def look(settings: Settings) -> View:
    """Look at the kernel.

    Raises:
        HostError: the kernel does not tell.
    """
    async with Netlink() as netlink:
        interfaces = await netlink.interfaces()
        defaults = {f: tuple(await netlink.defaults(f)) for f in settings.families}
        gateways = await GatewaySearch(settings, ask=False).look(interfaces, netlink)
        ours = await metrics.own(netlink)
        fallback = metrics.plan(settings, interfaces, gateways, None, ours)
        if metrics.come_first(settings):
            fallback = metrics.ahead(fallback, defaults, interfaces)
        return View(
            interfaces=interfaces,
            defaults=defaults,
            neighbors=await _neighbors(netlink),
            gateways=gateways,
            plan=plan(settings, interfaces, gateways),
            fallback=fallback,
            own_defaults=frozenset(ours),
            tables={
                (uplink.name, path.family): await _table(
                    netlink, settings.fallback.table + uplink.number, path.family
                )
                for uplink in settings.uplinks
                for path in uplink.paths
            },
            own_rules=frozenset({r for f in settings.families for r in await netlink.rules(f)}),
            other_rules={f: await _other_rules(netlink, f) for f in settings.families},
            chosen=_chosen(settings),
            sysctls=_sysctls(settings),
        )


def sysctl(path: str) -> str | None:
    """Return a sysctl below ``net`` of this network namespace; None where the kernel has none."""
    try:
        return (_SYSCTLS / path).read_text(encoding="ascii").strip()
    except OSError:
        return None


def _sysctls(settings: Settings) -> dict[str, str]:
    """Return what is said of the uplinks and of all together."""
    names = ("all", *(uplink.interface for uplink in settings.uplinks))
    paths = [f"{family}/fib_multipath_hash_policy" for family in Family]
    paths += [f"{f}/conf/{name}/{key}" for f in Family for name in names for key in _OF_INTERFACE]
    return {path: text for path in paths if (text := sysctl(path)) is not None}


def _chosen(settings: Settings) -> dict[tuple[str, Family], Address]:
    """Ask the kernel by connecting sockets, over which nothing is sent."""
    found: dict[tuple[str, Family], Address] = {}
    for uplink in settings.uplinks:
        for path in uplink.paths:
            with socket.socket(_AF[path.family], socket.SOCK_DGRAM) as sock, suppress(OSError):
                sock.setsockopt(
                    socket.SOL_SOCKET, socket.SO_BINDTODEVICE, uplink.interface.encode()
                )
                if path.neighbor is not None:
                    sock.connect((str(path.neighbor), _DISCARD))
                    found[uplink.name, path.family] = ip_address(sock.getsockname()[0])
    return found


async def _neighbors(netlink: Netlink) -> dict[tuple[int, Address], str]:
    found: dict[tuple[int, Address], str] = {}
    for af in _AF.values():
        for message in await netlink.dump("the neighbors", "neigh", family=af):
            if (text := message.get_attr("NDA_DST")) is not None:
                state = _NUD.get(message["state"], str(message["state"]))
                found[message["ifindex"], ip_address(text)] = state
    return found


async def _table(netlink: Netlink, table: int, family: Family) -> Table:
    ours, _ = await netlink.routes(table, family)
    routes = await netlink.dump(f"table {table}", "route", family=_AF[family], table=table)
    others = (_other_route(m, table, family) for m in routes if m["proto"] != PROTOCOL)
    return Table(frozenset(ours), tuple(others))


async def _other_rules(netlink: Netlink, family: Family) -> tuple[OtherRule, ...]:
    """Return the rules that are not ours, the first one first."""
    rules = await netlink.dump("the rules", "rule", family=_AF[family])
    return tuple(
        _other_rule(message)
        for message in rules
        if message.get_attr("FRA_PROTOCOL") != PROTOCOL and _decides(message)
    )


def _other_route(message: Any, table: int, family: Family) -> OtherRoute:  # noqa: ANN401 - pyroute2 is not typed
    return OtherRoute(
        table,
        _prefix(message.get_attr("RTA_DST"), message["dst_len"]) or family.default_prefix,
        message.get_attr("RTA_PRIORITY") or 0,
        "" if message["type"] == _UNICAST else _TYPES.get(message["type"], str(message["type"])),
    )


def _decides(message: Any) -> bool:  # noqa: ANN401 - pyroute2 is not typed
    """Return whether a rule decides: those that jump, and those that skip defaults, do not."""
    skips = message.get_attr("FRA_SUPPRESS_PREFIXLEN")
    return message["action"] in _DECIDES and skips in (None, _UNSET)


def _other_rule(message: Any) -> OtherRule:  # noqa: ANN401 - pyroute2 is not typed
    looks_up = message["action"] == _TO_TABLE
    return OtherRule(
        priority=message.get_attr("FRA_PRIORITY") or 0,
        table=(message.get_attr("FRA_TABLE") or message["table"]) if looks_up else None,
        source=_prefix(message.get_attr("FRA_SRC"), message["src_len"]),
        destination=_prefix(message.get_attr("FRA_DST"), message["dst_len"]),
        incoming=message.get_attr("FRA_IIFNAME"),
        outgoing=message.get_attr("FRA_OIFNAME"),
        mark=message.get_attr("FRA_FWMARK") or 0,
        mask=message.get_attr("FRA_FWMASK") or 0,
        is_inverted=bool(message["flags"] & _FIB_RULE_INVERT),
        is_narrow=bool(message["tos"]) or any(message.get_attr(name) for name in _NARROW),
    )


def _prefix(address: str | None, length: int) -> Prefix | None:
    return None if address is None else ip_network(f"{address}/{length}")
