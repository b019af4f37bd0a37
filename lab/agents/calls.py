"""Makes short calls: each with a socket of its own, whose source the kernel chooses at that moment.

``python -m lab.agents.calls``: the first line of stdin is the order, the end of stdin the end. Then
it prints, per family, one entry per call: when it was sent (CLOCK_MONOTONIC), from which source
(null when it could not be sent), and whether the echo came back.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from dataclasses import dataclass

_STRAGGLERS_S = 0.5
_FAMILY = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}


@dataclass(slots=True)
class _Call:
    at: float
    source: str | None
    answered: bool = False


def main() -> None:
    """Call from the first line of stdin until its end, then print the result."""
    order = json.loads(sys.stdin.readline())
    calls: dict[str, list[_Call]] = {family: [] for family in order["targets"]}
    waiting: dict[socket.socket, _Call] = {}
    print(json.dumps({"ready": True}), flush=True)
    ends_at = float("inf")
    due = time.monotonic()
    while (now := time.monotonic()) < ends_at:
        if now >= due and ends_at == float("inf"):
            due = max(due + order["interval_s"], now)
            for family, target in order["targets"].items():
                calls[family].append(_call(_FAMILY[family], target, order["port"], waiting))
        until = min(due, ends_at) if ends_at == float("inf") else ends_at
        wait_s = max(0.0, until - time.monotonic())
        watched = [*waiting, *([sys.stdin] if ends_at == float("inf") else [])]
        for ready in select.select(watched, [], [], wait_s)[0]:
            if isinstance(ready, socket.socket):
                _answer(ready, waiting)
            else:
                ends_at = time.monotonic() + _STRAGGLERS_S
        _give_up(waiting)
    found = {f: [(c.at, c.source, c.answered) for c in made] for f, made in calls.items()}
    print(json.dumps(found), flush=True)


def _call(family: int, target: str, port: int, waiting: dict[socket.socket, _Call]) -> _Call:
    udp = socket.socket(family, socket.SOCK_DGRAM)
    at = time.monotonic()
    try:
        udp.connect((target, port))
        udp.send(b"?" * 32)
    except OSError:
        udp.close()
        return _Call(at, None)
    call = waiting[udp] = _Call(at, udp.getsockname()[0])
    return call


def _answer(udp: socket.socket, waiting: dict[socket.socket, _Call]) -> None:
    try:
        udp.recv(2048)
    except OSError:  # The network refused it.
        pass
    else:
        waiting[udp].answered = True
    del waiting[udp]
    udp.close()


def _give_up(waiting: dict[socket.socket, _Call]) -> None:
    """Close what was sent too long ago; later calls are later in the mapping."""
    for udp, call in list(waiting.items()):
        if time.monotonic() - call.at < _STRAGGLERS_S:
            return
        del waiting[udp]
        udp.close()


if __name__ == "__main__":
    main()
