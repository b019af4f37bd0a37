#!/usr/bin/env python3
"""TCP and UDP echo (RFC 862) on port 7 of the addresses given: ``echo.py ADDRESS…``.

Who asks on UDP port 17 (RFC 865) is told the name of the host: with anycast, which server it was.
The lab's service on server1, and the targets on the core. It must cost little: every packet of
the traffic meter comes through here, on a machine that runs the whole lab.
"""

from __future__ import annotations

import contextlib
import ipaddress
import selectors
import socket
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PORT = 7
NAME_PORT = 17
_BATCH = 64
"""Datagrams answered before the next look at the other sockets."""

_BUFFER = 1 << 20


def _answer_datagrams(udp: socket.socket) -> None:
    # BlockingIOError is the end of the queue; other errors are a client that has gone.
    with contextlib.suppress(OSError):
        for _ in range(_BATCH):
            data, client = udp.recvfrom(2048)
            udp.sendto(data, client)


def _tell_name(udp: socket.socket) -> None:
    with contextlib.suppress(OSError):
        _, client = udp.recvfrom(2048)
        udp.sendto(socket.gethostname().encode(), client)


def _accept(tcp: socket.socket, selector: selectors.BaseSelector) -> None:
    with contextlib.suppress(OSError):
        connection, _ = tcp.accept()
        connection.settimeout(0)
        selector.register(connection, selectors.EVENT_READ, _echo(connection, selector))


def _echo(connection: socket.socket, selector: selectors.BaseSelector) -> Callable[[], None]:
    def answer() -> None:
        try:
            data = connection.recv(4096)
            if data and connection.send(data) == len(data):
                return
        except OSError:
            pass
        selector.unregister(connection)
        connection.close()

    return answer


def main() -> None:
    """Serve until killed."""
    selector = selectors.DefaultSelector()
    for text in sys.argv[1:]:
        version = ipaddress.ip_address(text).version
        family = socket.AF_INET if version == 4 else socket.AF_INET6  # noqa: PLR2004
        udp = socket.socket(family, socket.SOCK_DGRAM)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        udp.settimeout(0)
        udp.bind((text, PORT))
        selector.register(udp, selectors.EVENT_READ, lambda udp=udp: _answer_datagrams(udp))
        name = socket.socket(family, socket.SOCK_DGRAM)
        name.settimeout(0)
        name.bind((text, NAME_PORT))
        selector.register(name, selectors.EVENT_READ, lambda name=name: _tell_name(name))
        tcp = socket.create_server((text, PORT), family=family)
        tcp.settimeout(0)
        selector.register(tcp, selectors.EVENT_READ, lambda tcp=tcp: _accept(tcp, selector))
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            key.data()


if __name__ == "__main__":
    main()
