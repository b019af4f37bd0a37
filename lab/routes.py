"""What the nodes of ``dual-tor`` and its like have in their kernels and in BGP at this moment."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lab import dual_tor, scene
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lab.driver import Driver

_IP_FAMILY = {"ipv4": "-4", "ipv6": "-6"}

_SPARE = range(1 << 16, 2 << 16)
"""In mode local, the metrics of the defaults of uplinks that work and are not used."""
_BGPHEALTH = "179"
_OWN_PROTOCOLS = frozenset({_BGPHEALTH, "186", "196"})
"""bgphealth's, and FRR's for BGP and for static routes (rtnetlink's rtm_protocol)."""


@dataclass(frozen=True, slots=True)
class KernelRoute:
    """A route as the kernel would use it: the routers behind its next hops, and its source."""

    uplinks: tuple[str, ...] = ()
    source: str | None = None

    def __str__(self) -> str:
        """Return it as a table cell."""
        via = " + ".join(self.uplinks) or "none"
        return f"{via}, src {self.source}" if self.source else via


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Both ends' routes, the core's where the forks are others; each mapping is by family."""

    server_default: Mapping[str, KernelRoute]
    core_service: Mapping[str, KernelRoute]
    core_loopback: Mapping[str, KernelRoute]

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Session:
    """One BGP session, as one of its ends sees it."""

    node: str
    neighbor: str
    family: str
    state: str
    uptime: str
    drops: int
    """How often it was lost since bgpd started."""
    since: int = 0
    """When it was established (Unix time, to a second or so); 0: it is not."""

    @property
    def is_up(self) -> bool:
        """Return whether it is established."""
        return self.state == "Established"


def snapshot(driver: Driver, forks: Sequence[str] | None = None) -> Snapshot:
    """Ask the kernels of the server and of what chooses the way in: of these forks, or of all."""
    here = scene.of(driver.topology.name)
    forks = here.forks if forks is None else forks
    tables = {
        (node, family): _table(driver, node, family)
        for node in (dual_tor.SERVER, *forks)
        for family in dual_tor.FAMILIES
    }

    def look_up(nodes: Iterable[str], wanted: Mapping[str, str], family: str) -> KernelRoute:
        found = [best(tables[n, family], wanted[family], here.behind_on(n)) for n in nodes]
        uplinks = {uplink for route in found for uplink in route.uplinks}
        return KernelRoute(tuple(sorted(uplinks)), found[0].source)

    default = dict.fromkeys(dual_tor.FAMILIES, "default")
    own = (dual_tor.SERVER,)
    return Snapshot(
        server_default={f: look_up(own, default, f) for f in dual_tor.FAMILIES},
        core_service={f: look_up(forks, dual_tor.SERVICE, f) for f in dual_tor.FAMILIES},
        core_loopback={f: look_up(forks, dual_tor.LOOPBACK, f) for f in dual_tor.FAMILIES},
    )


def _table(driver: Driver, node: str, family: str) -> list[dict[str, Any]]:
    output = driver.run(node, ["ip", "-json", _IP_FAMILY[family], "route", "show"]).stdout
    routes: list[dict[str, Any]] = json.loads(output or "[]")
    return routes


def best(
    table: Iterable[Mapping[str, Any]],
    destination: str,
    behind: Mapping[str, str] = dual_tor.TOR_BEHIND,
) -> KernelRoute:
    """Return the route with the lowest metric to exactly that destination."""
    found = [route for route in table if route["dst"] == destination]
    if not found:
        return KernelRoute()
    metric = min(route.get("metric", 0) for route in found)
    hops: set[str] = set()
    source = None
    for route in found:
        if route.get("metric", 0) == metric:
            source = route.get("prefsrc", source)
            hops |= {hop["dev"] for hop in route.get("nexthops", [route]) if _is_usable(hop)}
    return KernelRoute(tuple(sorted(behind.get(h, h) for h in hops)), source)


def _is_usable(hop: Mapping[str, Any]) -> bool:
    return "dev" in hop and "dead" not in hop.get("flags", [])


def sessions(driver: Driver, nodes: Iterable[str] | None = None) -> list[Session]:
    """Ask every bgpd for its sessions; a node whose FRR does not answer has none."""
    found = []
    if nodes is None:
        nodes = driver.topology.nodes if scene.of(driver.topology.name).has_bgp else ()
    for node in nodes:
        done = driver.run(node, ["vtysh", "-c", "show bgp summary json"], check=False)
        try:
            families = json.loads(done.stdout or "{}")
        except ValueError:
            continue
        found += [
            Session(
                node,
                neighbor,
                family.removesuffix("Unicast"),
                peer["state"],
                peer["peerUptime"],
                peer["connectionsDropped"],
                peer.get("peerUptimeEstablishedEpoch", 0),
            )
            for family, summary in families.items()
            if isinstance(summary, dict)
            for neighbor, peer in summary.get("peers", {}).items()
        ]
    return found


def injected_uplinks(driver: Driver, family: str) -> int:
    """Return how many paths of the server's default in use come from the injector."""
    prefix = {"ipv4": "0.0.0.0/0", "ipv6": "::/0"}[family]
    command = f"show bgp {family} unicast {prefix} json"
    done = driver.run(dual_tor.SERVER, ["vtysh", "-c", command], check=False)
    try:
        paths = json.loads(done.stdout or "{}").get("paths", [])
    except ValueError:
        return 0
    return sum(
        path["peer"].get("type") == "internal"
        and (path.get("multipath", False) or path.get("bestpath", {}).get("overall", False))
        for path in paths
    )


def fallback_uplinks(driver: Driver, family: str) -> tuple[str, ...]:
    """Return the routers of the server's fallback defaults, the first one first."""
    return tuple(router for _, router in _fallback(driver, family))


def spare_uplinks(driver: Driver, family: str) -> tuple[str, ...]:
    """Return the routers whose fallback default is a spare one because another one is in use."""
    return tuple(router for metric, router in _fallback(driver, family) if metric in _SPARE)


def _fallback(driver: Driver, family: str) -> list[tuple[int, str]]:
    asked = ["ip", "-N", "-json", _IP_FAMILY[family], "route", "show", "default"]
    found = json.loads(driver.run(dual_tor.SERVER, asked).stdout or "[]")
    ours = sorted((r["metric"], r["dev"]) for r in found if r.get("protocol") == _BGPHEALTH)
    behind = scene.of(driver.topology.name).behind
    return [(metric, behind.get(interface, interface)) for metric, interface in ours]


def _foreign(topology: str) -> list[str]:
    """Return routes of somebody else's that a measurement plants and expects to find again."""
    four, six = (scene.of(topology).link_gateway[family] for family in dual_tor.FAMILIES)
    return [
        # Ordinary, more specific, in another table, a default of last resort; none with a protocol
        # of FRR's own (42 is babeld's): zebra takes those over when it starts, and writes copies.
        f"-4 route add 198.18.0.0/24 via {four['eth1']} dev eth1 proto static metric 77",
        "-4 route add blackhole 198.18.1.0/24 proto 77",
        f"-4 route add default via {four['eth2']} dev eth2 proto static table 4242",
        last_resort(topology),
        f"-6 route add 2001:db8:f00::/64 via {six['eth1']} dev eth1 proto static metric 77",
        f"-6 route add default via {six['eth2']} dev eth2 proto static table 4242",
    ]


def last_resort(topology: str) -> str:
    """Return the default that a measurement plants, in the words of ip(8).

    FRR reads the top byte of a metric as the distance: 254 keeps it below every BGP default.
    """
    gateway = scene.of(topology).link_gateway["ipv4"]["eth1"]
    return f"-4 route add default via {gateway} dev eth1 proto static metric 4261413000"


def plant_foreign(driver: Driver) -> None:
    """Add the foreign routes to the server.

    Raises:
        LabError: One could not be added.
    """
    for line in _foreign(driver.topology.name):
        driver.run(dual_tor.SERVER, ["ip", *line.split()])


def remove_foreign(driver: Driver) -> None:
    """Remove them again, as far as they are there."""
    for line in _foreign(driver.topology.name):
        driver.run(dual_tor.SERVER, ["ip", *line.replace(" add ", " del ").split()], check=False)


def foreign(driver: Driver) -> list[str]:
    """Return every route of the server, in all tables, that neither we nor FRR made."""
    output = driver.run(dual_tor.SERVER, ["ip", "-N", "-o", "route", "show", "table", "all"]).stdout
    found = []
    for line in output.splitlines():
        words = line.split()
        protocol = words[words.index("proto") + 1] if "proto" in words else None
        # `ip` says linkdown where the carrier is gone: that is the link's state, not the route's.
        if protocol not in _OWN_PROTOCOLS:
            found.append(line.strip().replace(" linkdown", "").replace(" dead", ""))
    if not found:
        raise LabError("the server has no routes at all")
    return sorted(found)
