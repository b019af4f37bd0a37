"""Turns the record of an experiment into the object that `fault --json` and `demo.json` hold."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from lab import dual_tor, scene, stale, watch
from lab.meter import DIRECTIONS, Flow, summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lab.experiment import Record
    from lab.scene import Scene

VERSION = 1


def result(record: Record) -> dict[str, Any]:
    """Return the result. Every time is in seconds from the moment of the fault."""
    times = {family: _times(record, family) for family in dual_tor.FAMILIES}
    checks = list(_checks(record))
    return {
        "version": VERSION,
        "fault": record.fault.name,
        "summary": record.fault.summary,
        "topology": record.topology,
        "driver": record.driver,
        "frr": record.frr,
        "direction": {d: summary(flows) for d, flows in record.flows.items()},
        **times["ipv4"],
        "recovered": record.recovered_at is not None,
        "healed_s": _since(record, record.healed_at),
        "recovery_s": _recovery(record),
        "families": {
            family: {
                **times[family],
                "direction": {
                    d: summary([f for f in flows if f.family == family])
                    for d, flows in record.flows.items()
                },
            }
            for family in dual_tor.FAMILIES
        },
        "sources": sorted({flow.source for flow in record.flows["out"]}),
        "spread": record.spread,
        "routes": {
            "before": record.before.as_json() if record.before else None,
            "during": record.during.as_json() if record.during else None,
            "after": record.after.as_json() if record.after else None,
        },
        "sessions_stayed": sessions_stayed(record) if record.sessions_during else None,
        "foreign_routes": {
            "count": len(record.foreign_before),
            "unchanged": record.foreign_before == record.foreign_after,
        },
        "foreign_untouched": record.foreign_before == record.foreign_after,
        "announced": stale.summary(record),
        "stale": stale.stale(record),
        "transitions": [
            {
                "at": round(v.at - record.fault_at, 4),
                "uplink": v.uplink,
                "family": v.family,
                "from": v.before,
                "to": v.after,
                "reason": v.reason,
                "evidence": v.evidence,
            }
            for v in record.verdicts
            if v.at >= record.fault_at
        ],
        "timeline": timeline(record),
        "loss": {d: [_loss(record, flow) for flow in flows] for d, flows in record.flows.items()},
        "span_s": [_since(record, record.started_at), _since(record, record.ended_at)],
        "checks": [{"what": what, "held": held, "saw": saw} for what, held, saw in checks],
        "passed": all(held for _, held, _ in checks),
    }


def _since(record: Record, at: float | None) -> float | None:
    return None if at is None else round(at - record.fault_at, 3)


def _recovery(record: Record) -> float | None:
    """Return how long it took, from the healing (or the fault that mends itself), to be whole."""
    if record.recovered_at is None:
        return None
    start = record.fault_at if record.healed_at is None else record.healed_at
    settled = [c.at for c in record.changes if start <= c.at <= record.recovered_at]
    return round(max(settled, default=start) - start, 3)


def _times(record: Record, family: str) -> dict[str, float | None]:
    """Return when verdict, kernel and core had moved away from the ToRs at fault."""
    tors, since = record.fault.uplinks, record.fault_at
    until = record.healed_at or float("inf")
    changes = [change for change in record.changes if change.at < until]
    if not tors:
        return {"detect_s": None, "kernel_s": None, "core_s": None}
    core = [
        watch.first_without(changes, route, family, tors, since)
        for route in ("service", "loopback")
    ]
    return {
        "detect_s": watch.first_verdict(
            [v for v in record.verdicts if v.at < until],
            family,
            tors,
            since,
            record.fault.verdict,
        ),
        "kernel_s": watch.first_without(changes, "default", family, tors, since),
        "core_s": max((t for t in core if t is not None), default=None) if all(core) else None,
    }


def timeline(record: Record) -> list[dict[str, Any]]:
    """Return what happened when, in order."""
    events = [{"at": 0.0, "what": "fault", "text": record.fault.summary}]
    events += [
        {
            "at": round(v.at - record.fault_at, 4),
            "what": "verdict",
            "family": v.family,
            "text": f"{v.uplink} {v.family}: {v.before} → {v.after} ({v.reason})",
        }
        for v in record.verdicts
        if v.at >= record.fault_at
    ]
    events += [
        {
            "at": round(c.at - record.fault_at, 4),
            "what": "kernel" if c.route == "default" else "core",
            "family": c.family,
            "text": f"{c.route} {c.family}: {' + '.join(c.uplinks) or 'none'}",
        }
        for c in record.changes
        if c.at >= record.fault_at
    ]
    if record.healed_at is not None:
        events.append({"at": _since(record, record.healed_at), "what": "heal", "text": "healed"})
    return sorted(events, key=lambda event: event["at"])


def _loss(record: Record, flow: Flow) -> dict[str, Any]:
    return {
        "family": flow.family,
        "source": flow.source,
        "port": flow.port,
        "sent": flow.sent,
        "lost": flow.lost,
        "outage_s": round(flow.outage_s(), 3),
        "gaps": [
            [round(start - record.fault_at, 3), round(end - record.fault_at, 3)]
            for start, end in flow.gaps()
        ],
    }


def sessions_stayed(record: Record) -> bool:
    """Return whether every session was established during the fault, and since before it."""
    before = {(s.node, s.neighbor, s.family): s for s in record.sessions_before}
    during = {(s.node, s.neighbor, s.family): s for s in record.sessions_during}
    return before.keys() == during.keys() and all(
        session.is_up and session.drops == before[key].drops for key, session in during.items()
    )


_Check = tuple[str, bool, str]


def _checks(record: Record) -> Iterator[_Check]:
    """Return what must hold, whether it did, and what was seen."""
    lost = sum(
        start < record.fault_at
        for flows in record.flows.values()
        for f in flows
        for start, _ in f.gaps()
    )
    yield "no loss before the fault", not lost, f"{lost} gaps"
    if record.during is not None:
        yield from _checks_during(record)
    here = scene.of(record.topology)
    if record.fault.lossless:
        gone = sum(flow.lost for flows in record.flows.values() for flow in flows)
        yield "nothing is lost in either direction", not gone, f"{gone} datagrams"
    if record.fault.unmoved:
        yield _check_unmoved(record, record.healed_at or record.ended_at)
    if here.log is not None and record.fault.said:
        silent = sorted(record.fault.said - record.said.keys())
        yield (
            f"bgphealth says {', '.join(sorted(record.fault.said))}",
            not silent,
            (f"no {', '.join(silent)}" if silent else "so"),
        )
    yield from stale.checks(record)
    if record.fault.keeps_default:
        yield from _checks_default_kept(record)
    yield from _checks_elsewhere(record, here)
    if here.log is not None and not here.has_bgp and record.fault.uplinks and record.recovered_at:
        yield from _checks_failback(record)
    missing = "; ".join(record.missing_after) or here.whole
    yield "recovered", record.recovered_at is not None, missing
    changed = set(record.foreign_before) ^ set(record.foreign_after)
    yield (
        "no foreign route of the server changed",
        not changed,
        "; ".join(sorted(changed)) or f"{len(record.foreign_before)} routes, all the same",
    )
    if here.has_bgp:
        sources = {flow.source for flow in record.flows["out"]}
        yield (
            "outgoing flows leave with the host loopback",
            sources <= set(dual_tor.LOOPBACK.values()),
            ", ".join(sorted(sources)),
        )


def _checks_default_kept(record: Record) -> Iterator[_Check]:
    """Return whether some default was there at every moment, and carried what it can."""
    for family in dual_tor.FAMILIES:
        bare = [
            c
            for c in record.changes
            if (c.route, c.family) == ("default", family)
            and not c.uplinks
            and c.at >= record.fault_at
        ]
        yield f"there is a default at every moment ({family})", not bare, f"{len(bare)} times none"
    if "new" not in record.flows:
        return
    new, old = (summary(record.flows[name])["outage_s"] for name in ("new", "out"))
    yield (
        "new connections get out while others, which have the host loopback, do not",
        # In most of that time; the rest is what the way back to the core may take.
        new <= old / 2,
        f"{new:.2f} s without answers, the others {old:.2f} s",
    )


def _checks_elsewhere(record: Record, here: Scene) -> Iterator[_Check]:
    """Return whether the fault of one router left alone what passes another."""
    for direction, traffic in here.traffic.items():
        if record.fault.uplinks and traffic.over and traffic.over not in record.fault.uplinks:
            lost = sum(flow.lost for flow in record.flows[direction])
            yield f"nothing is lost over {traffic.over}", not lost, f"{lost} datagrams"


def _checks_failback(record: Record) -> Iterator[_Check]:
    """Return whether the preferred gateway was used again, and not before it was stable."""
    stable_for_s = scene.settings(record.topology).stable_for_s
    for family in dual_tor.FAMILIES:
        up_at = [v.at for v in record.verdicts if v.family == family and v.after == "up"]
        back_at = [c.at for c in record.changes if (c.route, c.family) == ("default", family)]
        stood = back_at[-1] - up_at[-1] if up_at else 0.0
        yield (
            f"used again when it has been up for {stable_for_s:g} s ({family})",
            stood >= stable_for_s,
            f"{stood:.2f} s",
        )


def _checks_during(record: Record) -> Iterator[_Check]:
    seen, expected = record.during, record.fault.expected
    if seen is None:
        return
    way_in = scene.of(record.topology).way_in
    for name, wanted, by_family in (
        ("the server's default", expected.default, seen.server_default),
        (f"the {way_in}'s route to the service", expected.service, seen.core_service),
        (f"the {way_in}'s route to the host loopback", expected.loopback, seen.core_loopback),
    ):
        for family in dual_tor.FAMILIES:
            route = by_family[family]
            if wanted is not None:
                what = " + ".join(sorted(wanted)) or "nothing"
                held = set(route.uplinks) == wanted
                yield f"during: {name} via {what} ({family})", held, str(route)
            if by_family is seen.server_default and expected.default is not None:
                for own in scene.of(record.topology).own_sources(expected.default, family):
                    yield f"during: its source is {own}", route.source == own, str(route)
    if record.fault.sessions_stay:
        down = [f"{s.node}-{s.neighbor}" for s in record.sessions_during if not s.is_up]
        yield (
            "during: every BGP session stays established",
            sessions_stayed(record),
            ", ".join(down) or "all established",
        )
    if record.fault.calm:
        yield from _checks_calm(record)
    if record.fault.still:
        yield from _checks_still(record)


_IN_FLIGHT_S = 0.3
"""After the last route has moved, what was sent before may still be lost."""


def _checks_calm(record: Record) -> Iterator[_Check]:
    """Return whether the traffic left once, stayed away, and lost nothing where it went."""
    until = record.healed_at or record.ended_at
    during = [v for v in record.verdicts if record.fault_at <= v.at < until]
    changed = Counter(f"{v.uplink} {v.family}" for v in during)
    wanted = {f"{tor} {family}": 1 for tor in record.fault.uplinks for family in dual_tor.FAMILIES}
    tors, verdict = " + ".join(sorted(record.fault.uplinks)), record.fault.verdict
    if scene.of(record.topology).log is not None:
        yield (
            f"during: each path of {tors} is judged once, {verdict}, and no other path",
            changed == wanted and all(v.after == verdict for v in during),
            _in_words(during),
        )
    if not scene.of(record.topology).steered:
        return  # Routes of the core move; flows out stay where they are, dead ToR or not.
    moved = [t for times in map(partial(_times, record), dual_tor.FAMILIES) for t in times.values()]
    since = record.fault_at + max((t for t in moved if t is not None), default=0.0) + _IN_FLIGHT_S
    late = sum(
        since <= start < until for d in DIRECTIONS for f in record.flows[d] for start, _ in f.gaps()
    )
    yield "during: no loss once the routes had moved", not late, f"{late} gaps"


def _check_unmoved(record: Record, until: float) -> _Check:
    changes = [c for c in record.changes if record.fault_at <= c.at < until]
    return (
        "no route changed",
        not changes,
        "; ".join(f"{c.route} {c.family}: {' + '.join(c.uplinks) or 'none'}" for c in changes)
        or "nothing",
    )


def _checks_still(record: Record) -> Iterator[_Check]:
    """Return whether nothing happened at all, during the fault and after it."""
    yield _check_unmoved(record, record.ended_at)
    verdicts = [v for v in record.verdicts if v.at >= record.fault_at]
    yield "no verdict changed", not verdicts, _in_words(verdicts)


def _in_words(verdicts: Iterable[watch.Verdict]) -> str:
    return (
        "; ".join(f"{v.uplink} {v.family}: {v.before} → {v.after}" for v in verdicts) or "nothing"
    )
