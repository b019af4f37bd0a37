"""What was announced while a fault lasted, and whether any of it had no right to be.

Stale is what a router holds although the verdict, the service or whoever announced it is gone.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from lab import dual_tor, scene

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lab.announced import Told
    from lab.experiment import Record

HOLD_S = 9.0
"""The hold time of the lab's sessions: what BGP itself allows something dead to be believed."""

_BURST_S = 1.0
"""What is told to a router within this time of each other is one step."""

_ROUNDED_S = 2
"""What the same moment may differ by when bgpd is asked twice."""

_STEERED = ("service", "loopback")


def summary(record: Record) -> dict[str, Any] | None:
    """Return what was told and held; None where nobody speaks BGP.

    Times are in seconds from the fault.
    """
    if record.held_before is None or not scene.of(record.topology).has_bgp:
        return None
    return {
        "told": list(_steps(record)),
        "sessions_ended": sessions_ended(record),
        "held": {
            "before": record.held_before,
            "during": record.held_during,
            "after": record.held_after,
        },
    }


def _steps(record: Record) -> Iterator[dict[str, Any]]:
    bursts: list[list[Told]] = []
    latest: dict[tuple[str, bool], list[Told]] = {}
    for told in sorted(record.told, key=lambda told: told.at):
        if told.at < record.fault_at:
            continue
        kind = told.router, told.withdrawn
        if kind not in latest or told.at - latest[kind][-1].at > _BURST_S:
            latest[kind] = []
            bursts.append(latest[kind])
        latest[kind].append(told)
    for burst in bursts:
        yield {
            "to": burst[0].router,
            "what": "withdrawn" if burst[0].withdrawn else "announced",
            "from_s": round(burst[0].at - record.fault_at, 3),
            "until_s": round(burst[-1].at - record.fault_at, 3),
            "routes": sorted({told.route for told in burst}),
        }


def sessions_ended(record: Record) -> list[str]:
    """Return the routers that have lost a session with the server since before the fault.

    The server itself: its own bgpd, and the session with ExaBGP.
    """
    after = {(s.node, s.neighbor, s.family): s for s in record.sessions_after}
    lost = {
        session.node
        for session in record.sessions_with_server
        if (now := after.get((session.node, session.neighbor, session.family))) is None
        or now.drops != session.drops
        or abs(now.since - session.since) > _ROUNDED_S
    }
    return sorted(lost)


def stale(record: Record) -> list[str]:
    """Return, in words, each announcement that stayed where it must not."""
    if record.held_before is None:
        return []
    found = [*_during(record), *_after(record), *_kept(record), *_late(record)]
    return list(dict.fromkeys(found))


def _during(record: Record) -> Iterator[str]:
    """What the promise of the fault, or bgphealth's own verdict, no longer covers at its end."""
    down = _down(record)
    for router, held in (record.held_during or {}).items():
        for route in held or ():
            kind, family, via = _taken_apart(router, route)
            promised = getattr(record.fault.expected, kind, None)
            # A degraded one is used last, and announced.
            given_up = (
                promised is not None and via not in promised and record.fault.verdict == "down"
            )
            if kind in ("default", *_STEERED) and (given_up or via in down[family]):
                yield f"during: {router} still has {route}"


def _taken_apart(router: str, route: str) -> tuple[str, str, str]:
    """Return the kind of a route, its family, and the router that it leads through."""
    kind, _, rest = route.partition(" ")
    family, _, via = rest.partition(" via ")
    return kind, family, via or router


def _down(record: Record) -> Mapping[str, set[str]]:
    """Return, by family, the uplinks judged down before the end, unless all of them are."""
    until = record.healed_at or record.ended_at
    last = {(v.uplink, v.family): v.after for v in record.verdicts if v.at < until}
    down: dict[str, set[str]] = defaultdict(set)
    for family in dual_tor.FAMILIES:
        dead = {uplink for (uplink, f), level in last.items() if (f, level) == (family, "down")}
        if dead < set(scene.of(record.topology).behind.values()):
            down[family] = dead
    return down


def _after(record: Record) -> Iterator[str]:
    """What a router has now that it had not before."""
    before = record.held_before or {}
    for router, held in record.held_after.items():
        for route in held or ():
            if route not in (before.get(router) or ()):
                yield f"after: {router} has {route}, which it had not before"


