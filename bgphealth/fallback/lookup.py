"""Ask the kernel for the way to a destination, and all that explains its answer. Writes nothing.

RTM_GETROUTE answers one question as `ip route get` does. A socket asks two (`bgphealth.core.lookup`
says how), so that both are asked here. The rule that was hit the kernel does not say; what it takes
to find it is read as well.
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

from pyroute2.iproute.linux import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from bgphealth.core.errors import BgphealthError, HostError
from bgphealth.core.lookup import (
    UNIVERSE,
    Held,
    Hop,
    Kind,
    Looked,
    Matched,
    Question,
    Refused,
    Reply,
    Taken,
)
from bgphealth.core.lookup_rules import Action, Rule
from bgphealth.core.settings import Family, Prefix
from bgphealth.core.source_choice import Way, choose, offers
from bgphealth.fallback.defaults import is_local
from bgphealth.fallback.netlink import PROTOCOLS, leg_of
from bgphealth.fallback.refusals import mapped

_LOOKUP_TABLE, _FIB_MATCH = 0x1000, 0x2000  # RTM_F_*: the table, and the route as it is there.
_KINDS = {
    1: Kind.UNICAST,
    2: Kind.LOCAL,
    3: Kind.BROADCAST,
    4: Kind.ANYCAST,
    5: Kind.MULTICAST,
    6: Kind.BLACKHOLE,
    7: Kind.UNREACHABLE,
    8: Kind.PROHIBIT,
    9: Kind.THROW,
}
_REFUSING = (6, 7, 8, 9)
_ACTIONS = {
    1: Action.LOOKUP,
    2: Action.GOTO,
    3: Action.NOP,
    6: Action.BLACKHOLE,
    7: Action.UNREACHABLE,
    8: Action.PROHIBIT,
}
_INVERT, _FIND_SOURCE = 0x2, 0x10000  # FIB_RULE_*
_NONE = 0xFFFF_FFFF
_NOT_SAID = {
    "FRA_UID_RANGE": "uidrange",
    "FRA_IP_PROTO": "ipproto",
    "FRA_SPORT_RANGE": "sport",
    "FRA_DPORT_RANGE": "dport",
    "FRA_TUN_ID": "tun_id",
    "FRA_L3MDEV": "l3mdev",
}
"""Selectors that a question says nothing of."""

_NOT_KNOWN = {25: "dscp", 26: "flowlabel"}
"""More of them, by the number of the attribute, that pyroute2 does not know."""

_IFA_F_SECONDARY, _IFA_F_OPTIMISTIC, _IFA_F_DEPRECATED, _IFA_F_TENTATIVE = 0x01, 0x04, 0x20, 0x40
_IFA_F_TEMPORARY = _IFA_F_SECONDARY  # In IPv6 the same bit.
_RTNH_F_DEAD, _RTNH_F_LINKDOWN = 0x1, 0x10
_RTA_NH_ID = 30
_SYSCTLS = Path("/proc/sys/net")
_STRICT = 1  # RFC 3704 strict reverse path, in the kernel's ip-sysctl.


class NoSuchInterfaceError(BgphealthError):
    """The question names an interface that is not there; the message says which are."""


async def look_up(question: Question) -> Looked:
    """Ask one question.

    Raises:
        NoSuchInterfaceError: the question names one that is not there.
        HostError: the kernel does not tell.
    """
    async with AsyncIPRoute(ext_ack=True, strict_check=True) as ipr:
        return await _Lookup(ipr).look_up(question)


class _Lookup:
    def __init__(self, ipr: AsyncIPRoute) -> None:
        self._ipr = ipr

    async def look_up(self, question: Question) -> Looked:
        with mapped("reading the addresses"):
            names = {
                message["index"]: message.get_attr("IFLA_IFNAME")
                async for message in await self._ipr.link("dump")
            }
            addresses = await self._addresses(question.family, names)
        if question.interface is not None and question.interface not in names.values():
            known = ", ".join(sorted(names.values()))
            raise NoSuchInterfaceError(
                f"{question.interface} does not exist on this host; interfaces: {known}"
            )
        with mapped("reading the rules"):
            dump = await self._ipr.rule("dump", family=_af(question))
            rules = tuple([_rule(message) async for message in dump])
        here = _is_here(question, addresses)
        looked = Looked(
            question,
            # Over netlink IPv6 takes any source.
            await self._bound(question) if here else Refused(errno.EADDRNOTAVAIL),
            addresses=addresses,
            rules=rules,
            hash_policy=_sysctl(question.family, "fib_multipath_hash_policy"),
            strict_reverse_path=_strict(names.values()),
        )
        looked = await self._again(looked)
        if isinstance(looked.reply, Refused):
            looked = replace(looked, refusing=await self._refusing(question, rules))
        return looked

    async def _again(self, looked: Looked) -> Looked:
        """Ask a second time, with each source that a socket may have by then."""
        question, first = looked.question, looked.first
        if isinstance(first, Taken):
            looked = replace(looked, offered=offers(looked.addresses, question, first))
        if question.source is not None:
            return looked
        if isinstance(first, Taken):
            found = [first.source, *(choice.source for choice in looked.offered)]
        elif question.family is Family.IPV6:
            nowhere = Way(question.destination, question.interface, None, UNIVERSE)
            choice = choose(looked.addresses, nowhere)
            found = [choice.held.address.ip if choice else None]
        else:
            found = []
        sources = tuple(dict.fromkeys(source for source in found if source is not None))
        seconds = [await self._bound(replace(question, source=each)) for each in sources]
        return replace(looked, sources=sources, seconds=tuple(seconds))

    async def _bound(self, question: Question) -> Reply:
        """Return what a socket gets that is bound to all that the question says."""
        reply = await self._ask(question)
        if question.family is Family.IPV4 or None in (question.source, question.interface):
            return reply
        # An IPv6 socket that is bound to a device never leaves by another one, and no route that
        # refuses is on its device. Over netlink the kernel is as strict only without a source.
        # The device of a local route is that of the address, whatever the answer says.
        matched = reply.matched if isinstance(reply, Taken) else None
        if isinstance(reply, Taken) and matched is not None and matched.used_by(question):
            if matched.kind is Kind.UNICAST and reply.leg.interface != question.interface:
                # The hash gave another next hop than the one on the device.
                return replace(reply, leg=matched.used_by(question)[0].leg)
            return reply
        return await self._ask(replace(question, source=None))

    async def _ask(self, question: Question) -> Reply:
        """Return the kernel's answer to one question."""
        try:
            answer = await self._get(question, match=False)
        except NetlinkError as error:
            if error.code in (errno.EPERM, errno.EINTR, errno.ENOMEM, errno.ENOBUFS):
                raise HostError(f"asking for a route: {error.args[-1]}") from error
            return Refused(error.code)
        source = answer.get_attr("RTA_PREFSRC")
        try:
            matched = _matched(await self._get(question, match=True))
        except NetlinkError:
            matched = None
        return Taken(leg_of(answer), ip_address(source) if source else None, matched)

    async def _get(self, question: Question, *, match: bool) -> Any:  # noqa: ANN401 - pyroute2 is not typed
        request: dict[str, Any] = {
            "family": _af(question),
            "dst": str(question.destination),
            "dst_len": question.destination.max_prefixlen,
            # IPv6 always tells the table, and knows no flag to ask for it.
            "flags": (_FIB_MATCH if match else 0)
            | (_LOOKUP_TABLE if question.family is Family.IPV4 else 0),
        }
        if question.source is not None:
            request |= {"src": str(question.source), "src_len": question.source.max_prefixlen}
        if question.interface is not None:
            request["oif"] = socket.if_nametoindex(question.interface)
        if question.mark:
            request["mark"] = question.mark
        (message,) = await self._ipr.route("get", **request)
        return message

    async def _addresses(self, family: Family, names: dict[int, str]) -> tuple[Held, ...]:
        af = socket.AF_INET if family is Family.IPV4 else socket.AF_INET6
        dump = await self._ipr.addr("dump", family=af)
        return tuple([_held(message, family, names) async for message in dump])

    async def _refusing(self, question: Question, rules: Iterable[Rule]) -> tuple[Matched, ...]:
        """Return the routes that refuse or throw, of the tables that rules lead to.

        A table may be as large as the Internet: it is the kernel that looks for these.
        """
        found: list[Matched] = []
        with mapped("reading the routes"):
            for table in sorted({rule.table for rule in rules if rule.action is Action.LOOKUP}):
                for kind in _REFUSING:
                    request = {"family": _af(question), "table": table, "type": kind}
                    try:
                        dump = await self._ipr.route("dump", **request)
                        found += [_matched(m) async for m in dump if m["type"] == kind]
                    except NetlinkError as error:
                        if error.code != errno.ENOENT:  # No such table: nothing was ever in it.
                            raise
        return tuple(found)


