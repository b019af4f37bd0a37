"""Sees the BGP messages that arrive on interfaces, without being part of any session.

``python -m lab.agents.updates INTERFACE...`` in a node: each line of stdin is a command, each has
one line of JSON as its answer, the end of stdin is the end.

- ``forget``: what has arrived so far does not count.
- ``messages``: what has arrived since then, per interface: ``others``, the number of messages that
  are no UPDATE (keepalives, for the most part), and ``updates``, each with ``at``
  (CLOCK_MONOTONIC, from the kernel's own timestamp), ``from``, ``to``, how many IPv4 prefixes it
  ``announced`` and ``withdrew`` (IPv6 prefixes are in attributes, and counted in neither), and its
  ``body`` in hexadecimal.

Between commands it sleeps and the kernel keeps the packets, so that it takes no time away from
what is measured.
"""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any

from lab.agents import packets

if TYPE_CHECKING:
    from collections.abc import Iterator

_PORT = 179
_INJECTOR_SESSION_ON = "lo"
"""The one session with ADD-PATH (RFC 7911): its prefixes have an identifier each."""

_MARKER = b"\xff" * 16
_HEADER = 19
_OPEN, _UPDATE = 1, 2
_PATH_ID = 4

_MODULO = 1 << 32

Flow = tuple[bytes, int, int]
"""One direction of a connection: both addresses, and the port of either end."""


@dataclass(frozen=True, slots=True)
class Segment:
    """What one packet carries of a BGP session in one direction."""

    source: str
    target: str
    flow: Flow
    sequence: int
    data: bytes


def segment(packet: bytes) -> Segment | None:
    """Return the TCP segment in a packet of a BGP session; None for anything else."""
    if packet[0] >> 4 == 4:  # noqa: PLR2004 - RFC 791
        family, protocol, addresses = socket.AF_INET, packet[9], packet[12:20]
        start, end = (packet[0] & 15) * 4, int.from_bytes(packet[2:4], "big")
    else:
        family, protocol, addresses = socket.AF_INET6, packet[6], packet[8:40]
        start, end = 40, 40 + int.from_bytes(packet[4:6], "big")
    if protocol != socket.IPPROTO_TCP:
        return None
    source_port, port, sequence = struct.unpack_from(">HHI", packet, start)
    if _PORT not in (source_port, port):
        return None
    data = packet[start + (packet[start + 12] >> 4) * 4 : end]
    half = len(addresses) // 2
    source, target = (socket.inet_ntop(family, a) for a in (addresses[:half], addresses[half:]))
    return Segment(source, target, (addresses, source_port, port), sequence, data)


class Stream:
    """One direction of a session: segments in, whole messages out (RFC 4271, section 4.1)."""

    def __init__(self) -> None:
        self._end: int | None = None
        self._rest = b""

    def take(self, found: Segment) -> Iterator[tuple[int, bytes]]:
        """Yield the type and the body of each message that this segment completes."""
        data = found.data
        if self._end is not None:
            seen_before = (self._end - found.sequence) % _MODULO
            if seen_before < _MODULO // 2:
                data = data[seen_before:]
            else:
                self._rest = b""  # Something is missing: go on with the next message.
        if not data:
            return
        self._end = (found.sequence + len(found.data)) % _MODULO
        self._rest += data
        while (start := self._rest.find(_MARKER)) >= 0:
            message = self._rest[start:]
            if len(message) < _HEADER:
                return
            length, kind = struct.unpack_from(">HB", message, len(_MARKER))
            if len(message) < length:
                return
            self._rest = message[length:]
            yield kind, message[_HEADER:length]


def prefixes(body: bytes, *, with_path_id: bool) -> tuple[int, int]:
    """Return how many IPv4 prefixes an UPDATE announces and withdraws (section 4.3)."""
    withdrawn_end = 2 + int.from_bytes(body[:2], "big")
    attributes = int.from_bytes(body[withdrawn_end : withdrawn_end + 2], "big")
    announced = body[withdrawn_end + 2 + attributes :]
    return (
        _count(announced, with_path_id=with_path_id),
        _count(body[2:withdrawn_end], with_path_id=with_path_id),
    )


def _count(field: bytes, *, with_path_id: bool) -> int:
    count = at = 0
    while at < len(field):
        at += _PATH_ID if with_path_id else 0
        at += 1 + (field[at] + 7) // 8
        count += 1
    return count


def inward(sockets: str) -> dict[bytes, set[Flow]]:
    """Return what comes in over these connections, by both addresses.

    Args:
        sockets: what `ss -Htn state established` prints.
    """
    found: dict[bytes, set[Flow]] = defaultdict(set)
    for line in sockets.splitlines():
        (here, port), (there, source_port) = (_end(word) for word in line.split()[2:4])
        found[there + here].add((there + here, source_port, port))
    return found


def _end(text: str) -> tuple[bytes, int]:
    """Return the address and the port of ``192.0.2.1:179`` or ``[fe80::1]%eth1:179``."""
    host, _, port = text.rpartition(":")
    address = ip_address(host.partition("%")[0].strip("[]"))
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.packed, int(port)


def _established() -> str:
    command = ["ss", "-Htn", "state", "established"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


class Watched:
    """The sessions on one interface."""

    def __init__(self, interface: str) -> None:
        self._with_path_id = interface == _INJECTOR_SESSION_ON
        self._sockets = [
            packets.listen(ethertype, interface, socket.IPPROTO_TCP)
            for ethertype in packets.ETHERTYPES
        ]
        self._streams: dict[object, Stream] = defaultdict(Stream)
        self._begun: set[Flow] = set()
        """The connections that had an OPEN: it may be refused, since there is one already."""
        # After the sockets: what begins in between is in one of both at least.
        self._alive = inward(_established())

    def messages(self) -> dict[str, Any]:
        """Return what has arrived since it was asked last."""
        updates: list[dict[str, Any]] = []
        others = 0
        # The kernel's timestamps are of the other clock.
        behind_s = time.time() - time.monotonic()
        for sock in self._sockets:
            for at, packet in packets.drain(sock, 1 << 17):
                found = segment(packet)
                if found is None:
                    continue
                for kind, body in self._streams[found.flow].take(found):
                    if self._is_gone(found.flow, kind):
                        continue  # Sent again and again.
                    if kind != _UPDATE:
                        others += 1
                        continue
                    announced, withdrew = prefixes(body, with_path_id=self._with_path_id)
                    updates.append(
                        {
                            "at": at - behind_s,
                            "from": found.source,
                            "to": found.target,
                            "announced": announced,
                            "withdrew": withdrew,
                            "body": body.hex(),
                        }
                    )
        return {"others": others, "updates": updates}

    def _is_gone(self, flow: Flow, kind: int) -> bool:
        """Return whether there is another connection instead, as far as this message shows."""
        if kind == _OPEN:
            self._begun.add(flow)
        elif kind == _UPDATE and flow in self._begun:
            # RFC 4271, section 6.8: with an UPDATE it is the one that was kept.
            self._begun.remove(flow)
            self._alive[flow[0]] = {flow}
        alive = self._alive.get(flow[0], set())
        return bool(alive) and flow not in alive and flow not in self._begun


def main() -> None:
    """Obey until the end of stdin."""
    watched = {interface: Watched(interface) for interface in sys.argv[1:]}
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        found = {interface: sessions.messages() for interface, sessions in watched.items()}
        print(json.dumps(found if line.strip() == "messages" else {}), flush=True)


if __name__ == "__main__":
    main()
