"""Make the kernel forget which source it gave to connections that left through another uplink.

Source NAT is decided once, with a connection's first packet, and kept for its life in the table of
connections (conntrack). When another uplink is used, packets of old connections leave through the
new one with the old one's address, and no answer finds back. Once the entry is gone, the next
packet is one of a new connection.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Collection, Mapping, Set
from ipaddress import ip_address
from typing import Any, NamedTuple

from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple, NFCTSocket

from bgphealth.core.errors import BgphealthError
from bgphealth.core.fallback_order import Rank
from bgphealth.core.health import PathKey
from bgphealth.core.settings import Address, Family, Settings
from bgphealth.fallback.netlink import Interface
from bgphealth.fallback.refusals import mapped

_AF = {Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6}
_IPS_SRC_NAT = 0x10  # linux/netfilter/nf_conntrack_common.h
_DESTINATION = {Family.IPV4: "CTA_IP_V4_DST", Family.IPV6: "CTA_IP_V6_DST"}
_ICMP = (socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6)  # They have no ports.


class Flushed(NamedTuple):
    """How many connections behind some addresses were deleted, or in words why none could be."""

    addresses: frozenset[Address]
    outcome: int | str


class Flusher:
    """Deletes the connections of an uplink when it is in use no more, or has another address.

    Args:
        settings: the file.
        told: called with each outcome, must not block.
    """

    def __init__(self, settings: Settings, told: Callable[[Flushed], None]) -> None:
        self._interfaces = {uplink.name: uplink.interface for uplink in settings.uplinks}
        self._told = told
        self._used: dict[Family, frozenset[Address]] = {}
        self._left: asyncio.Queue[frozenset[Address]] = asyncio.Queue()

    def follow(self, before: Flusher) -> None:
        """Go on with what another one knew, and has not deleted yet."""
        self._used, self._left = before._used, before._left

    def look(self, ranks: Mapping[PathKey, Rank], interfaces: Mapping[str, Interface]) -> None:
        """See which addresses are in use now that the defaults are in this order."""
        used: dict[Family, set[Address]] = {}
        for path, rank in ranks.items():
            interface = interfaces.get(self._interfaces[path.uplink])
            if rank is Rank.CARRIES and interface is not None:
                addresses = {address.ip for address in interface.addresses}
                used.setdefault(path.family, set()).update(
                    address for address in addresses if Family.of(address) is path.family
                )
        for family, now in used.items():
            # What has no address at the moment may have the same one again.
            if now and (left := self._used.get(family, frozenset()) - now):
                self._left.put_nowait(left)
            self._used[family] = frozenset(now) or self._used.get(family, frozenset())

    async def run(self) -> None:
        """Delete them, until cancelled."""
        while True:
            addresses = await self._left.get()
            try:
                self._told(Flushed(addresses, await flush(addresses)))
            except BgphealthError as error:
                self._told(Flushed(addresses, str(error)))


async def flush(addresses: Collection[Address]) -> int:
    """Delete the connections to which source NAT gave one of these addresses; return how many.

    Others stay: whatever has its own source is right, or broken, by the routes and rules alone.

    Raises:
        HostError: the kernel has no such table, or does not tell.
        PermissionDeniedError: CAP_NET_ADMIN is missing.
    """
    # A large table takes long to read, and probes must not wait for it.
    return await asyncio.to_thread(_flush, frozenset(addresses))


def _flush(addresses: Set[Address]) -> int:
    otherwise = "set policy.flush_conntrack: false"
    with mapped("deleting NATed connections", otherwise=otherwise, unit="the unit"):
        return sum(_flush_family(f, addresses) for f in sorted({Family.of(a) for a in addresses}))


def _flush_family(family: Family, addresses: Set[Address]) -> int:
    deleted = 0
    with NFCTSocket(nfgen_family=_AF[family]) as conntrack:
        # A kernel before 5.15 shows all of them.
        shown = list(conntrack.dump(status=_IPS_SRC_NAT, status_mask=_IPS_SRC_NAT))
        for entry in (entry for entry in shown if _is_of(entry, family, addresses)):
            try:
                conntrack.entry(
                    "del", tuple_orig=_tuple(entry, family), zone=entry.get_attr("CTA_ZONE")
                )
            except NetlinkError as error:
                if error.code != errno.ENOENT:  # It has ended since.
                    raise
            else:
                deleted += 1
    return deleted


def _is_of(entry: Any, family: Family, addresses: Set[Address]) -> bool:  # noqa: ANN401 - pyroute2 is not typed
    """Return whether replies to a connection come to one of the addresses because of NAT."""
    reply = entry.get_attr("CTA_TUPLE_REPLY").get_attr("CTA_TUPLE_IP")
    is_nated = bool(entry.get_attr("CTA_STATUS") & _IPS_SRC_NAT)
    return is_nated and ip_address(reply.get_attr(_DESTINATION[family])) in addresses


def _tuple(entry: Any, family: Family) -> NFCTAttrTuple:  # noqa: ANN401 - pyroute2 is not typed
    """Return what identifies a connection."""
    original = entry.get_attr("CTA_TUPLE_ORIG")
    key = NFCTAttrTuple.from_netlink(_AF[family], original)
    if key.proto not in _ICMP:
        # pyroute2 knows the ports of TCP and UDP alone.
        protocol = original.get_attr("CTA_TUPLE_PROTO")
        key.sport = protocol.get_attr("CTA_PROTO_SRC_PORT")
        key.dport = protocol.get_attr("CTA_PROTO_DST_PORT")
    return key
