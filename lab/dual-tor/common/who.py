#!/usr/bin/env python3
"""Which server answers? ``who.py [--seconds N] [ADDRESS…]``: a line per address and second.

Asks each address once a second, in 20 flows, for its host's name (`echo.py` tells it). Different
source ports are different flows to the routers, so what is shown is how they spread them.
"""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import itertools
import select
import socket
import time
from collections import Counter

NAME_PORT = 17
FLOWS = 20
_ADDRESSES = ("192.0.2.53", "2001:db8::53")
_NOBODY = "no answer"


def opened(address: str) -> list[socket.socket]:
    """Return the flows to an address."""
    version = ipaddress.ip_address(address).version
    family = socket.AF_INET if version == 4 else socket.AF_INET6  # noqa: PLR2004
    flows = [socket.socket(family, socket.SOCK_DGRAM) for _ in range(FLOWS)]
    for flow in flows:
        flow.settimeout(0)
    return flows


def _receive(flow: socket.socket) -> str | None:
    # An error is an answer too: the host is there, the service is not.
    with contextlib.suppress(OSError):
        return flow.recv(256).decode(errors="replace")
    return None


def ask(flows: list[socket.socket], address: str, until: float) -> Counter[str]:
    """Ask once in every flow; return how many were answered by whom until then (monotonic)."""
    for flow in flows:
        while _receive(flow) is not None:
            pass  # of a second ago
        with contextlib.suppress(OSError):
            flow.sendto(b"?", (address, NAME_PORT))
    found: Counter[str] = Counter()
    waiting = set(flows)
    while waiting and (left := until - time.monotonic()) > 0:
        for flow in select.select(list(waiting), [], [], left)[0]:
            waiting.discard(flow)
            found[_receive(flow) or _NOBODY] += 1
    if waiting:
        found[_NOBODY] += len(waiting)
    return found


def line(address: str, found: Counter[str], known: set[str]) -> str:
    """Return what is shown of an address: each server that was ever seen, in the same place."""
    servers = (f"{name} {found[name]:>2} {'#' * found[name]:<{FLOWS}}" for name in sorted(known))
    lost = f"  {_NOBODY} {found[_NOBODY]}" if found[_NOBODY] else ""
    return f"{time.strftime('%H:%M:%S')}  {address:<14}" + "  ".join(servers) + lost


def main() -> None:
    """Ask until killed, or for so long."""
    parser = argparse.ArgumentParser(description="Which server answers?")
    parser.add_argument("--seconds", type=int, help="For so long; until Ctrl-C when left out.")
    parser.add_argument("addresses", nargs="*", default=_ADDRESSES, metavar="ADDRESS")
    arguments = parser.parse_args()
    flows = {address: opened(address) for address in arguments.addresses}
    known: dict[str, set[str]] = {address: set() for address in flows}
    start = time.monotonic()
    for second in itertools.count():
        if second == arguments.seconds:
            break
        for number, (address, own) in enumerate(flows.items(), start=1):
            until = start + second + number / len(flows)
            found = ask(own, address, until)
            known[address] |= found.keys() - {_NOBODY}
            print(line(address, found, known[address]), flush=True)
            time.sleep(max(0.0, until - time.monotonic()))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
