"""A router at the end of a link, as far as a host sees it: ``python -m tests.support.router IF``.

It answers router solicitations (RFC 4861, section 4.1) with advertisements, and sends one from an
address that a line of stdin names, with a lifetime and a prefix if they follow, separated by
commas. Its kernel does the rest: it needs ``forwarding`` to say in its
neighbor advertisements that it is a router.
"""

from __future__ import annotations

import os
import selectors
import socket
import struct
import sys
from ipaddress import IPv6Network

SOLICITATION, ADVERTISEMENT = 133, 134
STDIN = 0
HOP_LIMIT = 255
ALL_NODES = "ff02::1"


def _advertisement(interface: str, lifetime_s: int, prefix: str | None) -> bytes:
    """Return one with the link-layer address; with lifetime 0 it is nobody's default.

    Hosts give themselves an address in the prefix (RFC 4862), for an hour.
    """
    head = struct.pack("!BBHBBHII", ADVERTISEMENT, 0, 0, 64, 0, lifetime_s, 0, 0)
    option = b""
    if prefix is not None:
        network = IPv6Network(prefix)
        on_link_autonomous = 0x80 | 0x40
        option = struct.pack("!BBBBIII", 3, 4, network.prefixlen, on_link_autonomous, 3600, 3600, 0)
        option += network.network_address.packed
    return head + struct.pack("!BB", 1, 1) + _mac(interface) + option


def _mac(interface: str) -> bytes:
    # Not from /sys: that is still the one of the namespace that mounted it.
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((interface, 0))
        address: bytes = sock.getsockname()[4]
        return address


def _advertise(
    interface: str,
    index: int,
    source: str | None,
    lifetime_s: int = 0,
    prefix: str | None = None,
) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, HOP_LIMIT)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        if source is not None:
            sock.bind((source, 0, 0, index))
        sock.sendto(_advertisement(interface, lifetime_s, prefix), (ALL_NODES, 0, 0, index))


def main() -> None:
    """Serve until stdin ends."""
    interface = sys.argv[1]
    index = socket.if_nametoindex(interface)
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
        group = socket.inet_pton(socket.AF_INET6, "ff02::2") + struct.pack("@I", index)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
        selector = selectors.DefaultSelector()
        selector.register(sock, selectors.EVENT_READ)
        selector.register(STDIN, selectors.EVENT_READ)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            for key, _ in selector.select():
                if key.fd == STDIN:
                    # Not readline(): what it keeps for itself is not seen by select().
                    lines = os.read(STDIN, 4096).decode().split()
                    if not lines:
                        return
                    for line in lines:
                        source, lifetime_s, prefix = (*line.split(","), "0", "")[:3]
                        _advertise(interface, index, source, int(lifetime_s), prefix or None)
                elif sock.recv(2048)[0] == SOLICITATION:
                    _advertise(interface, index, None)


if __name__ == "__main__":
    main()