def _matched(message: Any) -> Matched:  # noqa: ANN401 - pyroute2 is not typed
    source, protocol = message.get_attr("RTA_PREFSRC"), message["proto"]
    anywhere = "0.0.0.0" if message["family"] == socket.AF_INET else "::"  # noqa: S104 - a prefix
    hops = message.get_attr("RTA_MULTIPATH")
    if hops is None:
        hops = [message] if message.get_attr("RTA_OIF") is not None else []
    numbered = (
        int.from_bytes(value.data[value.offset + 4 : value.offset + 8], sys.byteorder)
        for name, value in message["attrs"]
        if name == "UNKNOWN" and value["header"]["type"] == _RTA_NH_ID
    )
    return Matched(
        table=message.get_attr("RTA_TABLE") or message["table"],
        prefix=ip_network(f"{message.get_attr('RTA_DST') or anywhere}/{message['dst_len']}"),
        kind=_KINDS.get(message["type"], Kind.UNICAST),
        protocol=PROTOCOLS.get(protocol, str(protocol)),
        metric=message.get_attr("RTA_PRIORITY") or 0,
        scope=message["scope"],
        source=ip_address(source) if source else None,
        hops=tuple(_hop(hop) for hop in hops),
        nexthop_id=next(numbered, None),
    )


