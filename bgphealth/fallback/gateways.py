"""Which router is at the other end of an unnumbered link.

Nobody writes down its link-local address. The kernel learns it, from router advertisements
(RFC 4861, section 6.3.4), and marks the neighbor as a router, whether or not the interface takes
anything else from them (``accept_ra``). Until there is one, the routers are asked.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address

from bgphealth.core.settings import Address, Settings
from bgphealth.fallback.netlink import Interface, Netlink, Router

SOLICIT_S = 4.0
"""RTR_SOLICITATION_INTERVAL (RFC 4861, section 10): the least time between two of them."""

_ALL_ROUTERS = "ff02::2"
_HOP_LIMIT = 255  # Anything less, and it is dropped: it might have come through a router.
_SOLICITATION = struct.pack("!BBHI", 133, 0, 0, 0)
"""RFC 4861, section 4.1; the kernel fills in the checksum (RFC 3542, section 3.1)."""

Gateways = Mapping[str, Address | str]
"""By uplink: the gateway of an unnumbered link, or in words why none is known."""


class GatewaySearch:
    """Finds the gateways of a file's unnumbered uplinks, and remembers them.

    Args:
        settings: the file.
        ask: whether routers may be asked; without it, it is only looked and listened.
    """

    def __init__(self, settings: Settings, *, ask: bool = True) -> None:
        self._uplinks = [uplink for uplink in settings.uplinks if uplink.is_unnumbered]
        self._ask = ask
        self._known: dict[str, IPv6Address] = {}
        self._asked_at: dict[str, float] = {}
        self._trouble: dict[str, str] = {}

    @property
    def is_needed(self) -> bool:
        """Return whether the file has an unnumbered uplink."""
        return bool(self._uplinks)

    async def look(self, interfaces: Mapping[str, Interface], netlink: Netlink) -> Gateways:
        """Return the gateways as the kernel knows them now; ask where it knows none.

        Raises:
            HostError: the kernel does not tell.
        """
        if not self._uplinks:
            return {}
        routers = await netlink.routers()
        found: dict[str, Address | str] = {}
        for uplink in self._uplinks:
            interface = interfaces.get(uplink.interface)
            if interface is None:
                found[uplink.name] = f"{uplink.interface} does not exist"
                continue
            here = [router for router in routers if router.interface == interface.index]
            gateway = choose(uplink.interface, here, self._known.get(uplink.name))
            if isinstance(gateway, IPv6Address):
                self._known[uplink.name] = gateway
            elif not here and interface.up and self._ask:
                gateway += self._solicit(uplink.interface)
            found[uplink.name] = gateway
        return found

    def _solicit(self, interface: str) -> str:
        """Ask the routers of a link to show themselves; return in words what stands in the way."""
        now = time.monotonic()
        last = self._asked_at.get(interface)
        if last is None or now - last >= SOLICIT_S:
            self._asked_at[interface] = now
            self._trouble[interface] = _try_to_solicit(interface)
        return self._trouble[interface]


def choose(
    interface: str, routers: Iterable[Router], known: IPv6Address | None
) -> IPv6Address | str:
    """Return the gateway among the routers of a link, or in words why it cannot be told.

    The one that was used goes on being used while it is as good as any: also when it answers no
    more, for whether it is alive is for the probes to say, and a path without a gateway could not
    even be asked.
    """
    seen = sorted(routers, key=lambda router: router.address)
    candidates = [r.address for r in seen if r.is_reachable] or [r.address for r in seen]
    if known is not None and (not candidates or known in candidates):
        return known
    if not candidates:
        return f"no router was seen on {interface} yet"
    if len(candidates) > 1:
        listed = ", ".join(map(str, candidates))
        return f"{interface} leads to {len(candidates)} routers ({listed}), not to the ToR alone"
    return candidates[0]


def _try_to_solicit(interface: str) -> str:
    try:
        solicit(interface)
    except PermissionError:
        return " (it will be when it sends an advertisement; to ask for one needs CAP_NET_RAW)"
    except OSError as error:
        return f" (asking failed: {error.strerror})"
    return ""


def solicit(interface: str) -> None:
    """Send one router solicitation.

    Raises:
        PermissionError: CAP_NET_RAW is missing.
        OSError: the kernel could not send it.
    """
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
        index = socket.if_nametoindex(interface)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, _HOP_LIMIT)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        try:
            sock.sendto(_SOLICITATION, (_ALL_ROUTERS, 0, 0, index))
        except OSError as error:
            # No link-local address yet: there will be an event when there is one.
            if error.errno != errno.EADDRNOTAVAIL:
                raise
