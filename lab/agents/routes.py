"""Tells, at the moment it happens, which interfaces the kernel uses for some destinations.

``python -m lab.agents.routes``: the first line of stdin is the order, the end of stdin the end.
One line of JSON per change, ``{"at": …, "route": …, "interfaces": […], "source": …}``. Netlink only
says that something changed; what the kernel then has is read back from it, and `at` is the moment
it was read, so a time can be late by the millisecond that this takes, but never early.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from pyroute2 import IPRoute

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_FAMILY = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
_MAIN_TABLE = 254
_HOST_LENGTH = {"ipv4": 32, "ipv6": 128}
_DEAD = 1
"""RTNH_F_DEAD: the kernel does not use that next hop."""

_EVENTS = frozenset({"RTM_NEWROUTE", "RTM_DELROUTE", "RTM_NEWLINK", "RTM_DELLINK"})

_State = tuple[tuple[str, ...], str | None]


def _look_up(messages: Iterable[Any], route: Mapping[str, str], names: Mapping[int, str]) -> _State:
    """Return the interfaces and the source of the best route to exactly that destination."""
    address = None if route["destination"] == "default" else route["destination"]
    length = 0 if address is None else _HOST_LENGTH[route["family"]]
    found = [m for m in messages if m["dst_len"] == length and m.get_attr("RTA_DST") == address]
    if not found:
        return (), None
    metric = min(m.get_attr("RTA_PRIORITY") or 0 for m in found)
    interfaces: set[str] = set()
    source = None
    for message in found:
        if (message.get_attr("RTA_PRIORITY") or 0) != metric:
            continue
        source = message.get_attr("RTA_PREFSRC") or source
        hops = message.get_attr("RTA_MULTIPATH") or [
            {"oif": message.get_attr("RTA_OIF"), "flags": message["flags"]}
        ]
        interfaces |= {
            names.get(hop["oif"], "?") for hop in hops if hop["oif"] and not hop["flags"] & _DEAD
        }
    return tuple(sorted(interfaces)), source


def _watch(routes: Iterable[Mapping[str, str]]) -> None:
    known: dict[str, _State] = {}
    with IPRoute() as listener, IPRoute() as reader:
        listener.bind()
        names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in reader.get_links()}
        while True:
            for family, number in _FAMILY.items():
                dump = list(reader.get_routes(family=number, table=_MAIN_TABLE))
                at = time.monotonic()
                for route in routes:
                    if route["family"] != family:
                        continue
                    state = _look_up(dump, route, names)
                    if known.get(route["name"]) != state:
                        known[route["name"]] = state
                        _tell(at, route["name"], state)
            while not any(message["event"] in _EVENTS for message in listener.get()):
                pass


def _tell(at: float, name: str, state: _State) -> None:
    line = {"at": at, "route": name, "interfaces": state[0], "source": state[1]}
    print(json.dumps(line), flush=True)


def main() -> None:
    """Watch until stdin ends."""
    order = json.loads(sys.stdin.readline())
    threading.Thread(target=_watch, args=(order["routes"],), daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
