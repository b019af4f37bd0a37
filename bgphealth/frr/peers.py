"""bgpd's neighbors, as somebody sees them who knows nothing of this host yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

from bgphealth.core.settings import Address, Family, Prefix
from bgphealth.frr.routes import objects, question
from bgphealth.frr.state import Vtysh

_MOST = 16
"""Neighbors that are asked one by one: a server has a few."""

_FAMILIES = {Family.IPV4: "ipv4Unicast", Family.IPV6: "ipv6Unicast"}


@dataclass(frozen=True, slots=True)
class Peer:
    """A BGP neighbor: `name` is its address, or the interface of an unnumbered link.

    `address` is what the session goes to. `local` is our end of it. `is_up` is None where nobody
    says. `families` are those that it was set up for. `defaults` are the families in which it gives
    a default, `loopbacks` the host routes that it originates itself, `hears` what we tell it; all
    empty while there is no session.
    `options` are ``bfd``, ``password`` and ``ttl-security``, where the session has them.
    """

    name: str
    address: Address | None
    local: Address | None
    asn: int | None
    is_internal: bool
    is_up: bool | None
    families: frozenset[Family]
    description: str = ""
    hostname: str = ""
    router_id: IPv4Address | None = None
    defaults: frozenset[Family] = frozenset()
    loopbacks: frozenset[Prefix] = frozenset()
    hears: frozenset[Prefix] = frozenset()
    options: frozenset[str] = frozenset()

    @property
    def is_interface(self) -> bool:
        """Whether its name is that of an interface."""
        return self.address is None or self.name != str(self.address)


@dataclass(frozen=True, slots=True)
class Speaker:
    """A BGP speaker on this host, and its neighbors in the default VRF.

    `has_router_id`: its configuration says which; bgpd without it takes the highest address on lo.
    """

    asn: int | None
    router_id: IPv4Address | None
    peers: tuple[Peer, ...]
    has_router_id: bool = False


async def speaker(vtysh: Vtysh) -> Speaker | str:
    """Return bgpd and its neighbors, or in words why they are not known."""
    asked = ["show bgp neighbors json", *(question(f.default_prefix) for f in Family)]
    found = await vtysh.ask("bgpd", asked, parse_speaker)
    if isinstance(found, str):
        return found
    return replace(found, peers=tuple([await _routes(vtysh, peer) for peer in found.peers[:_MOST]]))


async def _routes(vtysh: Vtysh, peer: Peer) -> Peer:
    """Return a neighbor with what it tells us, and what we tell it."""
    if not peer.is_up or not peer.families or peer.is_internal:
        return peer
    asked = [
        f"show bgp {family} unicast neighbors {peer.name} {what} json"
        for family in sorted(peer.families)
        # A ToR's loopback matters on unnumbered links only, and its table may be long.
        for what in ("advertised-routes", *(["routes"] if peer.is_interface else []))
    ]
    found = await vtysh.ask("bgpd", asked, partial(parse_routes, peer=peer))
    return peer if isinstance(found, str) else found


def parse_speaker(output: bytes) -> Speaker:
    """Parse the neighbors, and then the default of each family.

    Raises:
        UnreadableError: it is something else.
    """
    neighbors, *defaults = objects(output)
    gives: dict[str, set[Family]] = {}
    for family, said in zip(Family, defaults, strict=False):
        for path in _list(said.get("paths")):
            gives.setdefault(str(_object(path.get("peer")).get("peerId")), set()).add(family)
    said_of = {n: said for n, said in neighbors.items() if isinstance(said, dict)}
    local = [said for said in said_of.values() if isinstance(said.get("localAs"), int)]
    return Speaker(
        asn=local[0]["localAs"] if local else None,
        router_id=_ipv4(local[0].get("localRouterId")) if local else None,
        peers=tuple(_peer(name, said, gives) for name, said in said_of.items()),
    )


def parse_routes(output: bytes, *, peer: Peer) -> Peer:
    """Parse what a neighbor hears and, where that was asked for, what it says.

    Raises:
        UnreadableError: it is something else.
    """
    told = objects(output)
    hears = {p for said in told for p in _prefixes(_object(said.get("advertisedRoutes")))}
    loopbacks = {
        prefix
        for said in told
        for prefix, paths in _by_prefix(_object(said.get("routes")))
        if prefix.prefixlen == prefix.max_prefixlen
        and any(path.get("path") == str(peer.asn) for path in _list(paths))
    }
    return replace(peer, hears=frozenset(hears), loopbacks=frozenset(loopbacks))


def _peer(name: str, said: Mapping[str, Any], gives: Mapping[str, set[Family]]) -> Peer:
    address = _address(name) or _address(said.get("bgpNeighborAddr"))
    families = _object(said.get("addressFamilyInfo"))
    asn = said.get("remoteAs")
    return Peer(
        name=name,
        address=address,
        local=_address(said.get("hostLocal")),
        asn=asn if isinstance(asn, int) and asn > 0 else None,
        is_internal=said.get("nbrInternalLink") is True,
        is_up=said.get("bgpState") == "Established",
        families=frozenset(f for f, word in _FAMILIES.items() if word in families),
        description=_text(said.get("nbrDesc")),
        hostname=_text(said.get("hostname")),
        router_id=_ipv4(said.get("remoteRouterId")),
        defaults=frozenset(gives.get(str(address), ())),
    )


def _prefixes(said: Mapping[str, Any]) -> Iterator[Prefix]:
    yield from (prefix for prefix, _ in _by_prefix(said))


def _by_prefix(said: Mapping[str, Any]) -> Iterator[tuple[Prefix, Any]]:
    for text, value in said.items():
        with suppress(ValueError):
            yield ip_network(text), value


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> Sequence[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _address(value: object) -> Address | None:
    with suppress(ValueError):
        return ip_address(value) if isinstance(value, str) else None
    return None


def _ipv4(value: object) -> IPv4Address | None:
    address = _address(value)
    return address if isinstance(address, IPv4Address) and int(address) else None
