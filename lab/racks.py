"""What the lab's measurements know about ``anycast`` and ``fabric``: names and addresses.

Nodes, loopbacks, targets and the service of server1 are those of ``dual-tor``; there are more.
"""

from __future__ import annotations

from typing import Final

from lab import dual_tor

ANYCAST: Final = "anycast"
FABRIC: Final = "fabric"

SPINES: Final = ("spine1", "spine2")

TORS: Final = {f"eth{number}": f"tor{number}" for number in range(1, 5)}
"""The ToR behind each interface of what is above them: the core of one, the spines of the other."""

LINK_GATEWAY: Final = {
    ANYCAST: dual_tor.LINK_GATEWAY[dual_tor.NAME],
    FABRIC: {
        "ipv4": {"eth1": "10.0.11.0", "eth2": "10.0.21.0"},
        "ipv6": {"eth1": "2001:db8:a:11::", "eth2": "2001:db8:a:21::"},
    },
}
"""A next hop on each of server1's links, in the words of ip(8)."""