def _kept(record: Record) -> Iterator[str]:
    """What a router went on holding while nobody was there who announced it."""
    gone = set(sessions_ended(record))
    for router, held in (record.held_before or {}).items():
        for route in held or ():
            if route.split()[0] not in record.fault.withdrawn or router in gone:
                continue
            told = [t for t in record.told if t.router == router and t.route == route]
            if not any(t.withdrawn and t.at >= record.fault_at for t in told):
                yield f"{router} kept {route} while its announcer was gone"


def _late(record: Record) -> Iterator[str]:
    """What was withdrawn later after the verdict than BGP itself would have taken."""
    until = record.healed_at or record.ended_at
    for told in record.told:
        if not told.withdrawn or not record.fault_at <= told.at < until:
            continue
        _, family, via = _taken_apart(told.router, told.route)
        given_up_at = _given_up_at(record, via, family, told.at)
        if given_up_at is not None and (after_s := told.at - given_up_at) > HOLD_S:
            yield f"{told.router} lost {told.route} {after_s:.1f} s after the verdict"


def _given_up_at(record: Record, uplink: str, family: str, at: float) -> float | None:
    """Return since when an uplink was down, and another one was not; None: it was not so then.

    While all of them are down, all are kept.
    """
    all_of_them = set(scene.of(record.topology).behind.values())
    down: set[str] = set()
    since = None
    for verdict in sorted(record.verdicts, key=lambda verdict: verdict.at):
        if verdict.family != family or not record.fault_at <= verdict.at <= at:
            continue
        down = down | {verdict.uplink} if verdict.after == "down" else down - {verdict.uplink}
        if uplink not in down or down == all_of_them:
            since = None
        elif since is None:
            since = verdict.at
    return since


def again(record: Record) -> list[str]:
    """Return, in words, each route that came back before the healing, where it must not be."""
    found = []
    gone: set[tuple[str, str]] = set()
    for told in sorted(record.told, key=lambda told: told.at):
        if not record.fault_at <= told.at < (record.healed_at or record.ended_at):
            continue
        kind, _, via = _taken_apart(told.router, told.route)
        promised = getattr(record.fault.expected, kind, None)
        if promised is None or via in promised:
            continue
        if told.withdrawn:
            gone.add((told.router, told.route))
        elif (told.router, told.route) in gone:
            after_s = told.at - record.fault_at
            found.append(f"{told.router} has {told.route} again after {after_s:.1f} s")
    return found


def strangers(record: Record) -> list[str]:
    """Return what was announced or held that is not the server's to announce."""
    seen = {(told.router, told.route) for told in record.told if not told.withdrawn}
    for held in (record.held_before, record.held_during, record.held_after):
        for router, routes in (held or {}).items():
            seen |= {(router, route) for route in routes or ()}
    return sorted(f"{router}: {route}" for router, route in seen if _is_strange(router, route))


def _is_strange(router: str, route: str) -> bool:
    # A prefix that has no name here; and a server's default must never become the fabric's.
    return "/" in route or (route.startswith("default") and router != dual_tor.SERVER)


def _silent(record: Record) -> Iterator[str]:
    """Return who did not say what it holds: of those nothing else here can be known."""
    for when, held, dead in (
        ("before", record.held_before, frozenset[str]()),
        ("during", record.held_during, record.fault.kills_frr),
        ("after", record.held_after, frozenset[str]()),
    ):
        for router, routes in (held or {}).items():
            if routes is None and router not in dead:
                yield f"{when}: {router} did not"


def checks(record: Record) -> Iterator[tuple[str, bool, str]]:
    """Return what must hold of announcements, whether it did, and what was seen."""
    if record.held_before is None or not scene.of(record.topology).has_bgp:
        return
    found = stale(record)
    yield "no announcement is stale", not found, "; ".join(found) or "none"
    if record.fault.expected:
        back = again(record)
        yield "what is withdrawn stays so until the healing", not back, "; ".join(back) or "so"
    strange = strangers(record)
    yield "nothing else is announced", not strange, "; ".join(strange) or "nothing"
    lost = sorted(
        f"{router}: {route}"
        for router, routes in record.held_before.items()
        for route in routes or ()
        if route not in (record.held_after.get(router) or ())
    )
    yield "all is announced again", not lost, "; ".join(lost) or "all"
    silent = list(_silent(record))
    yield "every bgpd says what it holds", not silent, "; ".join(silent) or "so"
    if record.fault.still:
        told = [f"{t.route} to {t.router}" for t in record.told if t.at >= record.fault_at]
        yield "nothing is announced or withdrawn", not told, "; ".join(told) or "nothing"
