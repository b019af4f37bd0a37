"""A router at the end of a link, as far as a host sees it: ``python -m tests.support.router IF``.

It answers router solicitations (RFC 4861, section 4.1) with advertisements, and sends one from an
address that a line of stdin names. Its kernel does the rest: it needs ``forwarding`` to say in its
neighbor advertisements that it is a router.
"""

from __future__ import annotations

import os
import selectors
import socket
import struct
import sys
from pathlib import Path

SOLICITATION, ADVERTISEMENT = 133, 134
STDIN = 0
HOP_LIMIT = 255
ALL_NODES = "ff02::1"


def _advertisement(interface: str) -> bytes:
    """Return one with lifetime 0 and the link-layer address: a router, but nobody's default."""
    mac = bytes.fromhex(
        Path(f"/sys/class/net/{interface}/address").read_text(encoding="ascii").replace(":", "")
    )
    head = struct.pack("!BBHBBHII", ADVERTISEMENT, 0, 0, 64, 0, 0, 0, 0)
    return head + struct.pack("!BB", 1, 1) + mac


def _advertise(interface: str, index: int, source: str | None) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, HOP_LIMIT)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        if source is not None:
            sock.bind((source, 0, 0, index))
        sock.sendto(_advertisement(interface), (ALL_NODES, 0, 0, index))


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
                    for source in lines:
                        _advertise(interface, index, source)
                elif sock.recv(2048)[0] == SOLICITATION:
                    _advertise(interface, index, None)


if __name__ == "__main__":
    main()
