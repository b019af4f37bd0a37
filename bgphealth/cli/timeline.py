"""What was played, as text for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, assert_never

from bgphealth.core.addresses import AddressChanged, AddressesChanged
from bgphealth.core.decisions import Decision
from bgphealth.core.drain import DrainEffect, DrainEnded, DrainResumed, DrainStarted, DrainSuspended
from bgphealth.core.health import Judgement
from bgphealth.core.intents import Announcement, RouteKey
from bgphealth.core.reasons import Reason
from bgphealth.core.settings import Mode, Settings
from bgphealth.core.state import (
    AlternativesWanted,
    DecisionChanged,
    IntentsChanged,
    PaceChanged,
    PathChanged,
    ServiceChanged,
)
from bgphealth.simulation.expectations import Compared
from bgphealth.simulation.play import Happened, Moment, Played
from bgphealth.simulation.routes import carriers, route_name

SCHEMA_VERSION = 1
"""Version of the JSON output: a new field does not change it, a changed or removed one does."""

_LOCAL_WORDS = {
    "announce": "in use",
    "withdraw": "spare",
    "no route": "spare",
    "announced": "in use",
    "not announced": "spare",
    "announcements and withdrawals": "changes of what is in use",
}
"""In local mode nobody is told of anything."""


@dataclass(frozen=True, slots=True)
class Told:
    """What was played, of which trace, with which configuration.

    `start` is the time on the wall when a recording began, None for a scenario.
    """

    about: str
    start: str | None
    config: str
    played: Played
    compared: tuple[Compared, ...] = ()
    warnings: tuple[str, ...] = ()


class _Line(NamedTuple):
    """One line of the timeline. `minor`: for those who want to see everything."""

    what: str
    subject: str
    change: str = ""
    reason: str = ""
    evidence: str = ""
    minor: bool = False


def as_text(trace: str, told: Told, *, verbose: bool) -> list[str]:
    """Return the lines to print."""
    played = told.played
    span_s = played.end - played.start
    lines = [
        f"{trace}: {told.about}",
        f"configuration {told.config}; {span_s:.1f} s, {played.events} events",
        "",
    ]
    table = [
        (moment.at - played.start, line)
        for moment in played.moments
        for line in _lines(played.state_at(moment.at).settings, moment)
        if verbose or not line.minor
    ]
    subject = max((len(line.subject) for _, line in table if line.change or line.reason), default=0)
    change = max((len(line.change) for _, line in table), default=0)
    for at, line in table:
        row = f"{line.subject:<{subject}}  {line.change:<{change}}  {line.reason}".rstrip()
        lines.append(f"{at:9.3f}  {line.what:<9} {row}")
        if line.evidence:
            lines.append(f"{'':23}{line.evidence}")
    lines += ["", f"at the end, {span_s:.3f} s:", *_standing(played), ""]
    lines.append(f"{len(played.changes)} {_what(played.settings, 'announcements and withdrawals')}")
    if told.compared:
        held = sum(each.held for each in told.compared)
        lines.append(f"{held} of {len(told.compared)} expectations held")
    lines += [_failed(trace, each) for each in told.compared if not each.held]
    return [_safe(line) for line in lines]


def _failed(trace: str, compared: Compared) -> str:
    where = f"{trace}:{compared.expectation.line}: at {compared.expectation.at:g} s"
    return f"{where}: {compared.subject}: expected {compared.wanted}, saw {compared.saw}"


def _lines(settings: Settings, moment: Moment) -> Iterator[_Line]:
    match moment:
        case Happened(text=text):
            yield _Line("happens", text)
        case PathChanged(path=path, before=before, after=after):
            yield _verdict("path", f"{path.uplink} {path.family}", before, after)
        case ServiceChanged(service=service, before=before, after=after):
            yield _verdict("service", service, before, after)
        case DecisionChanged():
            line = _decision(settings, moment)
            yield line._replace(what=_what(settings, line.what))
        case PaceChanged(path=path, suspect=suspect):
            what = "suspect" if suspect else "calm"
            yield _Line(what, f"{path.uplink} {path.family}", minor=True)
        case DrainStarted() | DrainEnded() | DrainSuspended() | DrainResumed():
            yield _drain(moment)
        case AddressChanged(address=address, there=there):
            yield _Line("address", str(address), "there" if there else "missing")
        case IntentsChanged() | AddressesChanged() | AlternativesWanted():
            pass  # The decisions say what is wanted, each with its reason.
        case never:
            assert_never(never)


def _what(settings: Settings, word: str) -> str:
    return _LOCAL_WORDS.get(word, word) if settings.mode is Mode.LOCAL else word


def _drain(moment: DrainEffect) -> _Line:
    match moment:
        case DrainStarted(target=target):
            return _Line("drain", str(target), "drained")
        case DrainEnded(target=target, reason=reason):
            return _Line("drain", str(target), "over", reason)
        case DrainSuspended(path=path):
            return _Line("drain", f"{path.uplink} {path.family}", "suspended")
        case DrainResumed(path=path):
            return _Line("drain", f"{path.uplink} {path.family}", "drained")


def _verdict(what: str, subject: str, before: Judgement, after: Judgement) -> _Line:
    if before.level is after.level:
        return _Line(what, subject, after.level, after.reason, after.evidence, minor=True)
    change = f"{before.level} -> {after.level}"
    return _Line(what, subject, change, after.reason, after.evidence)


def _decision(settings: Settings, moment: DecisionChanged) -> _Line:
    before, (announcement, reason) = moment.before, moment.after
    route = route_name(settings, moment.key)
    had = None if before is None else before.announcement
    if announcement is None:
        if had is None or reason is Reason.INIT:
            # What waits for a verdict, as after a reload, is left as it is.
            return _Line("no route", route, "", reason, minor=True)
        return _Line("withdraw", route, "", reason)
    if announcement.is_quiet:
        minor = had is None or had.is_quiet
        return _Line("withdraw", route, "announced to no uplink", reason, minor=minor)
    what = "keep" if announcement == had else "announce"
    return _Line(what, route, _attributes(settings, announcement), reason)


def _attributes(settings: Settings, announcement: Announcement) -> str:
    words = []
    if not announcement.key.path_id and announcement.key.neighbor is None:
        words.append(f"to {' + '.join(carriers(settings, announcement))}")
    if announcement.local_pref is not None:
        words.append(f"local_pref {announcement.local_pref}")
    return ", ".join(words)


def _standing(played: Played) -> Iterator[str]:
    state, settings = played.state, played.settings
    rows = [
        (f"path {key.uplink} {key.family}", judgement.level, judgement.reason)
        for key, judgement in state.path_verdicts.items()
    ]
    rows += [
        (f"service {name}", judgement.level, judgement.reason)
        for name, judgement in state.service_verdicts.items()
    ]
    routes = [
        (route_name(settings, key), _announced(settings, decision), decision.reason)
        for key, decision in state.decisions.items()
    ]
    first = max((len(row[0]) for row in (*rows, *routes)), default=0)
    second = max((len(row[1]) for row in (*rows, *routes)), default=0)
    for subject, how, reason in (*rows, *routes):
        yield f"  {subject:<{first}}  {how:<{second}}  {reason}"


def _announced(settings: Settings, decision: Decision) -> str:
    if decision.outward is None:
        return _what(settings, "not announced")
    return _attributes(settings, decision.outward) or _what(settings, "announced")


def _safe(line: str) -> str:
    """Escape what a probe's words could do to a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


