"""Draws a topology from its file, as SVG: nodes in layers, their ports, and the links.

The layers are containerlab's own: the label ``graph-level``, 1 at the top. What is written into a
node comes from the file as well: addresses from its `exec` lines, the AS and what runs in it from
the files that it binds.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from html import escape
from textwrap import wrap
from typing import TYPE_CHECKING, Final

from bgphealth import config
from lab.picture import style

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from lab.topology import Endpoint, Topology

LEVEL: Final = "graph-level"

_RUNS: Final = {
    "/etc/frr/daemons": "FRR",
    "/etc/lab/run-exabgp": "ExaBGP",
    "/etc/bgphealth/bgphealth.yaml": "bgphealth",
    "/etc/lab/failover": "shell loop",
}
"""By a file that a node has: what that says about it."""

_BGPHEALTH: Final = "/etc/bgphealth/bgphealth.yaml"
_ROUTER: Final = re.compile(r"^router bgp (\S+)", re.MULTILINE)
_NUMBER: Final = re.compile(r"\d*$")

_CHARACTER, _PAD = 6.1, 7.0
_LINE, _PORT_LINE = 15.0, 13.0
_GAP_X, _GAP_Y, _MARGIN = 26.0, 92.0, 16.0
_TITLE = 22.0
_LONGEST = 56
"""Characters in a line of addresses."""

_COLOURS: Final = {
    "box": ("#f4f6f8", "#1f262e"),
    "edge": ("#b9c3cd", "#4a5665"),
    "server": ("#e3f1e8", "#1b3326"),
    "server-edge": ("#6fae88", "#3f7d5a"),
    "link": ("#7b8794", "#7b8794"),
}
_STYLE: Final = """\
  .name { font: 600 14px system-ui, sans-serif; }
  .port, .address { font: 10px ui-monospace, "DejaVu Sans Mono", monospace; }
  .port { font-weight: 600; } .about { font: 11px system-ui, sans-serif; }
  .node { fill: var(--box); stroke: var(--edge); }
  .host { fill: var(--server); stroke: var(--server-edge); }
  .cell { fill: var(--paper); stroke: var(--edge); stroke-width: 0.8; }
  .link { fill: none; stroke: var(--link); stroke-width: 1.4; }
  .link:hover { stroke: #1d4ed8; stroke-width: 2.6; }
"""


@dataclass(slots=True)
class _Port:
    """One end of a link at its node."""

    interface: str
    peer: str
    addresses: Sequence[str]
    x: float = 0.0
    width: float = 0.0

    @property
    def lines(self) -> list[str]:
        return [self.interface, *self.addresses]


@dataclass(slots=True)
class _Node:
    """A node as it is drawn; `x` and `y` are its upper left corner."""

    name: str
    about: str
    loopback: Sequence[str]
    is_host: bool
    level: int
    upper: list[_Port] = field(default_factory=list)
    lower: list[_Port] = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0

    def measure(self) -> None:
        for ports in (self.upper, self.lower):
            for port in ports:
                port.width = max(len(line) for line in port.lines) * _CHARACTER + 2 * _PAD
        text = max([len(self.name) * 9.0, len(self.about) * 6.2, *map(_wide, self.loopback)])
        rows = (sum(port.width for port in ports) for ports in (self.upper, self.lower))
        self.width = max(text + 2 * _PAD, *rows)
        for ports in (self.upper, self.lower):
            # Ports fill their side.
            spare = self.width - sum(port.width for port in ports)
            for port in ports:
                port.width += spare / len(ports)

    @property
    def upper_height(self) -> float:
        return _height(self.upper)

    @property
    def height(self) -> float:
        body = _TITLE + _LINE * (bool(self.about) + len(self.loopback)) + _PAD
        return self.upper_height + body + _height(self.lower)

    @property
    def centre(self) -> float:
        return self.x + self.width / 2


def _wide(text: str) -> float:
    return len(text) * _CHARACTER


def _height(ports: Sequence[_Port]) -> float:
    return max((len(port.lines) for port in ports), default=0) * _PORT_LINE + 6 if ports else 0.0


def svg(topology: Topology) -> str:
    """Return the picture of a topology."""
    nodes = {name: _node(topology, name) for name in topology.nodes}
    rows = _rows(nodes)
    for link in topology.links:
        _plug(nodes, topology, *link.ends)
    for node in nodes.values():
        _order(node, [name for row in rows for name in row])
        node.measure()
    width, height = _place(nodes, rows)
    parts = [_link(nodes, *link.ends) for link in topology.links]
    parts += [part for node in nodes.values() for part in _drawn(node)]
    label = escape(f"The topology {topology.name}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{label}">'
        f"{style(_STYLE, **_COLOURS)}"
        '<rect width="100%" height="100%" fill="var(--paper)"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


# From the file


def _node(topology: Topology, name: str) -> _Node:
    targets = [str(bind.target) for bind in topology.binds(name)]
    runs = [what for target, what in _RUNS.items() if target in targets]
    asn = _asn(topology, name)
    about = " · ".join([*([f"AS {asn}"] if asn else []), ", ".join(runs)]).removesuffix(" · ")
    loopback = _addresses(topology, name)["lo"]
    return _Node(
        name,
        about,
        [line for family in _by_family(loopback) for line in _wrapped(family)],
        _is_host(topology, name),
        int(topology.nodes[name].labels.get(LEVEL, 0)),
    )


def _is_host(topology: Topology, name: str) -> bool:
    """Tell whether a node forwards nothing."""
    return not int(topology.nodes[name].sysctls.get("net.ipv4.ip_forward", 0))


def _asn(topology: Topology, name: str) -> str | None:
    """Return a node's AS: what its bgphealth is told, or its FRR."""
    for bind in topology.binds(name):
        if not bind.source.is_file():
            continue
        if str(bind.target) == _BGPHEALTH:
            return str(config.load(bind.source).host.asn or "") or None
        if bind.source.suffix == ".conf" and (found := _ROUTER.search(bind.source.read_text())):
            number = _NUMBER.search(name)
            return found[1].replace("@N@", number[0] if number else "")
    return None


def _addresses(topology: Topology, name: str) -> Mapping[str, list[str]]:
    """Return the addresses that the `exec` lines give to each interface."""
    found: dict[str, list[str]] = defaultdict(list)
    for words in topology.nodes[name].commands:
        if words[0] == "ip" and "add" in words and {"addr", "address"} & {*words}:
            found[words[words.index("dev") + 1]].append(words[words.index("add") + 1])
    return found


def _by_family(addresses: Iterable[str]) -> Iterator[list[str]]:
    """Yield host addresses, without their length, of IPv4 and then of IPv6."""
    bare = [address.removesuffix("/32").removesuffix("/128") for address in addresses]
    yield [address for address in bare if ":" not in address]
    yield [address for address in bare if ":" in address]


def _wrapped(addresses: Iterable[str]) -> list[str]:
    # No address has a blank: they are wrapped as words, and then set apart.
    return [" · ".join(line.split()) for line in wrap(" ".join(addresses), _LONGEST)]


def _plug(nodes: Mapping[str, _Node], topology: Topology, *ends: Endpoint) -> None:
    for end, other in (ends, ends[::-1]):
        node, peer = nodes[end.node], nodes[other.node]
        side = node.upper if peer.level < node.level else node.lower
        addresses = _addresses(topology, end.node)[end.interface] or ["unnumbered"]
        side.append(_Port(end.interface, other.node, addresses))


# Where it goes


def _rows(nodes: Mapping[str, _Node]) -> list[list[str]]:
    levels = sorted({node.level for node in nodes.values()})
    return [[n.name for n in nodes.values() if n.level == level] for level in levels]


def _order(node: _Node, names: Sequence[str]) -> None:
    """Put the ports in the order of what they lead to, so that few links cross."""
    for ports in (node.upper, node.lower):
        ports.sort(key=lambda port: (names.index(port.peer), port.interface))


def _place(nodes: Mapping[str, _Node], rows: Sequence[Sequence[str]]) -> tuple[float, float]:
    widths = [sum(nodes[name].width for name in row) + _GAP_X * (len(row) - 1) for row in rows]
    widest, y = max(widths), _MARGIN
    for row, width in zip(rows, widths, strict=True):
        # A row that is narrower is spread evenly.
        spare = (widest - width) / len(row)
        x = _MARGIN + spare / 2
        for name in row:
            node = nodes[name]
            node.x, node.y = x, y
            for ports in (node.upper, node.lower):
                at = x
                for port in ports:
                    port.x, at = at + port.width / 2, at + port.width
            x += node.width + _GAP_X + spare
        y += max(nodes[name].height for name in row) + _GAP_Y
    return widest + 2 * _MARGIN, y - _GAP_Y + _MARGIN


# As SVG


def _drawn(node: _Node) -> Iterator[str]:
    kind = "node host" if node.is_host else "node"
    yield (
        f'<rect class="{kind}" x="{node.x:.1f}" y="{node.y:.1f}" width="{node.width:.1f}" '
        f'height="{node.height:.1f}" rx="6"/>'
    )
    yield from _cells(node.upper, node.y)
    yield from _cells(node.lower, node.y + node.height - _height(node.lower))
    y = node.y + node.upper_height + _TITLE - 5
    yield _text("name", node.centre, y, node.name)
    if node.about:
        y += _LINE
        yield _text("about muted", node.centre, y, node.about)
    for line in node.loopback:
        y += _LINE
        yield _text("address muted", node.centre, y, line)


def _cells(ports: Sequence[_Port], top: float) -> Iterator[str]:
    for port in ports:
        yield (
            f'<rect class="cell" x="{port.x - port.width / 2 + 2:.1f}" y="{top + 2:.1f}" '
            f'width="{port.width - 4:.1f}" height="{_height(ports) - 4:.1f}" rx="4"/>'
        )
        for number, line in enumerate(port.lines):
            kind = "address muted" if number else "port"
            yield _text(kind, port.x, top + 12 + number * _PORT_LINE, line)


def _link(nodes: Mapping[str, _Node], *ends: Endpoint) -> str:
    (x1, y1, down1), (x2, y2, down2) = (_socket(nodes[end.node], end) for end in ends)
    bend = _GAP_Y * 0.45
    title = escape(" – ".join(map(str, ends)))
    return (
        f'<path class="link" d="M{x1:.1f},{y1:.1f} C{x1:.1f},{y1 + bend * down1:.1f} '
        f'{x2:.1f},{y2 + bend * down2:.1f} {x2:.1f},{y2:.1f}"><title>{title}</title></path>'
    )


def _socket(node: _Node, end: Endpoint) -> tuple[float, float, int]:
    """Return where a link leaves its node, and whether downwards (1) or upwards (-1)."""
    for port in node.upper:
        if port.interface == end.interface:
            return port.x, node.y, -1
    (port,) = (port for port in node.lower if port.interface == end.interface)
    return port.x, node.y + node.height, 1


def _text(kind: str, x: float, y: float, text: str) -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{escape(text)}</text>'
    )