def _hop(hop: Any) -> Hop:  # noqa: ANN401 - pyroute2 is not typed
    flags = hop["flags"]
    return Hop(
        leg_of(hop),
        weight=hop["hops"] + 1 if "hops" in hop else 1,
        is_used=not flags & _RTNH_F_DEAD,
        has_carrier=not flags & _RTNH_F_LINKDOWN,
    )


def _held(message: Any, family: Family, names: dict[int, str]) -> Held:  # noqa: ANN401 - pyroute2 is not typed
    flags = message.get_attr("IFA_FLAGS") or message["flags"]
    name = names.get(message["index"], f"interface {message['index']}")
    address = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    is_v6 = family is Family.IPV6
    return Held(
        ip_interface(f"{address}/{message['prefixlen']}"),
        name,
        scope=message["scope"],
        is_secondary=not is_v6 and bool(flags & _IFA_F_SECONDARY),
        is_tentative=flags & (_IFA_F_TENTATIVE | _IFA_F_OPTIMISTIC) == _IFA_F_TENTATIVE,
        is_deprecated=bool(flags & _IFA_F_DEPRECATED),
        is_temporary=is_v6 and bool(flags & _IFA_F_TEMPORARY),
        prefers_temporary=is_v6 and (_sysctl("ipv6", "conf", name, "use_tempaddr") or 0) > 1,
        has_only_own=is_v6 and _sysctl("ipv6", "conf", name, "use_oif_addrs_only") == 1,
    )


def _rule(message: Any) -> Rule:  # noqa: ANN401 - pyroute2 is not typed
    suppress = message.get_attr("FRA_SUPPRESS_PREFIXLEN")
    mark, mask = message.get_attr("FRA_FWMARK") or 0, message.get_attr("FRA_FWMASK")
    others = [
        f"{word} {_value(value)}"
        for name, word in _NOT_SAID.items()
        if (value := message.get_attr(name))
    ]
    others += [
        _NOT_KNOWN[value["header"]["type"]]
        for name, value in message["attrs"]
        if name == "UNKNOWN" and value["header"]["type"] in _NOT_KNOWN
    ]
    if message["tos"]:
        others.append(f"tos {message['tos']:#x}")
    if message.get_attr("FRA_SUPPRESS_IFGROUP") not in (None, _NONE):
        others.append("suppress_ifgroup")
    if message["flags"] & _FIND_SOURCE:
        others.append("find_saddr")
    return Rule(
        priority=message.get_attr("FRA_PRIORITY") or 0,
        action=_ACTIONS.get(message["action"], Action.NOP),
        table=message.get_attr("FRA_TABLE") or message["table"],
        target=message.get_attr("FRA_GOTO"),
        source=_selector(message, "FRA_SRC", "src_len"),
        destination=_selector(message, "FRA_DST", "dst_len"),
        interface=message.get_attr("FRA_OIFNAME"),
        incoming=message.get_attr("FRA_IIFNAME"),
        mark=mark,
        mask=mask if mask is not None else (_NONE if mark else 0),
        is_inverted=bool(message["flags"] & _INVERT),
        suppress=None if suppress in (None, _NONE) else suppress,
        others=tuple(others),
    )


def _value(value: object) -> str:
    """Return what a selector selects as ip(8) prints it: ``443``, ``10-20``."""
    first, _, last = str(value).partition(":")
    return first if last in ("", first) else f"{first}-{last}"


def _selector(message: Any, name: str, length: str) -> Prefix | None:  # noqa: ANN401 - pyroute2 is not typed
    address = message.get_attr(name)
    return ip_network(f"{address}/{message[length]}") if address else None


def _is_here(question: Question, addresses: Iterable[Held]) -> bool:
    """Return whether a program can bind to the source, as far as there is one."""
    return (
        question.source is None
        or any(h.address.ip == question.source and not h.is_tentative for h in addresses)
        # A whole prefix may be local, or binding to anything allowed.
        or is_local(question.source)
    )


def _af(question: Question) -> int:
    return socket.AF_INET if question.family is Family.IPV4 else socket.AF_INET6


def _strict(names: Iterable[str]) -> frozenset[str]:
    """Return the interfaces with a strict filter: the larger of "all" and its own counts."""
    everywhere = _sysctl("ipv4", "conf", "all", "rp_filter") or 0
    return frozenset(
        name
        for name in names
        if max(everywhere, _sysctl("ipv4", "conf", name, "rp_filter") or 0) == _STRICT
    )


def _sysctl(*names: str) -> int | None:
    """Return a number below ``net``; None where there is none."""
    try:
        return int(_SYSCTLS.joinpath(*names).read_text())
    except (OSError, ValueError):
        return None