# JSON


def as_json(trace: str, told: Told) -> dict[str, object]:
    """Return what `--json` prints; seconds count from the start of the trace."""
    played = told.played
    state, settings = played.state, played.settings
    moments = [_moment(played.state_at(m.at).settings, m) for m in played.moments]
    return {
        "schema_version": SCHEMA_VERSION,
        "trace": trace,
        "about": told.about,
        "config": told.config,
        "start": told.start,
        "clock_s": played.start,
        "span_s": _seconds(played.end - played.start),
        "events": played.events,
        "warnings": list(told.warnings),
        "timeline": [
            {"at": _seconds(moment.at - played.start), **fields}
            for moment, fields in zip(played.moments, moments, strict=True)
            if fields
        ],
        "changes": [_seconds(at - played.start) for at in played.changes],
        "paths": [
            {"uplink": key.uplink, "family": str(key.family), **_judged(judgement)}
            for key, judgement in state.path_verdicts.items()
        ],
        "services": [
            {"service": name, **_judged(judgement)}
            for name, judgement in state.service_verdicts.items()
        ],
        "routes": [_decided(settings, key, d) for key, d in state.decisions.items()],
        "expectations": [
            {
                "line": each.expectation.line,
                "at": each.expectation.at,
                "subject": each.subject,
                "expected": each.wanted,
                "saw": each.saw,
                "held": each.held,
            }
            for each in told.compared
        ],
    }


