from __future__ import annotations

from lab import watch
from lab.watch import RouteChange, Verdict

LINE = (
    'tor {"event":"path_changed","uplink":"tor2","family":"ipv4","from":"%s","to":"%s",'
    '"reason":"beyond_failed","at":%s} and more'
)


def change(at: float, *uplinks: str, route: str = "default", family: str = "ipv4") -> RouteChange:
    return RouteChange(at, route, family, uplinks, None)


def test_verdicts_are_found_between_other_lines() -> None:
    log = [
        "reactor | connected to peer-1",
        '{"event": "started", "at": 1.0}',
        "api { processes [ bgphealth ]; }",
        LINE % ("up", "down", "12.5"),
        "{broken",
    ]

    assert watch.verdicts(log) == [Verdict(12.5, "tor2", "ipv4", "up", "down", "beyond_failed")]


def test_first_verdict_is_the_fall_after_the_fault() -> None:
    found = watch.verdicts(
        LINE % words
        for words in (
            ("up", "down", "1.0"),
            ("down", "up", "2.0"),
            ("down", "down", "3.1"),  # only its reason is new
            ("up", "down", "3.5"),
            ("up", "down", "9.0"),
        )
    )

    assert watch.first_verdict(found, "ipv4", ["tor2"], since=3.0) == 0.5
    assert watch.first_verdict(found, "ipv6", ["tor2"], since=3.0) is None
    assert watch.first_verdict(found, "ipv4", ["tor2", "tor1"], since=3.0) is None


def test_a_route_has_left_when_none_of_the_tors_is_used() -> None:
    changes = [
        change(1.0, "tor1", "tor2"),
        change(5.2, "tor1", "tor2"),
        change(5.3, "tor1", family="ipv6"),
        change(5.4, "tor1", route="service"),
        change(5.5, "tor1"),
        change(6.0, "tor1"),
    ]

    assert watch.first_without(changes, "default", "ipv4", ["tor2"], since=5.0) == 0.5
    assert watch.first_without(changes, "default", "ipv4", ["tor2"], since=6.5) is None
    assert watch.first_without(changes, "loopback", "ipv4", ["tor2"], since=5.0) is None
