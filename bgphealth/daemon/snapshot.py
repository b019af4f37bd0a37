"""All that a running program knows, as plain data: what `status` answers, and what others count.

`Known` is taken at one moment and never changes; `of` makes the dictionaries of it, whose fields
docs/status.md describes. They are an interface: a new field does not change `VERSION`, a changed
or removed one does.

With a thousand services that takes some time, which the probes must not wait for: it is made in
slices, between which the event loop runs.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence, Set
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib import metadata
from itertools import islice
from typing import Any, NamedTuple

from bgphealth.core import engine, fallback_order
from bgphealth.core.damping import Penalty
from bgphealth.core.drain import Leg, Stage
from bgphealth.core.health import Judgement, PathKey, PathProbe, ProbeHealth
from bgphealth.core.hysteresis import Hysteresis
from bgphealth.core.intents import Announcement, RouteKey
from bgphealth.core.settings import (
    Address,
    Damping,
    Family,
    Scope,
    Settings,
    UplinkSettings,
)
from bgphealth.core.state import State
from bgphealth.core.truth import KernelDefault, Tier
from bgphealth.daemon import standing, worst
from bgphealth.daemon.closed_loop import Truth
from bgphealth.daemon.history import Since, Times
from bgphealth.daemon.reload import ReloadOutcome
from bgphealth.daemon.reporting import Troubles
from bgphealth.daemon.snapshot_routes import Json, Routes
from bgphealth.exabgp.driver import Driver
from bgphealth.exabgp.replies import NeighborState

VERSION = 1

SLICE = 200
"""Services or routes to describe in one go: some three milliseconds, and not too many turns."""


class Told(NamedTuple):
    """What is known of ExaBGP: what it acknowledged, what was refused, what it has not answered.

    `pending` counts commands; `version` is empty before ExaBGP has said it.
    """

    acknowledged: Mapping[RouteKey, Announcement]
    refused: Set[RouteKey]
    waiting: Set[RouteKey]
    neighbors: Mapping[str, NeighborState]
    counts: Mapping[str, int]
    late_s: float
    pending: int
    version: str

    @classmethod
    def of(cls, driver: Driver) -> Told:
        """Return what a driver knows now."""
        return cls(
            driver.adj_rib_out,
            driver.refused.keys(),
            driver.waiting,
            driver.neighbors,
            driver.counts,
            driver.late_s,
            driver.pending,
            driver.version,
        )


class Defaults(NamedTuple):
    """Which default serves each family, as it was last seen."""

    tiers: Mapping[Family, Tier]
    kernel: Mapping[Family, KernelDefault | None]


class Known(NamedTuple):
    """All that is known at `now`, on the clock of the events, which is `wall` in Unix time.

    `told` is None where there is no ExaBGP to tell, `truth` where nobody looks.
    """

    now: float
    wall: float
    state: State
    times: Times
    told: Told | None
    truth: Truth | None
    defaults: Defaults
    troubles: Troubles
    source_of: Mapping[PathKey, Address | str]
    gateway_of: Mapping[PathKey, Address | str]

    def clock(self, at: float | None) -> str | None:
        """Return the time of day in UTC, to the millisecond (RFC 3339)."""
        return None if at is None else _iso(round((self.wall + at - self.now) * 1000))


@lru_cache(maxsize=1024)
def _iso(wall_ms: int) -> str:
    # Much happens in the same moment, and words take time.
    return datetime.fromtimestamp(wall_ms / 1000, UTC).isoformat(timespec="milliseconds")


async def of(known: Known, file: str, drains: Sequence[Json]) -> Json:
    """Return the whole snapshot of a program over a file; the drains as they are listed."""
    state, settings = known.state, known.state.settings
    routes = Routes(known)
    found = {
        "schema_version": VERSION,
        "version": _version(),
        "pid": os.getpid(),
        "file": file,
        "mode": settings.mode.value,
        "at": known.clock(known.now),
        "started_at": known.clock(known.times.began),
        "uptime_s": round(known.now - known.times.began, 3),
        "settled": standing.is_decided(state),
        "summary": standing.in_words(state, *_seen(known)),
        "paths": [path(known, key) for key in state.paths],
        "services": await _in_slices(service(known, name) for name in state.services),
        "routes": await _in_slices(routes.of(key) for key in state.decisions),
        "defaults": [default(known, family) for family in settings.families],
        "drifts": [] if known.truth is None else list(_drifts(known.truth)),
        "looked_up": _looked_up(known),
        "exabgp": _exabgp(known),
        "missing_addresses": sorted(map(str, state.addresses.missing)),
        "guards": list(_guards(known)),
        "troubles": list(_troubles(known.troubles)),
        "reload": _reload(known),
        "drains": list(drains),
    }
    wrong = worst.problems(found)
    return {**found, "healthy": not wrong, "problems": wrong}


def path(known: Known, key: PathKey) -> Json:
    """Return what is known of one path."""
    state, health = known.state, known.state.paths[key]
    uplink = _uplink(state.settings, key.uplink)
    ranks = fallback_order.ranks(state.settings, engine.verdicts_of(state))
    rank = ranks.get(key)
    asked = known.source_of.get(key)
    gateway = known.gateway_of.get(key, health.settings.neighbor)
    return {
        "uplink": key.uplink,
        "family": key.family.value,
        "interface": uplink.interface,
        **_verdict(known, state.path_verdicts[key], known.times.paths.get(key)),
        "falls": known.times.falls.get(key, 0),
        "link_up": health.link_up,
        "suspect": key in state.suspects,
        "held_since": known.clock(state.held_since.get(key)),
        "damping": _damping(known, state.path_penalties.get(key), state.settings.damping),
        "loss": _rounded(health.loss),
        "latency_ms": _ms(health.latency_s),
        "drain": _stage(state, Leg(Scope(key.family), key.uplink)),
        "fallback": None if rank is None else rank.name.lower(),
        "source": None if asked is None else str(asked),
        "gateway": None if gateway is None else str(gateway),
        "probes": [probe(known, key, of, one) for of, one in health.probes.items()],
    }


def probe(known: Known, key: PathKey, of: PathProbe, health: ProbeHealth) -> Json:
    """Return what is known of one probe of a path."""
    rtts = [rtt for rtt in health.window.answers if rtt is not None]
    timing = known.state.settings.path_timing
    return {
        "role": of.role.value,
        "probe": str(of.probe),
        **_counted(health.hysteresis, health.detail),
        "fall": 1 if of.probe.kind.is_state else timing.fall,
        "rise": 1 if of.probe.kind.is_state else timing.rise,
        "overdue": health.overdue,
        "loss": _rounded(health.window.loss),
        "latency_ms": _ms(health.window.latency_s),
        "last_rtt_ms": _ms(rtts[-1]) if rtts else None,
        "unknown": known.troubles.unasked.get((key.uplink, key.family, of.role, str(of.probe))),
    }


def service(known: Known, name: str) -> Json:
    """Return what is known of one service."""
    state = known.state
    health = state.services[name]
    settings = health.settings
    penalty = state.service_penalties.get(name)
    return {
        "name": name,
        **_verdict(known, state.service_verdicts[name], known.times.services.get(name)),
        "falls": known.times.falls.get(name, 0),
        "damping": _damping(known, penalty, settings.damping),
        "drain": _stage(state, name),
        "need": settings.need,
        "prefixes": [str(prefix) for prefix in settings.prefixes],
        "checks": [
            {
                "check": str(check),
                **_counted(counted, health.details.get(check, "")),
                "fall": settings.timing.fall,
                "rise": settings.timing.rise,
                "unknown": known.troubles.unasked.get((name, str(check))),
            }
            for check, counted in health.checks.items()
        ],
    }


@cache
def _version() -> str | None:
    try:
        return metadata.version("bgphealth")
    except metadata.PackageNotFoundError:
        return None


async def _in_slices(described: Iterator[Json]) -> list[Json]:
    found: list[Json] = []
    while part := list(islice(described, SLICE)):
        found += part
        await asyncio.sleep(0)
    return found


def _seen(known: Known) -> tuple[Any, ...]:
    return () if known.truth is None else (known.truth.drifts, known.defaults.tiers)


def _uplink(settings: Settings, name: str) -> UplinkSettings:
    return next(uplink for uplink in settings.uplinks if uplink.name == name)


def _verdict(known: Known, verdict: Judgement, since: Since | None) -> Json:
    level, reason = since or Since(known.times.began, known.times.began)
    return {
        "verdict": verdict.level.value,
        "reason": verdict.reason.value,
        "evidence": verdict.evidence,
        "since": known.clock(level),
        "reason_since": known.clock(reason),
    }


def _counted(counted: Hysteresis, detail: str) -> Json:
    """Return a level, the run of equal answers, and what the last failed one said."""
    last = "failed" if counted.failed_run else "ok" if counted.ok_run else None
    return {
        "level": counted.level.value,
        "last": last,
        "ok_run": counted.ok_run,
        "failed_run": counted.failed_run,
        "detail": detail,
    }


def _damping(known: Known, penalty: Penalty | None, damping: Damping | None) -> Json | None:
    if damping is None:
        return None
    now = (penalty or Penalty()).decayed(known.now, damping)
    return {
        "penalty": round(now.value),
        "suppressed": now.suppressed,
        "reuse_in_s": round(now.reuse_in_s(known.now, damping), 1),
    }


def _stage(state: State, thing: Leg | str) -> str | None:
    drains = state.drains
    if isinstance(thing, Leg) and thing in drains.suspended:
        return "suspended"
    match drains.stage(thing):
        case None:
            return None
        case Stage.DRAINED:
            return "drained"
        case _:
            return "draining"


def default(known: Known, family: Family) -> Json:
    """Return what is known of the default of a family."""
    tier = known.defaults.tiers.get(family)
    used = known.defaults.kernel.get(family)
    preference = known.state.preference
    found: Json = {
        "family": family.value,
        "tier": None if tier is None else tier.value,
        "kernel": None if used is None else _kernel_default(used),
        "in_use": preference.in_use.get(family),
        "in_use_since": known.clock(preference.used_since.get(family)),
    }
    return found


def _kernel_default(used: KernelDefault) -> Json:
    legs = [
        {"interface": leg.interface, "gateway": None if leg.gateway is None else str(leg.gateway)}
        for leg in used.legs or ()
    ]
    return {
        "protocol": used.protocol,
        "metric": used.metric,
        "source": None if used.source is None else str(used.source),
        "via": legs,
    }


def _drifts(truth: Truth) -> Iterator[Json]:
    for drift in truth.drifts:
        yield {
            "route": str(drift.key),
            "where": drift.where.value,
            "state": drift.state.value,
            "expected": drift.expected,
            "found": drift.found,
            "hint": drift.hint,
        }


def _looked_up(known: Known) -> Json | None:
    truth = known.truth
    if truth is None:
        return None
    return {
        "at": known.clock(truth.looked_at),
        "unknown": truth.unknown or None,
        "looks": truth.looks,
        "drifted": truth.drifted,
        "asserted": truth.asserted,
    }


def _exabgp(known: Known) -> Json | None:
    told = known.told
    if told is None:
        return None
    return {
        "late_s": round(told.late_s, 3),
        "waiting": len(told.waiting),
        "commands": dict(told.counts),
        "neighbors": [
            {"neighbor": it.neighbor, "state": it.state, "reason": it.reason}
            for it in told.neighbors.values()
        ],
    }


def _guards(known: Known) -> Iterator[Json]:
    for prefix, guard in known.state.guards.items():
        yield {
            "prefix": str(prefix),
            "others": None if guard.word is None else guard.word.value,
            "since": known.clock(guard.since),
            "withdraws": guard.withdraws,
        }


def _troubles(troubles: Troubles) -> Iterator[Json]:
    """Return what could not be done: `what` it is about, `of` which thing, and `why`."""
    for name, why in troubles.kernel.items():
        yield {"what": "kernel", "of": name, "why": why}
    for address, why in troubles.addresses.items():
        yield {"what": "address", "of": str(address), "why": why}
    by_path = (
        ("probe_source", troubles.sources),
        ("fallback", troubles.fallback),
        ("default_not_used", troubles.not_used),
    )
    for what, whys in by_path:
        for key, why in whys.items():
            yield {"what": what, "of": f"{key.uplink} {key.family}", "why": why}
    for wish, why in troubles.wishes.items():
        yield {"what": "source", "of": str(wish), "why": why}


def _reload(known: Known) -> Json | None:
    last = known.times.reload
    if last is None:
        return None
    return {
        "at": known.clock(last.at),
        "by": last.by,
        "outcome": last.outcome.value,
        "applied": last.outcome is not ReloadOutcome.REFUSED,
        "problems": list(last.problems),
        "changes": list(last.changes),
        "render": list(last.render),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _ms(value_s: float | None) -> float | None:
    return None if value_s is None else round(value_s * 1000, 3)
