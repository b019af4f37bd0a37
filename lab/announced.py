"""What the server announces, seen from outside: told to its ToRs, and held by their bgpd.

Two views, since neither is enough. What arrives on the wire has a time for everything, and nothing
of what is lost with a session; what a bgpd holds is the truth at one moment.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

from lab import dual_tor, scene
from lab.bench_agents import Agent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lab.driver import Driver

_MP_REACH, _MP_UNREACH = 14, 15
"""RFC 4760: prefixes of other families, and IPv4 with an IPv6 next hop, are in attributes."""

_EXTENDED_LENGTH = 0x10
_PATH_ID = 4
_ADDRESS = {1: IPv4Address, 2: IPv6Address}
_LENGTH = {1: 4, 2: 16}
_DEFAULTS = {"ipv4": "0.0.0.0/0", "ipv6": "::/0"}


@dataclass(frozen=True, slots=True)
class Told:
    """One prefix in an UPDATE of the server's, at `at` (CLOCK_MONOTONIC)."""

    at: float
    router: str
    """Who was told; `dual_tor.SERVER`: its own bgpd, by ExaBGP."""
    route: str
    withdrawn: bool = False


Held = dict[str, list[str] | None]
"""By router, what its bgpd has from the server; the server's own, from ExaBGP: the defaults. None
where it did not answer: that is not to hold nothing."""


@dataclass(frozen=True, slots=True)
class _Words:
    """How the routes of a topology are called here: ``service ipv4``, ``default ipv6 via tor2``."""

    names: Mapping[str, str]
    uplinks: tuple[str, ...]
    injector: str

    def route(self, prefix: str, path_id: int | None) -> str:
        """Return the name of a prefix; a prefix that nobody expects is its own name."""
        for family, default in _DEFAULTS.items():
            if prefix == default:
                via = f" via {self.uplinks[path_id - 1]}" if path_id else ""
                return f"default {family}{via}"
        return self.names.get(prefix, prefix)


@cache
def _words(topology: str) -> _Words:
    with_it = {plain: name for name, plain in scene.TWINS.items()}
    settings = scene.settings(with_it.get(topology, topology))
    names: dict[str, str] = {}
    for service in settings.services:
        kind = "service" if service.checks else "loopback"
        names |= {str(p): f"{kind} ipv{p.version}" for p in service.prefixes}
    for uplink in settings.uplinks:
        for path in uplink.paths:
            if (own := path.probe_source) is not None:
                names[f"{own}/{own.max_prefixlen}"] = f"probe {path.family}"
    uplinks = tuple(uplink.name for uplink in settings.uplinks)
    return _Words(names, uplinks, str(settings.host.injector))


def decode(body: bytes, *, with_path_id: bool) -> Iterator[tuple[str, int | None, bool]]:
    """Yield what an UPDATE says: the prefix, its path identifier, and whether it is withdrawn.

    Args:
        body: the message without its header (RFC 4271, section 4.3).
        with_path_id: whether the session has ADD-PATH (RFC 7911).
    """
    end = 2 + int.from_bytes(body[:2], "big")
    for prefix, path_id in _prefixes(body[2:end], 1, with_path_id=with_path_id):
        yield prefix, path_id, True
    after = end + 2 + int.from_bytes(body[end : end + 2], "big")
    attributes = body[end + 2 : after]
    while attributes:
        wide = 2 if attributes[0] & _EXTENDED_LENGTH else 1
        start = 2 + wide
        length = int.from_bytes(attributes[2:start], "big")
        kind, value = attributes[1], attributes[start : start + length]
        attributes = attributes[start + length :]
        if kind in (_MP_REACH, _MP_UNREACH):
            # Before the prefixes: AFI, SAFI, and of what is reachable the next hop and a zero.
            at = 3 if kind == _MP_UNREACH else 5 + value[3]
            family = int.from_bytes(value[:2], "big")
            for prefix, path_id in _prefixes(value[at:], family, with_path_id=with_path_id):
                yield prefix, path_id, kind == _MP_UNREACH
    for prefix, path_id in _prefixes(body[after:], 1, with_path_id=with_path_id):
        yield prefix, path_id, False


