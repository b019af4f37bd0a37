"""Why something is as it is, and what would change it, in sentences.

Which probe, which counter, which threshold, which timer, what may change next, and how soon. The
engine decides; this only says by what. Times of day are said by whoever has a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from bgphealth.core import engine, policy_services
from bgphealth.core.carrying import able
from bgphealth.core.communities import Community
from bgphealth.core.damping import Penalty
from bgphealth.core.decisions import default_key
from bgphealth.core.drain import Leg, Stage, Thing
from bgphealth.core.health import Judgement, PathHealth, PathKey, PathProbe, ProbeHealth
from bgphealth.core.hysteresis import Hysteresis, Level
from bgphealth.core.intents import RouteKey
from bgphealth.core.orders import Order, Target, What
from bgphealth.core.preference import by_preference
from bgphealth.core.quality import patient_fall
from bgphealth.core.reasons import About, Reason
from bgphealth.core.settings import (
    Damping,
    Family,
    Mode,
    Prefix,
    Role,
    Scope,
    ServiceSettings,
    Settings,
    Timing,
)
from bgphealth.core.state import State


class Moment(NamedTuple):
    """When it is explained: `now` on the clock of the events, and how to say such times."""

    now: float
    clock: Callable[[float], str]

    def at(self, at: float) -> str:
        """Return a time, and how far it is from now."""
        away_s = at - self.now
        return f"{self.clock(at)} ({'in ' if away_s > 0 else ''}{duration(abs(away_s))})"


class Lived(NamedTuple):
    """Since when something has its verdict, and how often it has stopped working."""

    since: float
    falls: int


def duration(seconds: float) -> str:
    """Return a duration in words: ``0.4 s``, ``38 s``, ``12 min``."""
    if seconds < _TENTHS_BELOW_S:
        return f"{seconds:.1f} s"
    if seconds < _SECONDS_BELOW_S:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < _MINUTES_BELOW_S else f"{seconds / 3600:.1f} h"


_TENTHS_BELOW_S, _SECONDS_BELOW_S, _MINUTES_BELOW_S = 10.0, 120.0, 7200.0


def path(state: State, key: PathKey, lived: Lived, moment: Moment) -> Iterator[str]:
    """Explain the verdict on a path, and what becomes of its default."""
    health, verdict = state.paths[key], state.path_verdicts[key]
    timing = state.settings.path_timing
    yield _verdict(f"{key.uplink} {key.family}", verdict, lived, moment, About.PATH)
    yield from _quorum(health)
    for of, probe in health.probes.items():
        if probe.level is not Level.UP or probe.is_failing:
            yield _probe(of, probe, timing)
    yield from _held(state, key, moment)
    if key in state.suspects:
        every_s = state.settings.suspect_interval_s or timing.interval_s
        yield f"It is suspect: its cheap probes are asked every {every_s * 1000:.0f} ms."
    yield from _next_of_path(state, key)
    if (damping := state.settings.damping) is not None:
        yield from _damped(state.path_penalties.get(key), damping, lived, moment)
    uplink = next(uplink for uplink in state.settings.uplinks if uplink.name == key.uplink)
    leg = Leg(Scope(key.family), key.uplink)
    yield from _drained(state, Target(What.UPLINK, key.uplink), leg, moment)
    default = default_key(key.family, uplink.number)
    if default in state.decisions:
        yield from _decision(state, default, "Its default", moment)


def service(state: State, name: str, lived: Lived, moment: Moment) -> Iterator[str]:
    """Explain the verdict on a service; its routes are explained by themselves."""
    health, verdict = state.services[name], state.service_verdicts[name]
    settings = health.settings
    yield _verdict(name, verdict, lived, moment, About.SERVICE)
    levels = [counted.level for counted in health.checks.values()]
    if levels:
        up = levels.count(Level.UP)
        yield f"{up} of {len(levels)} checks are up, and it needs {settings.need}."
    timing = settings.timing
    for check, counted in health.checks.items():
        if counted.level is not Level.UP or counted.failed_run:
            detail = health.details.get(check, "") if counted.failed_run else ""
            yield _counting(str(check), counted, (timing.fall, timing.rise), detail)
    if verdict.level in (Level.DOWN, Level.INIT) and levels:
        left = sorted(_left(counted, timing.rise) for counted in health.checks.values())
        yield _comes_up(left[: settings.need], timing, "check")
    if settings.damping is not None:
        yield from _damped(state.service_penalties.get(name), settings.damping, lived, moment)
    for other in settings.requires:
        if (required := state.service_verdicts[other]).level is not Level.UP:
            yield f"It requires {other}, which is {required.level}: {required.reason}."
    whose = Target(What.SERVICE, name)
    host = Target(What.HOST)
    target = host if host in state.drains.orders and whose not in state.drains.orders else whose
    yield from _drained(state, target, name, moment)


class Steering(NamedTuple):
    """What every route is explained with: whose each prefix is, and what leads to each uplink."""

    owner_of: Mapping[Prefix, ServiceSettings]
    communities_of: Mapping[str, frozenset[Community]]

    @classmethod
    def of(cls, settings: Settings) -> Steering:
        """Return that of a file. One for many routes: it takes a while."""
        return cls(
            {prefix: service for service in settings.services for prefix in service.prefixes},
            {u.name: policy_services.all_steering(settings, u) for u in settings.uplinks},
        )


def route(state: State, key: RouteKey, steering: Steering, moment: Moment) -> Iterator[str]:
    """Explain what is decided for a route, towards each uplink, and what would change it."""
    yield from _decision(state, key, str(key), moment)
    if key.path_id:
        return
    family = Family.of(key.prefix)
    owner = steering.owner_of.get(key.prefix)
    outward = state.decisions[key].outward
    for uplink in state.settings.uplinks:
        path_of = next((p for p in uplink.paths if p.family is family), None)
        if key.neighbor is not None and (path_of is None or path_of.neighbor != key.neighbor):
            continue
        goes = outward is not None and (
            key.neighbor is not None
            or not steering.communities_of[uplink.name].isdisjoint(outward.communities)
        )
        if goes:
            yield f"{uplink.name} is to get it."
        elif path_of is None:
            yield f"{uplink.name} does not: it has no {family} path."
        elif owner is not None and uplink.name not in owner.scope(family):
            yield f"{uplink.name} does not: services.{owner.name}.uplinks has not got it."
        elif state.drains.stage(Leg(Scope(family), uplink.name)) is Stage.DRAINED:
            yield f"{uplink.name} does not: it is drained."
        else:
            verdict = state.path_verdicts[PathKey(uplink.name, family)]
            is_up = verdict.level is Level.UP
            why = (
                "see above" if is_up else f"its {family} path is {verdict.level} ({verdict.reason})"
            )
            yield f"{uplink.name} does not: {why}."


def in_use(state: State, family: Family, moment: Moment) -> Iterator[str]:
    """Explain, in local mode, which uplink is in use, and when another one may take over."""
    preference, settings = state.preference, state.settings
    now = preference.in_use.get(family)
    if now is None:
        yield f"No uplink is in use for {family} yet: the first verdicts are waited for."
        return
    since = preference.used_since[family]
    yield f"{now} is in use for {family} since {moment.at(since)}."
    verdicts = engine.verdicts_of(state)
    there, drained = able(settings, verdicts, Scope(family)).uplinks, verdicts.drains.uplinks
    order = by_preference(settings, family)
    for name in order[: order.index(now)]:
        key = PathKey(name, family)
        verdict, up_since = state.path_verdicts[key], preference.up_since.get(key)
        if name in there and up_since is not None:
            ready_at = max(up_since, since) + settings.stable_for_s
            yield (
                f"{name} is preferred and up since {moment.at(up_since)}; it takes over at "
                f"{moment.at(ready_at)} if it stays up (policy.stable_for)."
            )
        elif name in drained:
            until = _until(drained[name], moment)
            yield f"{name} is preferred and does not take over: it is drained, {until}."
        else:
            why = f"it is {verdict.level} ({verdict.reason})"
            yield f"{name} is preferred and does not take over: {why}."


def _verdict(name: str, verdict: Judgement, lived: Lived, moment: Moment, about: About) -> str:
    means = _means(verdict.reason, about)
    evidence = f" ({verdict.evidence})" if verdict.evidence else ""
    when = moment.at(lived.since)
    return f"{name} is {verdict.level} since {when}: {verdict.reason}, {means}{evidence}."


def _means(reason: Reason, about: About, outcome: str | None = None) -> str:
    """Return what a reason means for this kind of thing; its own word where it has none."""
    meanings = [meaning for meaning in reason.meanings if meaning.about is about]
    same = [meaning for meaning in meanings if meaning.outcome == outcome] or meanings
    return same[0].means if same else str(reason)


def _quorum(health: PathHealth) -> Iterator[str]:
    if not health.link_up:
        return
    for role, need in ((Role.GATEWAY, None), (Role.BEYOND, health.settings.beyond_need)):
        levels = [probe.level for of, probe in health.probes.items() if of.role is role]
        if levels:
            needed = (
                "all of them are" if need is None else f"{need} is" if need == 1 else f"{need} are"
            )
            up = levels.count(Level.UP)
            yield f"{up} of {len(levels)} {role} probes are up, {needed} needed."


def _probe(of: PathProbe, probe: ProbeHealth, timing: Timing) -> str:
    fall, rise = _counts(of, probe, timing)
    late = " The answer to the last one is late." if probe.overdue else ""
    counting = _counting(f"{of.probe} ({of.role})", probe.hysteresis, (fall, rise), probe.detail)
    return counting + _patience(fall, timing) + late


def _counts(of: PathProbe, probe: ProbeHealth, timing: Timing) -> tuple[int, int]:
    """Return how many equal answers count, as `ProbeHealth.after` has it."""
    if of.probe.kind.is_state:
        return 1, 1
    fall = patient_fall(timing.fall, probe.window.loss) if probe.window.lost else timing.fall
    return fall, timing.rise


def _patience(fall: int, timing: Timing) -> str:
    if fall <= timing.fall:
        return ""
    return f" Fall is more than the file's {timing.fall}, because answers were lost lately."


def _counting(name: str, counted: Hysteresis, counts: tuple[int, int], detail: str) -> str:
    fall, rise = counts
    said = f": {detail}" if detail and counted.failed_run else ""
    if counted.failed_run:
        return (
            f"{name} is {counted.level}: {counted.failed_run} failed in a row (fall {fall}){said}."
        )
    if counted.ok_run:
        return f"{name} is {counted.level}: {counted.ok_run} answers in a row (rise {rise})."
    return f"{name} is {counted.level}: no answer counts yet (rise {rise}, fall {fall})."


def _held(state: State, key: PathKey, moment: Moment) -> Iterator[str]:
    since = state.held_since.get(key)
    if since is not None:
        other = state.paths[key].judge()
        yield (
            f"It would be {other.level} ({other.reason}) since {moment.at(since)}, and is held "
            "back for a moment: the others of the family may be about to do the same (shared fate)."
        )


def _left(counted: Hysteresis, rise: int) -> int:
    """Return how many more answers it takes until it is up."""
    return 0 if counted.level is Level.UP else rise - counted.ok_run


def _comes_up(left: Iterable[int], timing: Timing, what: str) -> str:
    most = max(left, default=0)
    soon = duration(most * timing.interval_s)
    return (
        f"It comes up after {timing.rise} answers in a row of each {what} that it needs "
        f"({timing.rise - most} so far): in {soon} at the earliest."
    )


def _next_of_path(state: State, key: PathKey) -> Iterator[str]:
    health, verdict = state.paths[key], state.path_verdicts[key]
    timing, quality = state.settings.path_timing, health.quality
    if not health.link_up:
        yield f"It stays so until the link is back; then it takes {timing.rise} answers in a row."
        return
    match verdict.level:
        case Level.DOWN | Level.INIT:
            left = {
                role: sorted(
                    _left(probe.hysteresis, _counts(of, probe, timing)[1])
                    for of, probe in health.probes.items()
                    if of.role is role
                )
                for role in Role
            }
            needed = left[Role.BEYOND][: health.settings.beyond_need]
            yield _comes_up([*left[Role.GATEWAY], *needed], timing, "probe")
        case Level.DEGRADED if verdict.reason is Reason.LOSS:
            now = f"now {health.loss:.1%}" if health.loss is not None else "not known now"
            yield f"It is up again when its loss is {quality.loss.leave:.0%} or less ({now})."
        case Level.DEGRADED if quality.latency_s is not None:
            leave_ms, now_s = quality.latency_s.leave * 1000, health.latency_s or 0.0
            yield f"It is up again at {leave_ms:.0f} ms or less (now {now_s * 1000:.1f} ms)."
        case Level.UP:
            falls = [_counts(of, probe, timing)[0] for of, probe in health.probes.items()]
            fall = max(falls, default=timing.fall)
            down = f"It goes down after {fall} failed answers in a row of a probe that it needs."
            yield down + _patience(fall, timing)
        case _:
            pass  # Damped: the penalty says when.


def _damped(
    penalty: Penalty | None, damping: Damping, lived: Lived, moment: Moment
) -> Iterator[str]:
    if penalty is None or (value := penalty.decayed(moment.now, damping).value) < 1:
        return
    wait_s = penalty.reuse_in_s(moment.now, damping)
    fell = f"It fell {lived.falls} times since the start" if lived.falls != 1 else "It fell once"
    said = f"{fell}; its penalty is {value:.0f}"
    if wait_s:
        until = f"{damping.reuse:.0f} at {moment.at(moment.now + wait_s)}"
        yield f"{said}, and decays to {until}: it is not used before while another one works."
    else:
        yield f"{said}, below {damping.suppress:.0f} (suppress): it is used as soon as it is up."


def _drained(state: State, target: Target, thing: Thing, moment: Moment) -> Iterator[str]:
    order = state.drains.orders.get(target)
    if order is None:
        return
    since, until = moment.at(order.since), _until(order, moment)
    yield f"{target} is drained since {since}, {until}; 'bgphealth undrain {target}' ends it."
    if isinstance(thing, Leg) and thing in state.drains.suspended:
        yield "It carries all the same: no other uplink works."
    elif (settling := state.drains.settling.get(thing)) is not None:
        settled = moment.at(settling.settled_at)
        yield f"It is still announced, until {settled} (policy.drain_settle)."


def _until(order: Order, moment: Moment) -> str:
    return "for good" if order.until is None else f"until {moment.at(order.until)}"


def _decision(state: State, key: RouteKey, name: str, moment: Moment) -> Iterator[str]:
    decision = state.decisions[key]
    is_local = state.settings.mode is Mode.LOCAL
    if is_local:
        outcome = "spare" if decision.announcement is None else "in use"
    else:
        outcome = "withdrawn" if decision.outward is None else "announced"
    about = About.DEFAULT if is_local else About.ANNOUNCEMENT
    meanings = [m for m in decision.reason.meanings if m.about is about]
    if not any(m.outcome == outcome for m in meanings) and decision.announcement is None:
        outcome = next((m.outcome for m in meanings), outcome)
    fit = next((m for m in meanings if m.outcome == outcome), None)
    yield f"{name} is {outcome}: {decision.reason}, {_means(decision.reason, about, outcome)}."
    if fit is not None and fit.do != "nothing":
        yield f"What to do: {fit.do}."
    guard = state.guards.get(key.prefix)
    if guard is not None:
        word = "not known yet" if guard.word is None else str(guard.word)
        yield (
            f"Another host's healthy path: {word}, since {moment.at(guard.since)}; withdrawn once "
            f"there has been one for {duration(state.settings.guarded_settle_s)}."
        )
