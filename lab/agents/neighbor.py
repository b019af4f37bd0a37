"""A neighbor that sees when probes arrive, and goes dark on command.

``python -m lab.agents.neighbor INTERFACE`` in a node: each line of stdin is a command, each has one
line of JSON as its answer, the end of stdin is the end.

- ``dark``, ``light``: the kernel ceases or begins to answer echo requests, both families, at
  ``at`` (CLOCK_MONOTONIC). A write to two files: silent, and over within microseconds.
- ``forget``: what has arrived so far does not count.
- ``times``: when the echo requests since then arrived, per destination, by the kernel's own
  timestamps (CLOCK_REALTIME).

Between commands it sleeps and the kernel keeps the packets, so that it takes no time away from
what is measured.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time
from collections import defaultdict
from pathlib import Path

_ETHERTYPES = (0x0800, 0x86DD)
"""IPv4 and IPv6. A packet socket for one type, unlike one for all, sees only what comes in."""

_BUFFER = 128 << 20
"""Bytes; with its bookkeeping an echo request takes less than one KiB of them."""

_SO_TIMESTAMPNS = 35
_SO_RCVBUFFORCE = 33
_TIMESPEC = struct.Struct("@qq")
_ECHO_SWITCHES = ("net/ipv4/icmp_echo_ignore_all", "net/ipv6/icmp/echo_ignore_all")


def _open(ethertype: int, interface: str) -> socket.socket:
    # Datagram: the kernel removes the link layer's header.
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ethertype))
    sock.bind((interface, ethertype))
    sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    sock.settimeout(0)
    return sock


def destination(packet: bytes) -> str | None:
    """Return where an echo request goes; None for anything else."""
    version = packet[0] >> 4
    if version == 4:  # noqa: PLR2004 - RFC 791
        header = (packet[0] & 15) * 4
        if packet[9] == 1 and packet[header] == 8:  # noqa: PLR2004 - RFC 792
            return socket.inet_ntop(socket.AF_INET, packet[16:20])
    elif packet[6] == 58 and packet[40] == 128:  # noqa: PLR2004 - RFC 4443
        return socket.inet_ntop(socket.AF_INET6, packet[24:40])
    return None


def _drain(sock: socket.socket) -> dict[str, list[float]]:
    times: dict[str, list[float]] = defaultdict(list)
    while True:
        try:
            packet, ancillary, _, _ = sock.recvmsg(128, socket.CMSG_SPACE(_TIMESPEC.size))
        except BlockingIOError:
            return times
        target = destination(packet)
        if target is not None:
            seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2])
            times[target].append(seconds + nanoseconds / 1e9)


def _switch(*, dark: bool) -> float:
    at = time.monotonic()
    for name in _ECHO_SWITCHES:
        Path("/proc/sys", name).write_text(f"{int(dark)}\n", encoding="ascii")
    return at


def main() -> None:
    """Obey until the end of stdin."""
    sockets = [_open(ethertype, sys.argv[1]) for ethertype in _ETHERTYPES]
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        command = line.strip()
        answer: dict[str, object] = {}
        if command in ("dark", "light"):
            answer = {"at": _switch(dark=command == "dark")}
        else:
            times = {t: list(v) for sock in sockets for t, v in _drain(sock).items()}
            answer = {"times": times if command == "times" else {}}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
