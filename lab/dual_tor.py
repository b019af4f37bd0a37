"""What the lab's measurements know about ``dual-tor`` and its like: names and addresses."""

from __future__ import annotations

from typing import Final

NAME: Final = "dual-tor"
UNNUMBERED: Final = "dual-tor-unnumbered"
DIRECT: Final = "dual-tor-direct"
"""Without FRR on the server, whose default nobody steers."""

PLAIN: Final = {NAME: "dual-tor-plain", UNNUMBERED: "dual-tor-unnumbered-plain"}
"""Each without bgphealth: the server's FRR announces everything all the time."""

NAMES: Final = (NAME, UNNUMBERED, *PLAIN.values())
"""The same nodes, interfaces, loopbacks and targets everywhere: faults are measured on them."""

SERVER: Final = "server1"
CORE: Final = "core"

FAMILIES: Final = ("ipv4", "ipv6")

TOR_BEHIND: Final = {"eth1": "tor1", "eth2": "tor2"}
"""The ToR behind each interface: the same on the server and on the core."""

SERVICE: Final = {"ipv4": "192.0.2.53", "ipv6": "2001:db8::53"}
LOOPBACK: Final = {"ipv4": "10.255.10.1", "ipv6": "2001:db8:10::1"}
CLIENT: Final = {"ipv4": "203.0.113.10", "ipv6": "2001:db8:113::10"}
TARGET: Final = {"ipv4": "198.51.100.1", "ipv6": "2001:db8:100::1"}

_LINK_GATEWAY: Final = {
    NAME: {
        "ipv4": {"eth1": "10.0.1.0", "eth2": "10.0.2.0"},
        "ipv6": {"eth1": "2001:db8:1::", "eth2": "2001:db8:2::"},
    },
    # Nobody's address: a route through it can be made and found again.
    UNNUMBERED: {
        "ipv4": dict.fromkeys(TOR_BEHIND, "inet6 fe80::f00"),
        "ipv6": dict.fromkeys(TOR_BEHIND, "fe80::f00"),
    },
}
LINK_GATEWAY: Final = {
    **_LINK_GATEWAY,
    **{PLAIN[name]: hops for name, hops in _LINK_GATEWAY.items()},
    DIRECT: _LINK_GATEWAY[NAME],
}
"""A next hop on each of the server's links, in the words of ip(8)."""

ECHO_PORT: Final = 7

EXABGP_LOG: Final = "/var/log/exabgp.log"
"""On the server: ExaBGP's own lines and, between them, bgphealth's."""

LOGS: Final = (
    "/var/log/exabgp.log",
    "/var/log/service.log",
    "/var/log/frr/start.log",
    "/var/log/frr/frr.log",
)