def _prefixes(
    field_: bytes, family: int, *, with_path_id: bool
) -> Iterator[tuple[str, int | None]]:
    while field_:
        path_id = None
        if with_path_id:
            path_id, field_ = int.from_bytes(field_[:_PATH_ID], "big"), field_[_PATH_ID:]
        bits = field_[0]
        end = 1 + (bits + 7) // 8
        address = _ADDRESS[family](field_[1:end].ljust(_LENGTH[family], b"\0"))
        field_ = field_[end:]
        yield f"{address}/{bits}", path_id


@dataclass(slots=True)
class AnnouncedWatch:
    """What the ToRs next to the server are told, and its own bgpd, while a measurement runs."""

    driver: Driver
    _agents: dict[str, Agent] = field(default_factory=dict)
    _ports: dict[str, str] = field(default_factory=dict)
    _addresses: dict[str, frozenset[str]] = field(default_factory=dict)
    _told: list[Told] = field(default_factory=list)
    _stack: ExitStack = field(default_factory=ExitStack)

    def start(self) -> None:
        """Begin to listen; where nobody speaks BGP there is nothing to hear.

        Raises:
            LabError: A listener did not start.
        """
        here = scene.of(self.driver.topology.name)
        if not here.has_bgp:
            return
        for link in self.driver.topology.links:
            for end, other in (link.ends, link.ends[::-1]):
                if end.node == dual_tor.SERVER:
                    self._ports[other.node] = other.interface
        if here.steered:
            self._ports[dual_tor.SERVER] = "lo"
        for node, port in self._ports.items():
            agent = Agent(self.driver, node, ["updates", port])
            self._agents[node] = self._stack.enter_context(agent)
        for node in {dual_tor.SERVER, *self._ports}:
            asked = self.driver.run(node, ["ip", "-json", "address", "show"])
            self._addresses[node] = frozenset(
                address["local"]
                for interface in json.loads(asked.stdout)
                for address in interface["addr_info"]
            )

    def told(self) -> list[Told]:
        """Return everything that was told since the beginning.

        Raises:
            LabError: A listener has ended.
        """
        words = _words(self.driver.topology.name) if self._agents else None
        for node, agent in self._agents.items():
            (found,) = agent.ask("messages").values()
            for update in found["updates"]:
                assert words is not None  # noqa: S101 - for the type checker
                inside = node == dual_tor.SERVER
                # ExaBGP's, not bgpd's answers; for this ToR, not passing it on the way to another.
                if (
                    update["from"] != words.injector
                    if inside
                    else update["to"] not in self._addresses[node]
                ):
                    continue
                body = bytes.fromhex(update["body"])
                for prefix, path_id, withdrawn in decode(body, with_path_id=inside):
                    route = words.route(prefix, path_id)
                    self._told.append(Told(update["at"], node, route, withdrawn))
        return sorted(self._told, key=lambda told: told.at)

    def held(self) -> Held:
        """Return what each bgpd holds now."""
        return {node: self._held_by(node) for node in self._ports}

    def _held_by(self, node: str) -> list[str] | None:
        found: set[str] = set()
        for family, default in _DEFAULTS.items():
            what = f" {default}" if node == dual_tor.SERVER else ""
            asked = ["vtysh", "-c", f"show bgp {family} unicast{what} json"]
            try:
                # What it exits with says nothing: a prefix that is not there is a failure, too.
                said = json.loads(self.driver.run(node, asked, check=False).stdout)
            except ValueError:
                return None
            found.update(self._routes(node, default, said))
        return sorted(found)

    def _routes(self, node: str, default: str, said: Mapping[str, Any]) -> Iterator[str]:
        words = _words(self.driver.topology.name)
        if node == dual_tor.SERVER:
            for path in said.get("paths", []):
                if path["peer"].get("type") == "internal":
                    yield words.route(default, path.get("addpathRxId"))
            return
        for prefix, paths in said.get("routes", {}).items():
            if any(self.is_from_server(node, path["peerId"]) for path in paths):
                yield words.route(prefix, None)

    def is_from_server(self, node: str, neighbor: str) -> bool:
        """Return whether a session of a router is one that the server announces over."""
        if node == dual_tor.SERVER:
            return neighbor == _words(self.driver.topology.name).injector
        own = self._addresses[dual_tor.SERVER]
        return node in self._ports and (neighbor in own or neighbor == self._ports[node])

    def stop(self) -> None:
        """End the listeners."""
        self._stack.close()
        self._agents.clear()
