"""What a measurement must know of a topology: who is behind a link, and which traffic is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Final

from bgphealth import config
from bgphealth.core.settings import Settings
from lab import dual_tor, dual_wan, racks, topology
from lab.topology import Topology

_FILE: Final = Path("/etc/bgphealth/bgphealth.yaml")

ByFamily = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Traffic:
    """The flows of one direction: from a node to an address of each family."""

    title: str
    """From where to where, in words."""
    node: str
    targets: ByFamily
    sources: ByFamily | None = None
    """None: the kernel chooses."""
    connected: bool = True
    """Whether a flow keeps the source that it began with; else each datagram gets its own choice,
    as a new connection would."""
    over: str | None = None
    """The router that all of it passes, when it is one."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One topology, or several that are alike."""

    behind: Mapping[str, str]
    """The router behind each interface of the server."""
    used: tuple[str, ...]
    """The routers that the server's default uses while all is well."""
    whole: str
    """In words, what is so while all is well."""
    furniture: str
    """In words, what is brought up."""
    link_gateway: Mapping[str, Mapping[str, str]]
    """By family and interface: a next hop on each of the server's links, in the words of ip(8)."""
    traffic: Mapping[str, Traffic]
    source: Mapping[str, ByFamily] | None = None
    """By router and family: the source of the server's default through it; None: not promised."""
    log: str | None = None
    """The file with bgphealth's log; None where it does not run."""
    has_bgp: bool = True
    steered: bool = True
    """Whether the server's default is bgphealth's affair."""
    numbered: bool = True
    """Whether the server's links have addresses, which what it sends may have as its source."""
    forks: tuple[str, ...] = (dual_tor.CORE,)
    """The nodes that choose among the routers for what comes in."""
    inward: Mapping[str, str] | None = None
    """The router behind each interface of every fork; None: as on the server."""

    @property
    def way_in(self) -> str:
        """Return the forks in words."""
        return " + ".join(self.forks)

    def behind_on(self, node: str) -> Mapping[str, str]:
        """Return the router behind each interface of a node."""
        return self.inward if node in self.forks and self.inward is not None else self.behind

    @property
    def spreads(self) -> bool:
        """Return whether traffic uses more than one router at a time."""
        return len(self.used) > 1

    def own_sources(self, routers: Iterable[str], family: str) -> set[str]:
        """Return with which addresses the server may send through these routers."""
        return {self.source[router][family] for router in routers} if self.source else set()


def _dual_tor(name: str) -> Scene:
    direct = name == dual_tor.DIRECT
    return Scene(
        behind=dual_tor.TOR_BEHIND,
        used=tuple(dual_tor.TOR_BEHIND.values()),
        whole="both ToRs carry both directions",
        furniture="four nodes, their BGP sessions, ExaBGP and bgphealth",
        steered=not direct,
        numbered=name not in (dual_tor.UNNUMBERED, dual_tor.PLAIN[dual_tor.UNNUMBERED]),
        link_gateway=(dual_tor.LINK_GATEWAY | racks.LINK_GATEWAY)[name],
        traffic={
            "in": Traffic("client → service", dual_tor.CORE, dual_tor.SERVICE, dual_tor.CLIENT),
            "out": Traffic("server1 → target", dual_tor.SERVER, dual_tor.TARGET),
        },
        source=dict.fromkeys(dual_tor.TOR_BEHIND.values(), dual_tor.LOOPBACK),
        log=None if name in dual_tor.PLAIN.values() else dual_tor.EXABGP_LOG,
    )


def _of_link(interface: str) -> dict[str, str]:
    return {family: by_link[interface] for family, by_link in dual_wan.LINK_ADDRESS.items()}


_DUAL_WAN: Final = Scene(
    behind=dual_wan.GATEWAY_BEHIND,
    used=(dual_wan.GATEWAY_BEHIND["eth1"],),
    whole="the default is through gw1",
    furniture="four nodes",
    link_gateway=dual_wan.LINK_GATEWAY,
    traffic={
        # Nothing can move what comes in over the first link: its address is the link's. What comes
        # in over the second one must not notice anything.
        "in": Traffic(
            "client → service on the second link",
            dual_tor.CORE,
            _of_link("eth2"),
            dual_tor.CLIENT,
            over="gw2",
        ),
        "out": Traffic(
            "server1 → target, as new connections do",
            dual_tor.SERVER,
            dual_tor.TARGET,
            connected=False,
        ),
        "kept": Traffic(
            "server1 → target, connections that were there", dual_tor.SERVER, dual_tor.TARGET
        ),
    },
    source={router: _of_link(interface) for interface, router in dual_wan.GATEWAY_BEHIND.items()},
    log=dual_wan.LOG,
    has_bgp=False,
)

_ANYCAST: Final = replace(
    _dual_tor(racks.ANYCAST),
    whole="server1's ToRs carry both directions, and server2 has the service as well",
    furniture="seven nodes, their BGP sessions, ExaBGP and bgphealth on two servers",
    inward=racks.TORS,
)
_FABRIC: Final = replace(
    _dual_tor(racks.FABRIC),
    whole="server1's ToRs carry both directions, and server3 has the service as well",
    furniture="eleven nodes, their BGP sessions, ExaBGP and bgphealth on four servers",
    forks=racks.SPINES,
    inward=racks.TORS,
)

MEASURED: Final = {
    **{name: _dual_tor(name) for name in (*dual_tor.NAMES, dual_tor.DIRECT)},
    racks.ANYCAST: _ANYCAST,
    racks.FABRIC: _FABRIC,
    dual_wan.NAME: _DUAL_WAN,
    dual_wan.CLASSIC: replace(_DUAL_WAN, source=None, log=None),
}
"""By name: the topologies that faults are measured on."""

TWINS: Final = {**dual_tor.PLAIN, dual_wan.NAME: dual_wan.CLASSIC}
"""Each with what it is compared with: the same without bgphealth."""


def of(name: str) -> Scene:
    """Return the scene of a topology; those on which nothing is measured are like ``dual-tor``."""
    return MEASURED.get(name, MEASURED[dual_tor.NAME])


def settings(name: str) -> Settings:
    """Return what the server of a topology is told by the file that is shipped."""
    return _settings(topology.load(topology.find(name)))[dual_tor.SERVER]


def _settings(lab: Topology) -> dict[str, Settings]:
    """Return what bgphealth is told on each node that has it."""
    return {
        node: config.load(bind.source)
        for node in lab.nodes
        for bind in lab.binds(node)
        if bind.target == _FILE
    }


def elsewhere(lab: Topology) -> frozenset[str]:
    """Return the routers that lead to other servers with the service, as their files say."""
    service = {ip_network(address) for address in dual_tor.SERVICE.values()}
    return frozenset(
        uplink.name
        for node, told in _settings(lab).items()
        for each in told.services
        if node != dual_tor.SERVER and service & set(each.prefixes)
        for uplink in told.uplinks
    )
