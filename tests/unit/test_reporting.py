"""What is said once, and what is said again."""

from __future__ import annotations

import structlog
from structlog.testing import LogCapture

from bgphealth.core.health import PathKey
from bgphealth.core.settings import Family
from bgphealth.daemon.reporting import Reporter
from bgphealth.exabgp.driver import NeighborChanged
from bgphealth.exabgp.replies import NeighborState
from bgphealth.fallback.tables import Applied


def levels(*states: tuple[str, str]) -> list[str]:
    capture = LogCapture()
    reporter = Reporter(structlog.wrap_logger(None, processors=[capture]))
    for state, reason in states:
        reporter.driver(NeighborChanged(NeighborState("127.0.0.1", state, reason)))
    return [entry["log_level"] for entry in capture.entries]


def test_a_session_that_cannot_be_opened_is_said_once_per_reason() -> None:
    tried = ("down", "closing connection")
    assert levels(tried, tried, ("down", "hold timer"), ("down", "hold timer")) == [
        "warning",
        "debug",
        "warning",
        "debug",
    ]


def test_a_session_that_is_lost_again_is_said_again() -> None:
    lost = ("down", "closing connection")
    assert levels(lost, ("up", ""), lost) == ["warning", "info", "warning"]


def test_a_fallback_default_that_cannot_be_written_is_said_once_per_reason() -> None:
    capture = LogCapture()
    reporter = Reporter(structlog.wrap_logger(None, processors=[capture]))
    path = PathKey("tor1", Family.IPV4)
    for why in ("taken", "taken", "gone", None, "gone"):
        done = () if why else ("added",)
        reporter.kernel(Applied(done, {}, {path: why} if why else {}))
    assert [(e["event"], e.get("why")) for e in capture.entries] == [
        ("fallback_absent", "taken"),
        ("fallback_absent", "gone"),
        ("kernel_changed", None),
        ("fallback_absent", "gone"),
    ]