def _seconds(span_s: float) -> float:
    return round(span_s, 6)


def _moment(  # noqa: PLR0911 - one for each kind
    settings: Settings, moment: Moment
) -> dict[str, object]:
    """Return a moment in the words of the log; nothing for one that others say already."""
    match moment:
        case Happened(text=text):
            return {"event": "happens", "text": text}
        case PathChanged(path=path, before=before, after=after):
            subject = {"uplink": path.uplink, "family": str(path.family)}
            return {"event": "path_changed", **subject, **_changed(before, after)}
        case ServiceChanged(service=service, before=before, after=after):
            return {"event": "service_changed", "service": service, **_changed(before, after)}
        case DecisionChanged():
            return _decision_fields(settings, moment)
        case PaceChanged(path=path, suspect=suspect):
            event = "path_suspect" if suspect else "path_not_suspect"
            return {"event": event, "uplink": path.uplink, "family": str(path.family)}
        case DrainStarted() | DrainEnded() | DrainSuspended() | DrainResumed():
            return _drain_fields(moment)
        case AddressChanged(address=address, there=there):
            event = "address_there" if there else "address_missing"
            return {"event": event, "address": str(address)}
        case IntentsChanged() | AddressesChanged() | AlternativesWanted():
            return {}
        case never:
            assert_never(never)


def _drain_fields(moment: DrainEffect) -> dict[str, object]:
    match moment:
        case DrainStarted(target=target, order=order):
            lasts_s = None if order.until is None else _seconds(order.until - moment.at)
            fields = {"of": str(target), "for_s": lasts_s, "forced": order.forced}
            return {"event": "drain_started", **fields}
        case DrainEnded(target=target, reason=reason):
            return {"event": "drain_ended", "of": str(target), "reason": str(reason)}
        case DrainSuspended(path=path):
            return {"event": "drain_suspended", "uplink": path.uplink, "family": str(path.family)}
        case DrainResumed(path=path):
            return {"event": "drain_resumed", "uplink": path.uplink, "family": str(path.family)}


def _decision_fields(settings: Settings, moment: DecisionChanged) -> dict[str, object]:
    """Return a decision; `sent` is whether ExaBGP is told, which another reason alone is not."""
    had = None if moment.before is None else moment.before.announcement
    announcement, reason = moment.after
    if announcement is not None:
        event, sent = "withdraw" if announcement.is_quiet else "announce", announcement != had
    elif had is None or reason is Reason.INIT:
        event, sent = "not_announced", False
    else:
        event, sent = "withdraw", True
    return {"event": event, **_decided(settings, moment.key, moment.after), "sent": sent}


def _changed(before: Judgement, after: Judgement) -> dict[str, object]:
    return {
        "from": str(before.level),
        "to": str(after.level),
        "reason": str(after.reason),
        "evidence": after.evidence,
    }


def _judged(judgement: Judgement) -> dict[str, object]:
    level, reason, evidence = judgement
    return {"verdict": str(level), "reason": str(reason), "evidence": evidence}


def _decided(settings: Settings, key: RouteKey, decision: Decision) -> dict[str, object]:
    announcement, reason = decision
    fields: dict[str, object] = {"route": str(key), "announced": decision.outward is not None}
    if announcement is not None:
        fields |= {
            "uplinks": list(carriers(settings, announcement)),
            "next_hop": str(announcement.next_hop or "self"),
            "local_pref": announcement.local_pref,
            "communities": [str(community) for community in announcement.communities],
        }
    return {**fields, "reason": str(reason)}
