"""What is said once, and what is said again."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import structlog
from structlog.testing import LogCapture

from bgphealth.core.events import AlternativesSeen, AlternativesUnknown, Event
from bgphealth.core.health import PathKey
from bgphealth.core.settings import Family, Pin, SourcePolicy
from bgphealth.core.state import AlternativesWanted
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


def test_a_pin_or_a_policy_that_cannot_be_is_said_once_and_again_after_it_was() -> None:
    capture = LogCapture()
    reporter = Reporter(structlog.wrap_logger(None, processors=[capture]))
    pin = Pin(IPv4Network("203.0.113.0/24"), IPv4Address("10.255.10.9"))
    policy = SourcePolicy(IPv4Address("10.255.10.7"), "tor1", is_strict=True)
    for wish, done in ((pin, ()), (pin, ()), (policy, ()), (None, ("added",)), (policy, ())):
        reporter.kernel(Applied(done, {}, unmet={wish: "gone"} if wish is not None else {}))
    assert [(e["event"], e.get("what"), e.get("why")) for e in capture.entries] == [
        ("source_absent", "pin to 203.0.113.0/24 from 10.255.10.9", "gone"),
        ("source_absent", "policy from 10.255.10.7 through tor1 or not at all", "gone"),
        ("kernel_changed", None, None),
        ("source_absent", "policy from 10.255.10.7 through tor1 or not at all", "gone"),
    ]


PREFIX = IPv4Network("192.0.2.53/32")


def said(*things: Event | AlternativesWanted) -> list[tuple[str, str]]:
    capture = LogCapture()
    reporter = Reporter(structlog.wrap_logger(None, processors=[capture]))
    for thing in things:
        if isinstance(thing, AlternativesWanted):
            reporter.effect(thing)
        else:
            reporter.answer(thing)
    return [(entry["event"], entry["log_level"]) for entry in capture.entries]


def test_what_is_seen_of_others_is_said_when_it_changes() -> None:
    wanted = AlternativesWanted(0.0, (PREFIX,))
    there = [AlternativesSeen(at, (PREFIX,), (PREFIX,), "10.255.20.1") for at in (1.0, 2.0)]
    gone = [AlternativesSeen(at, (PREFIX,), ()) for at in (3.0, 4.0)]
    unknown = [AlternativesUnknown(at, "bgpd is not running") for at in (5.0, 6.0)]
    seen = ("alternatives_seen", "info")
    expected = [seen, seen, ("alternatives_unknown", "warning")]
    assert said(wanted, *there, *gone, *unknown) == expected
    # Another time is another story.
    assert said(wanted, there[0], AlternativesWanted(2.0, ()), wanted, there[1]) == [seen, seen]
