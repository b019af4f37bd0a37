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
import sys
import time
from collections import defaultdict
from pathlib import Path

from lab.agents import packets

_ECHO_SWITCHES = ("net/ipv4/icmp_echo_ignore_all", "net/ipv6/icmp/echo_ignore_all")


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
    for at, packet in packets.drain(sock, 128):
        target = destination(packet)
        if target is not None:
            times[target].append(at)
    return times


def _switch(*, dark: bool) -> float:
    at = time.monotonic()
    for name in _ECHO_SWITCHES:
        Path("/proc/sys", name).write_text(f"{int(dark)}\n", encoding="ascii")
    return at


def main() -> None:
    """Obey until the end of stdin."""
    sockets = [packets.listen(ethertype, sys.argv[1]) for ethertype in packets.ETHERTYPES]
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
