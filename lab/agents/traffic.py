"""Sends numbered UDP datagrams to an echo service and notes which come back.

``python -m lab.agents.traffic``: the first line of stdin is the order, the end of stdin the end.
All flows are sent at the same ticks, so the result is one list of times and, per flow, one string
of ``1`` (answered) and ``0`` (lost). Times are CLOCK_MONOTONIC, the same clock in every namespace.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import struct
import sys
import time
from dataclasses import dataclass, field
from typing import Any

_NUMBER = struct.Struct("!I")
_PAYLOAD = _NUMBER.size + 28
_STRAGGLERS_S = 0.5
"""How long an answer to the last datagrams may take; longer than any queue in the lab."""

_FAMILY = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}


@dataclass(slots=True)
class _Flow:
    udp: socket.socket
    family: str
    target: tuple[str, int] | None
    """None when connected: then the source stays what it was at the beginning."""
    answers: bytearray = field(default_factory=bytearray)

    @classmethod
    def open(cls, order: dict[str, Any]) -> _Flow:
        udp = socket.socket(_FAMILY[order["family"]], socket.SOCK_DGRAM)
        udp.settimeout(0)
        if order["source"] is not None:
            udp.bind((order["source"], 0))
        target = (order["target"], order["port"])
        if order["connected"]:
            udp.connect(target)
            return cls(udp, order["family"], None)
        return cls(udp, order["family"], target)

    def send(self, number: int) -> None:
        self.answers.append(ord("0"))
        # Whatever cannot be sent is as lost to the user as what the network drops.
        with contextlib.suppress(OSError):
            data = _NUMBER.pack(number).ljust(_PAYLOAD, b"\0")
            if self.target is None:
                self.udp.send(data)
            else:
                self.udp.sendto(data, self.target)

    def receive(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                (number,) = _NUMBER.unpack_from(self.udp.recv(2048))
                if number < len(self.answers):
                    self.answers[number] = ord("1")

    def result(self) -> dict[str, object]:
        source, port = self.udp.getsockname()[:2]
        return {
            "family": self.family,
            "source": source,
            "port": port,
            "answers": self.answers.decode("ascii"),
        }


def _poll(selector: selectors.BaseSelector, until: float) -> bool:
    """Receive until that time; return whether stdin has ended."""
    while True:
        for key, _ in selector.select(max(0.0, until - time.monotonic())):
            if key.data is None:
                selector.unregister(key.fileobj)
                return True
            key.data.receive()
        if time.monotonic() >= until:
            return False


def main() -> None:
    """Send from the first line of stdin until its end, then print the result."""
    order = json.loads(sys.stdin.readline())
    interval = float(order["interval_s"])
    flows = [_Flow.open(flow) for flow in order["flows"]]
    selector = selectors.DefaultSelector()
    for flow in flows:
        selector.register(flow.udp, selectors.EVENT_READ, flow)
    selector.register(sys.stdin, selectors.EVENT_READ, None)
    print(json.dumps({"ready": True}), flush=True)

    times: list[float] = []
    due = time.monotonic()
    while not _poll(selector, due):
        times.append(time.monotonic())
        for flow in flows:
            flow.send(len(times) - 1)
        # A late tick moves the following ones: bursts would measure the queue, not the network.
        due = max(due + interval, time.monotonic())
    _poll(selector, time.monotonic() + _STRAGGLERS_S)
    print(json.dumps({"times": times, "flows": [flow.result() for flow in flows]}), flush=True)


if __name__ == "__main__":
    main()
