"""What the lab's measurements know about the topology ``dual-tor``: names and addresses."""

from __future__ import annotations

from typing import Final

NAME: Final = "dual-tor"

SERVER: Final = "server1"
CORE: Final = "core"

FAMILIES: Final = ("ipv4", "ipv6")

TOR_BEHIND: Final = {"eth1": "tor1", "eth2": "tor2"}
"""The ToR behind each interface: the same on the server and on the core."""

SERVICE: Final = {"ipv4": "192.0.2.53", "ipv6": "2001:db8::53"}
LOOPBACK: Final = {"ipv4": "10.255.10.1", "ipv6": "2001:db8:10::1"}
CLIENT: Final = {"ipv4": "203.0.113.10", "ipv6": "2001:db8:113::10"}
TARGET: Final = {"ipv4": "198.51.100.1", "ipv6": "2001:db8:100::1"}

ECHO_PORT: Final = 7

EXABGP_LOG: Final = "/var/log/exabgp.log"
"""On the server: ExaBGP's own lines and, between them, bgphealth's."""

LOGS: Final = (
    "/var/log/exabgp.log",
    "/var/log/service.log",
    "/var/log/frr/start.log",
    "/var/log/frr/frr.log",
)
