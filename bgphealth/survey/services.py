"""The host loopback and the services among the addresses on `lo`: a guess from what was seen."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from bgphealth.core.settings import Address, Family, Prefix
from bgphealth.core.truth import OURS
from bgphealth.survey.links import Uplink
from bgphealth.survey.seen import Listening, Seen

_BGP = 179
_OF_ANY_HOST = frozenset({22, 68, _BGP, 546, 3784, 3785, 4784})
"""Ports that are no service's: SSH, DHCP, BGP, BFD (RFC 5881, RFC 5883)."""
_CALLED = {
    7: "echo",
    25: "smtp",
    53: "dns",
    80: "http",
    123: "ntp",
    389: "ldap",
    443: "https",
    514: "syslog",
    636: "ldaps",
    853: "dot",
}


@dataclass(frozen=True, slots=True)
class Service:
    """Addresses that the same is served on. `tcp` and `udp` are the ports on just these."""

    name: str
    addresses: tuple[Address, ...]
    tcp: tuple[int, ...]
    udp: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Loopback:
    """The host's own address of one family, and where that comes from.

    `is_guess`: it may be a service's as well.
    """

    address: Address
    why: str
    is_guess: bool = False


def addresses(seen: Seen) -> list[Address]:
    """Return what is on `lo` and can be reached from elsewhere."""
    interface = seen.interfaces.get("lo")
    own = [] if interface is None else [each.ip for each in interface.addresses]
    return [a for a in own if not (a.is_loopback or a.is_link_local or a.is_multicast)]


def probe_sources(seen: Seen, uplinks: Collection[Uplink]) -> dict[tuple[str, Family], Address]:
    """Return the addresses that one uplink alone hears of, by its name and their family."""
    hears = {u.name: frozenset(p for peer in u.peers.values() for p in peer.hears) for u in uplinks}
    found: dict[tuple[str, Family], Address] = {}
    for address in addresses(seen):
        who = [name for name, prefixes in hears.items() if _is_among(address, prefixes)]
        if len(who) == 1 and sum(map(bool, hears.values())) > 1:
            found.setdefault((who[0], Family.of(address)), address)
    return found


def loopback(
    seen: Seen, family: Family, router_id: Address | None, not_these: Iterable[Address]
) -> Loopback | None:
    """Return the host's own address; None where nothing tells it from the others.

    `router_id` is one that somebody has written down: a BGP daemon without one takes any address.
    An address that something listens on is a service's, if there is another one.
    """
    own = [a for a in addresses(seen) if Family.of(a) is family and a not in set(not_these)]
    served = {e.address for e in seen.listening if e.port not in _OF_ANY_HOST}
    left = [address for address in own if address not in served] or own
    if router_id in left and router_id is not None:
        return Loopback(router_id, "on lo, and the router id")
    if router_id in own:
        return None  # Two things are said of it, and the others may be services of all addresses.
    for default in seen.defaults.get(family, ()):
        if default.protocol != OURS and default.source in left and default.source is not None:
            return Loopback(
                default.source,
                "on lo, and the source of the default",
                is_guess=_may_be_served(seen.listening, default.source),
            )
    if len(own) == 1 and not _may_be_served(seen.listening, own[0]):
        return Loopback(own[0], "the only one on lo", is_guess=True)
    if len(left) == 1 < len(own):
        return Loopback(left[0], "the only one on lo that nothing listens on")
    return None


def services(
    seen: Seen, not_these: Iterable[Address], announced: Collection[Prefix]
) -> tuple[list[Service], list[Address]]:
    """Return the services, and the addresses on `lo` of which nothing is known."""
    alike: dict[tuple[tuple[int, ...], tuple[int, ...]], list[Address]] = {}
    unknown: list[Address] = []
    for address in addresses(seen):
        if address in set(not_these):
            continue
        ports = (_ports(seen.listening, "tcp", address), _ports(seen.listening, "udp", address))
        if any(ports) or _is_among(address, announced):
            alike.setdefault(ports, []).append(address)
        else:
            unknown.append(address)
    names: dict[str, int] = {}
    found = []
    for (tcp, udp), those in alike.items():
        called = next((_CALLED[port] for port in (*tcp, *udp) if port in _CALLED), "service")
        names[called] = names.get(called, 0) + 1
        name = called if names[called] == 1 else f"{called}{names[called]}"
        found.append(Service(name, tuple(those), tcp, udp))
    return found, unknown


def everywhere(seen: Seen) -> list[int]:
    """Return the TCP ports that somebody listens on for all addresses, but for BGP's."""
    every = (e for e in seen.listening if e.address.is_unspecified and e.protocol == "tcp")
    return sorted({each.port for each in every} - {_BGP})


def _may_be_served(listening: Iterable[Listening], address: Address) -> bool:
    """Tell whether something that may be a service listens on an address, or on all of them.

    A socket on all IPv6 addresses takes IPv4 as well, unless it was told not to.
    """
    return any(
        each.address == address
        or (each.address.is_unspecified and each.address.version >= address.version)
        for each in listening
        if each.port not in _OF_ANY_HOST
    )


def _ports(listening: Iterable[Listening], protocol: str, address: Address) -> tuple[int, ...]:
    here = (e for e in listening if e.protocol == protocol and e.address == address)
    return tuple(sorted(each.port for each in here))


def _is_among(address: Address, prefixes: Collection[Prefix]) -> bool:
    return any(p.network_address == address and p.prefixlen == p.max_prefixlen for p in prefixes)
