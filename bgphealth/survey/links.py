"""Which neighbors and gateways are uplinks, and what is known of each: guessed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from bgphealth.core.settings import Address, Family
from bgphealth.core.truth import FRR_STATIC, OURS, KernelDefault
from bgphealth.fallback.netlink import Interface
from bgphealth.frr.peers import Peer, Speaker
from bgphealth.survey.seen import Seen

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")
_LEARNED = frozenset({"dhcp", "ra"})
_ROUTING = frozenset({"bgp", FRR_STATIC, "11", "12", "42", *map(str, range(186, 200))})
"""Who made a default: a routing daemon, zebra for FRR's (linux/rtnetlink.h; zebra/rt_netlink.h)."""


@dataclass(frozen=True, slots=True)
class Uplink:
    """One link, and by family who is at its other end: a BGP neighbor or a gateway.

    `why` says where that comes from.
    """

    name: str
    interface: str
    peers: Mapping[Family, Peer] = field(default_factory=dict)
    gateways: Mapping[Family, Address | str] = field(default_factory=dict)
    why: str = ""

    @property
    def peer(self) -> Peer:
        """One of the neighbors: what is said of the ToR itself is the same in all."""
        return next(iter(self.peers.values()))


def bgp_uplinks(seen: Seen, speaker: Speaker) -> tuple[list[Uplink], list[str]]:
    """Return the uplinks that a BGP speaker has, and of each other neighbor why it is none."""
    there = [(peer, _interface(peer, seen.interfaces)) for peer in speaker.peers]
    gives = any(peer.defaults for peer, interface in there if interface and not peer.is_internal)
    # Who gives a default is the ToR of its link, whoever else is there.
    there.sort(key=lambda each: not each[0].defaults)
    by_interface: dict[str, dict[Family, Peer]] = {}
    others: list[str] = []
    for peer, interface in there:
        said = f"neighbor {peer.name}{f' ({peer.description})' if peer.description else ''}"
        if peer.is_internal:
            if peer.address is None or not peer.address.is_loopback:
                others.append(f"{said} is of this host's own AS: no ToR")
        elif interface is None:
            # A link that is down has lost its IPv6 addresses, and with some managers all of them.
            down = " now, and its session is down" if peer.is_up is False else ""
            others.append(f"{said} is not on a link of this host{down}: no uplink")
        elif gives and peer.is_up and not peer.defaults:
            others.append(f"{said} on {interface} gives no default, and others do: no uplink")
        else:
            taken = by_interface.setdefault(interface, {})
            for family in _families(peer):
                if family in taken:
                    others.append(f"{said} is the second one on {interface}: no uplink")
                else:
                    taken[family] = peer
    names = _names({i: list(peers.values()) for i, peers in by_interface.items()})
    found = [
        Uplink(names[i], i, peers=dict(sorted(peers.items())), why=_why_uplink(peers, gives=gives))
        for i, peers in sorted(by_interface.items(), key=lambda each: _order(seen, each[0]))
        if peers
    ]
    return found, others


def gateways(seen: Seen) -> list[Uplink]:
    """Return the links that somebody has a default through, the one that is used now first.

    But for those of a routing daemon: it takes them away and brings them back.
    """
    by_interface: dict[str, dict[Family, Address | str]] = {}
    best: dict[str, int] = {}
    for family, defaults in seen.defaults.items():
        for default in defaults:
            if default.protocol == OURS or default.protocol in _ROUTING:
                continue
            for leg in default.legs or ():
                best[leg.interface] = min(default.metric, best.get(leg.interface, default.metric))
                if (gateway := _gateway(default, leg.gateway)) is not None:
                    by_interface.setdefault(leg.interface, {}).setdefault(family, gateway)
    ordered = sorted(by_interface, key=lambda i: (best[i], _order(seen, i)))
    return [
        Uplink(
            f"gw{number}", interface, gateways=by_interface[interface], why=_why(seen, interface)
        )
        for number, interface in enumerate(ordered, 1)
    ]


def routed(seen: Seen) -> list[str]:
    """Return the interfaces that a routing daemon has a default through."""
    return sorted(
        {
            leg.interface
            for defaults in seen.defaults.values()
            for default in defaults
            if default.protocol in _ROUTING
            for leg in default.legs or ()
        }
    )


def _why_uplink(peers: Mapping[Family, Peer], *, gives: bool) -> str:
    if any(peer.defaults for peer in peers.values()):
        return "gives a default"
    return "is on this link" if gives else "is on this link, and no neighbor gives a default now"


def _why(seen: Seen, interface: str) -> str:
    said = dict.fromkeys(
        f"{family} by {default.protocol}, metric {default.metric}"
        for family, defaults in seen.defaults.items()
        for default in defaults
        if default.protocol not in _ROUTING | {OURS}
        and any(leg.interface == interface for leg in default.legs or ())
    )
    return f"default: {'; '.join(said)}"


def _gateway(default: KernelDefault, gateway: Address | None) -> Address | str | None:
    if gateway is None:
        return None
    return "learned" if default.protocol in _LEARNED or gateway.is_link_local else gateway


def _interface(peer: Peer, interfaces: Mapping[str, Interface]) -> str | None:
    """Return the interface that a neighbor is on."""
    if peer.is_interface:
        return peer.name if peer.name in interfaces else None
    for name, interface in interfaces.items():
        for own in interface.addresses:
            is_alone = own.network.num_addresses == 1
            if name != "lo" and not is_alone and peer.address in own.network:
                return name
    return None


def _families(peer: Peer) -> Iterator[Family]:
    """Yield what a neighbor is the ToR of: on a link with addresses, of its address's family."""
    if peer.is_interface:
        yield from sorted(peer.families)
    elif peer.address is not None:
        yield Family.of(peer.address)


def _order(seen: Seen, interface: str) -> int:
    return seen.interfaces[interface].index if interface in seen.interfaces else 0


def _names(by_interface: Mapping[str, Iterable[Peer]]) -> dict[str, str]:
    """Return a name for each uplink: what the session is called, or who is there."""
    names: dict[str, str] = {}
    for number, (interface, peers) in enumerate(by_interface.items(), 1):
        said = [
            text.lower().partition(".")[0]
            for text in (*(p.description for p in peers), *(p.hostname for p in peers))
        ]
        fit = (n for n in said if _NAME.fullmatch(n) and n not in names.values())
        names[interface] = next(fit, f"uplink{number}")
    return names
