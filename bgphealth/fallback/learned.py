"""The gateways that somebody else was told: by DHCP, by router advertisements, by an operator.

Whoever it was (NetworkManager, systemd-networkd, dhclient, the kernel itself) has made a default in
the main table, and that is read. It may go: one slip with ``ip route del``, a DHCP client that is
stopped, a link that is put down and up again. The gateway that it named goes on being used then,
for whether it is alive is for the probes to say: until the interface has another network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from bgphealth.core.health import PathKey
from bgphealth.core.settings import Address, Family, Mode, Settings
from bgphealth.core.truth import OURS, KernelDefault, Leg
from bgphealth.fallback.netlink import Interface, Netlink


class Learned(NamedTuple):
    """A gateway, and the addresses of its family that the host had on the link at that time."""

    leg: Leg
    beside: frozenset[Address]


class Learner:
    """Learns the gateways that a file leaves open, and remembers them.

    Our own routes remember them as well, over a restart of the program.
    """

    def __init__(self, settings: Settings) -> None:
        self._open = [
            (PathKey(uplink.name, path.family), uplink)
            for uplink in settings.uplinks
            for path in uplink.paths
            if settings.mode is Mode.LOCAL and path.neighbor is None
        ]
        self._table = settings.fallback.table
        self._known: dict[PathKey, Learned] = {}

    async def look(
        self, interfaces: Mapping[str, Interface], netlink: Netlink
    ) -> Mapping[PathKey, Leg]:
        """Return those that are known now.

        Raises:
            HostError: the kernel does not tell.
        """
        families = {key.family for key, _ in self._open}
        defaults = {family: await netlink.defaults(family) for family in families}
        found: dict[PathKey, Leg] = {}
        for key, uplink in self._open:
            interface = interfaces.get(uplink.interface)
            if interface is None:
                self._known.pop(key, None)
                continue
            before = self._known.get(key)
            leg = choose(uplink.interface, defaults[key.family], before and before.leg)
            if leg is None and before is None:
                table = self._table + uplink.number
                before = await _written_before(table, key.family, interface, netlink)
            if leg is not None:
                addresses = (address.ip for address in interface.addresses)
                beside = frozenset(a for a in addresses if Family.of(a) is key.family)
                self._known[key] = Learned(leg, beside)
            elif before is not None and holds(before, interface):
                self._known[key] = before
            else:
                self._known.pop(key, None)
            if key in self._known:
                found[key] = self._known[key].leg
        return found


async def _written_before(
    table: int, family: Family, interface: Interface, netlink: Netlink
) -> Learned | None:
    """Return what our own routes say, written by an earlier run or beside whoever only looks."""
    ours, _ = await netlink.routes(table, family)
    for route in (*ours, *await netlink.own_defaults(family)):
        if route.prefix == family.default_prefix and route.interface == interface.index:
            beside = frozenset() if route.source is None else frozenset({route.source})
            return Learned(Leg(interface.name, route.gateway), beside)
    return None


def choose(interface: str, defaults: Iterable[KernelDefault], known: Leg | None) -> Leg | None:
    """Return where the best of the others' defaults through an interface leads, if there is one.

    Of several that are as good, the one that was used goes on being used.
    """
    legs = [
        (default.metric, leg)
        for default in defaults
        if default.protocol != OURS
        for leg in default.legs or ()
        if leg.interface == interface
    ]
    best = [leg for metric, leg in legs if metric == min(legs, key=lambda it: it[0])[0]]
    return known if known in best else next(iter(best), None)


def holds(learned: Learned, interface: Interface) -> bool:
    """Return whether a gateway still makes sense on an interface."""
    gateway = learned.leg.gateway
    if gateway is not None and any(gateway in a.network for a in interface.addresses):
        return True
    # Nothing but the addresses that came with it tells that it is the same network.
    return any(address.ip in learned.beside for address in interface.addresses)
