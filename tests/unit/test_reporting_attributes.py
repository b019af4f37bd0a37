"""What the log says of the attributes that a route has; of others it says nothing."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from bgphealth.core.decisions import Decision
from bgphealth.core.intents import Announcement, Community, LargeCommunity, RouteKey
from bgphealth.core.reasons import Reason
from bgphealth.core.state import DecisionChanged
from bgphealth.daemon.reporting import Reporter

KEY = RouteKey(ip_network("192.0.2.53/32"), neighbor=ip_address("10.0.1.0"))
PLAIN = Announcement(KEY, None, None)
FULL = Announcement(
    KEY, None, None, (Community(65000, 100),), (LargeCommunity(65101, 1, 1),), 0, (65101, 65101)
)


@pytest.mark.parametrize(
    ("announcement", "sometimes"),
    [
        (PLAIN, {"communities": []}),
        (
            FULL,
            {
                "communities": ["65000:100"],
                "large_communities": ["65101:1:1"],
                "med": 0,
                "as_path": [65101, 65101],
            },
        ),
    ],
    ids=["plain", "full"],
)
def test_an_announcement_is_logged_with_what_it_carries(
    announcement: Announcement, sometimes: dict[str, Any]
) -> None:
    lines = LogCapture()
    log = structlog.wrap_logger(structlog.PrintLogger(), processors=[lines])
    change = DecisionChanged(1.0, KEY, None, Decision(announcement, Reason.SERVICE_UP))
    Reporter(log).effect(change)
    assert lines.entries == [
        {
            "event": "announce",
            "log_level": "info",
            "at": 1.0,
            "route": "192.0.2.53/32 to 10.0.1.0",
            "next_hop": "self",
            "local_pref": None,
            "reason": "service_up",
            **sometimes,
        }
    ]
