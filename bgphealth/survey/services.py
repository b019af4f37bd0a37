"""The host loopback and the services among the addresses on `lo`: a guess from what was seen."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from bgphealth.core.settings import Address, Family, Prefix
from bgphealth.core.truth import OURS
from bgphealth.survey.links import Uplink
from bgphealth.survey.seen import Listening, Seen

_BGP = 179
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
    """The host's own address of one family, and where that comes from."""

    address: Address
    why: str


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
    """Return the host's own address; None where nothing tells it from the others."""
    own = [a for a in addresses(seen) if Family.of(a) is family and a not in set(not_these)]
    for default in seen.defaults.get(family, ()):
        if default.protocol != OURS and default.source in own and default.source is not None:
            return Loopback(default.source, "on lo, and the source of the default")
    if router_id in own and router_id is not None:
        return Loopback(router_id, "on lo, and the router id")
    served = {each.address for each in seen.listening}
    idle = [address for address in own if address not in served]
    if len(idle) == 1:
        why = (
            "the only one on lo" if len(own) == 1 else "the only one on lo that nothing listens on"
        )
        return Loopback(idle[0], why)
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


def _ports(listening: Iterable[Listening], protocol: str, address: Address) -> tuple[int, ...]:
    here = (e for e in listening if e.protocol == protocol and e.address == address)
    return tuple(sorted(each.port for each in here))


def _is_among(address: Address, prefixes: Collection[Prefix]) -> bool:
    return any(p.network_address == address and p.prefixlen == p.max_prefixlen for p in prefixes)
