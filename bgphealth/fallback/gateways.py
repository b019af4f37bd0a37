"""Which router is at the other end of a link for which the file does not say it.

On an unnumbered link nobody writes down the ToR's link-local address. The kernel learns it, from
router advertisements (RFC 4861, section 6.3.4), and marks the neighbor as a router, whether or not
the interface takes anything else from them (``accept_ra``). Until there is one, the routers are
asked. In local mode a gateway is learned from whoever configures the host (`learned`).
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address
from typing import TypeAlias

from bgphealth.core.health import PathKey
from bgphealth.core.settings import Address, Family, Mode, Settings, UplinkPath, UplinkSettings
from bgphealth.core.truth import Leg
from bgphealth.fallback.learned import Learner
from bgphealth.fallback.netlink import Interface, Netlink, Router

SOLICIT_S = 4.0
"""RTR_SOLICITATION_INTERVAL (RFC 4861, section 10): the least time between two of them."""

_ALL_ROUTERS = "ff02::2"
_HOP_LIMIT = 255  # Anything less, and it is dropped: it might have come through a router.
_SOLICITATION = struct.pack("!BBHI", 133, 0, 0, 0)
"""RFC 4861, section 4.1; the kernel fills in the checksum (RFC 3542, section 3.1)."""

Gateways: TypeAlias = Mapping[PathKey, Leg | str]
"""By path: where its defaults lead, or in words why that is not known."""


class GatewaySearch:
    """Finds the gateways that a file does not write down, and remembers them.

    Args:
        settings: the file.
        ask: whether routers may be asked; without it, it is only looked and listened.
    """

    def __init__(self, settings: Settings, *, ask: bool = True) -> None:
        self._settings = settings
        self._ask = ask
        self._learner = Learner(settings)
        self._known: dict[str, IPv6Address] = {}
        self._asked_at: dict[str, float] = {}
        self._trouble: dict[str, str] = {}
        is_local = settings.mode is Mode.LOCAL
        paths = (path for uplink in settings.uplinks for path in uplink.paths)
        families = {path.family for path in paths if path.neighbor is None}
        self.needs_routers = bool(families & ({Family.IPV6} if is_local else set(Family)))
        """Whether it matters who is a router on the links."""
        self.needs_defaults = is_local and bool(families)
        """Whether it matters which defaults others have in the main table."""

    async def look(self, interfaces: Mapping[str, Interface], netlink: Netlink) -> Gateways:
        """Return the gateways as the kernel knows them now; ask where it knows none.

        Raises:
            HostError: the kernel does not tell.
        """
        routers = await netlink.routers() if self.needs_routers else []
        learned = await self._learner.look(interfaces, netlink)
        found: dict[PathKey, Leg | str] = {}
        for uplink in self._settings.uplinks:
            for path in uplink.paths:
                key = PathKey(uplink.name, path.family)
                leg = learned.get(key) or self._leg(uplink, path, interfaces, routers)
                found[key] = leg
        return found

    def _leg(
        self,
        uplink: UplinkSettings,
        path: UplinkPath,
        interfaces: Mapping[str, Interface],
        routers: Iterable[Router],
    ) -> Leg | str:
        interface = interfaces.get(uplink.interface)
        if path.neighbor is not None:
            return Leg(uplink.interface, path.neighbor)
        if interface is None:
            return f"{uplink.interface} does not exist"
        if self._settings.mode is not Mode.LOCAL:
            return self._router(uplink, interface, routers)
        nothing = (
            f"no {path.family} gateway is known on {uplink.interface}: nobody has a default in the "
            "main table that leads through it (DHCP, a router advertisement or you would make one)"
        )
        if path.family is Family.IPV4:
            return nothing
        router = self._router(uplink, interface, routers)
        return f"{nothing}, and {router}" if isinstance(router, str) else router

    def _router(
        self, uplink: UplinkSettings, interface: Interface, routers: Iterable[Router]
    ) -> Leg | str:
        """Return the one router on a link; ask who is one if nobody is seen."""
        here = [router for router in routers if router.interface == interface.index]
        gateway = choose(uplink.interface, here, self._known.get(uplink.name))
        if isinstance(gateway, IPv6Address):
            self._known[uplink.name] = gateway
            return Leg(uplink.interface, gateway)
        if not here and interface.up and self._ask:
            gateway += self._solicit(uplink.interface)
        return gateway

    def _solicit(self, interface: str) -> str:
        """Ask the routers of a link to show themselves; return in words what stands in the way."""
        now = time.monotonic()
        last = self._asked_at.get(interface)
        if last is None or now - last >= SOLICIT_S:
            self._asked_at[interface] = now
            self._trouble[interface] = _try_to_solicit(interface)
        return self._trouble[interface]


def gateway_of(leg: Leg | str) -> Address | str:
    """Return whom one can ask whether the gateway is there, or in words why there is nobody."""
    if isinstance(leg, str):
        return leg
    return leg.gateway or (
        f"the default through {leg.interface} has no gateway that could be asked: ask {{link: "
        "carrier}, or something behind it"
    )


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
        return f"{interface} leads to {len(candidates)} routers ({listed}), not to one alone"
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
