"""Was it as the scenario says that it should be?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from bgphealth.core.decisions import Decision
from bgphealth.core.health import Judgement
from bgphealth.core.hysteresis import Level
from bgphealth.core.intents import RouteKey
from bgphealth.core.reasons import Reason
from bgphealth.core.scenario import (
    ChangesExpected,
    Expectation,
    PathExpected,
    RouteExpected,
    ServiceExpected,
)
from bgphealth.simulation.play import Played
from bgphealth.simulation.routes import carriers, route_name

_INSTANT_S = 0.0005
"""What happens at the time of an expectation has happened; times are told in milliseconds."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One expectation with what was seen, in words, and whether that is the same."""

    expectation: Expectation
    subject: str
    wanted: str
    saw: str
    held: bool


def compare(played: Played, expectations: tuple[Expectation, ...]) -> list[Compared]:
    """Return for each expectation whether it held."""
    return [_compare(played, each) for each in expectations]


def _compare(played: Played, expectation: Expectation) -> Compared:
    at = expectation.at + _INSTANT_S
    state = played.state_at(at)
    match expectation.expected:
        case PathExpected(path, level, reason):
            subject = f"path {path.uplink} {path.family}"
            return _verdict(expectation, subject, level, reason, state.path_verdicts[path])
        case ServiceExpected(service, level, reason):
            subject = f"service {service}"
            return _verdict(expectation, subject, level, reason, state.service_verdicts[service])
        case RouteExpected() as expected:
            decisions = [
                decision
                for key, decision in state.decisions.items()
                if (key.prefix, key.path_id) == (expected.prefix, expected.path_id)
            ]
            return _route(played, expectation, expected, decisions)
        case ChangesExpected(since, at_least, at_most):
            count = sum(since + _INSTANT_S < change <= at for change in played.changes)
            held = at_least <= count and (at_most is None or count <= at_most)
            wanted = _number(at_least, at_most)
            return Compared(expectation, f"changes after {since:g} s", wanted, f"{count}", held)
        case never:
            assert_never(never)


def _verdict(
    expectation: Expectation,
    subject: str,
    level: Level | None,
    reason: Reason | None,
    judgement: Judgement,
) -> Compared:
    wanted = " ".join(word for word in (level, reason) if word is not None)
    held = level in (None, judgement.level) and reason in (None, judgement.reason)
    evidence = f" ({judgement.evidence})" if judgement.evidence else ""
    saw = f"{judgement.level} {judgement.reason}{evidence}"
    return Compared(expectation, subject, wanted, saw, held)


def _route(
    played: Played, expectation: Expectation, expected: RouteExpected, decisions: list[Decision]
) -> Compared:
    # Of one prefix towards several neighbors, those that have it are what is looked at.
    looked_at = [d for d in decisions if d.outward is not None] or decisions
    announced = [d.outward for d in looked_at if d.outward is not None]
    uplinks = frozenset(name for a in announced for name in carriers(played.settings, a))
    held = (
        expected.announced in (None, bool(announced))
        and expected.uplinks in (None, uplinks)
        and all(expected.local_pref in (None, a.local_pref) for a in announced)
        and (expected.local_pref is None or bool(announced))
        and all(expected.reason in (None, d.reason) for d in looked_at)
    )
    words = []
    if expected.announced is not None:
        words.append("announced" if expected.announced else "not announced")
    if expected.uplinks is not None:
        words.append(_to(expected.uplinks))
    if expected.local_pref is not None:
        words.append(f"local_pref {expected.local_pref}")
    if expected.reason is not None:
        words.append(expected.reason)
    saw = ["not announced"]
    if announced:
        saw = ["announced" if expected.path_id else _to(uplinks)]
    saw += sorted({f"local_pref {a.local_pref}" for a in announced if a.local_pref is not None})
    saw += sorted({str(decision.reason) for decision in looked_at})
    subject = route_name(played.settings, RouteKey(expected.prefix, expected.path_id))
    return Compared(expectation, subject, ", ".join(words), ", ".join(saw), held)


def _number(at_least: int, at_most: int | None) -> str:
    if at_most is None:
        return f"at least {at_least}"
    if at_least == at_most:
        return f"{at_least}"
    return f"{at_least} to {at_most}" if at_least else f"at most {at_most}"


def _to(uplinks: frozenset[str]) -> str:
    return f"to {' + '.join(sorted(uplinks))}" if uplinks else "to no uplink"
