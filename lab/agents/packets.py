"""Packets that arrive on an interface, kept by the kernel until they are asked for."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ETHERTYPES = (0x0800, 0x86DD)
"""IPv4 and IPv6. A packet socket for one type, unlike one for all, sees only what comes in."""

_BUFFER = 128 << 20
"""Bytes; with its bookkeeping a small packet takes less than one KiB of them."""

_SO_TIMESTAMPNS = 35
_SO_RCVBUFFORCE = 33
_TIMESPEC = struct.Struct("@qq")


def listen(ethertype: int, interface: str) -> socket.socket:
    """Return a socket that keeps what arrives from now on, without the link layer's header."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ethertype))
    sock.bind((interface, ethertype))
    sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    sock.settimeout(0)
    return sock


def drain(sock: socket.socket, most: int) -> Iterator[tuple[float, bytes]]:
    """Yield all that has arrived: when (CLOCK_REALTIME, by the kernel), and its first bytes.

    Args:
        sock: from `listen`.
        most: how many bytes of each packet are of interest.
    """
    while True:
        try:
            packet, ancillary, _, _ = sock.recvmsg(most, socket.CMSG_SPACE(_TIMESPEC.size))
        except BlockingIOError:
            return
        seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2])
        yield seconds + nanoseconds / 1e9, packet
