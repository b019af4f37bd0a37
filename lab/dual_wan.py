"""What the lab's measurements know about ``dual-wan`` and its twin: names and addresses."""

from __future__ import annotations

from typing import Final

NAME: Final = "dual-wan"
CLASSIC: Final = "dual-wan-classic"
"""With a shell loop in bgphealth's place."""

NAMES: Final = (NAME, CLASSIC)

GATEWAY_BEHIND: Final = {"eth1": "gw1", "eth2": "gw2"}
"""The gateway behind each interface, the preferred one first: the same on server and core."""

LINK_GATEWAY: Final = {
    "ipv4": {"eth1": "10.0.1.1", "eth2": "10.0.2.1"},
    "ipv6": {"eth1": "2001:db8:1::1", "eth2": "2001:db8:2::1"},
}
LINK_ADDRESS: Final = {
    "ipv4": {"eth1": "10.0.1.10", "eth2": "10.0.2.10"},
    "ipv6": {"eth1": "2001:db8:1::10", "eth2": "2001:db8:2::10"},
}
"""The server's own."""

LOG: Final = "/var/log/bgphealth.log"
LOGS: Final = (LOG, "/var/log/failover.log")
