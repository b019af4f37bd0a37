"""Packets that arrive on an interface, kept by the kernel until they are asked for."""

from __future__ import annotations

import ctypes
import errno
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
_SO_ATTACH_FILTER = 26
_TIMESPEC = struct.Struct("@qq")


_INSTRUCTION = struct.Struct("=HBBI")
_PROTOCOL_AT = {0x0800: 9, 0x86DD: 6}
"""Where a packet says what it carries."""


def _only(ethertype: int, protocol: int) -> bytes:
    """Return a filter for the kernel (classic BPF) that keeps packets of one protocol."""
    program = (
        (0x30, 0, 0, _PROTOCOL_AT[ethertype]),  # load that byte
        (0x15, 0, 1, protocol),  # another one: skip the next line
        (0x06, 0, 0, 0xFFFFFFFF),  # keep all of it
        (0x06, 0, 0, 0),  # keep nothing
    )
    return b"".join(_INSTRUCTION.pack(*line) for line in program)


def listen(ethertype: int, interface: str, protocol: int | None = None) -> socket.socket:
    """Return a socket that keeps what arrives from now on, without the link layer's header.

    Args:
        ethertype: of `ETHERTYPES`.
        interface: where.
        protocol: keep packets that carry this alone (IPPROTO_TCP); None: all of them.
    """
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ethertype))
    if protocol is not None:
        lines = _only(ethertype, protocol)
        kept = ctypes.create_string_buffer(lines)
        program = struct.pack("@HP", len(lines) // _INSTRUCTION.size, ctypes.addressof(kept))
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
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
        except OSError as error:
            # Said once when the interface goes down; what had arrived is there, and more will come.
            if error.errno != errno.ENETDOWN:
                raise
            continue
        seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2])
        yield seconds + nanoseconds / 1e9, packet
